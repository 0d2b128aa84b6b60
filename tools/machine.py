# SPDX-License-Identifier: MIT
"""One run of Quiesce in an emulator: what is asked for (Config), how it ended (Result), and which module runs it
(qemu.py, bochs.py)."""
import dataclasses
import importlib
import os
import re

EMULATORS = ("qemu", "bochs")
QEMU = "qemu-system-x86_64"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # the firmware and GRUB paint their screens
DEFAULT_BUDGET = 600  # seconds of processor time, beyond the seconds= that the command line asks for
EXIT_NAMES = {1: "tests failed", 2: "bad input", 3: "panic", 4: "inconclusive"}


SUCCESS = 33  # QEMU's status by isa-debug-exit: 2 * (0x10 + N) + 1 for the kernel's exit N


class Unavailable(Exception):
    """This machine cannot run that configuration; the text says why."""


class Lacking(Unavailable):
    """The host lacks what only some configurations need: a test of them is skipped."""


# The reason of a skip begins so where a tool prints it in its own KTAP.
LACKS = "this machine lacks "


@dataclasses.dataclass
class Config:
    smp: int = 4
    mem: str = "512M"
    accel: str = "tcg"
    firmware: str = "bios"
    machine: str = "q35"
    cpu: str = ""
    build: str = "check"
    cmdline: str = ""
    timeout: float = 0  # seconds of the clock; 0: none
    budget: float = 0  # seconds of processor time, for each CPU of the host that the run can keep busy; 0: the default
    attended: bool = False  # a PC for a person: with a display, and without the device that tells a program the status
    extra: tuple = ()  # more arguments for QEMU
    iso: str = ""  # default: of the build
    elf: str = ""  # what FIRMWARE=pvh starts; default: of the ISO
    emulator: str = "qemu"
    program: str = ""  # a file that mode=run runs, with these arguments, as a shell reads them
    args: str = ""
    stdin: int = -1  # the program's standard input, a descriptor; -1: it is at its end


@dataclasses.dataclass
class Result:
    exit: int  # the kernel's exit status; None: the run did not end with one
    sentence: str  # how it ended
    lines: list
    seconds: float
    counts: dict = dataclasses.field(default_factory=dict)  # what the hypervisor has counted (nested.Outcome, xen.Outcome)

    @property
    def ok(self):
        return self.exit == 0


X2APIC_ICR, CALL = 0x830, 0x40f1  # the MSR, and what the kernel writes into its low half for a cross-CPU call
ASKED = "# nested: guest "  # begins the line in which it says what it has asked of the hypervisor


def asked(lines):
    """That line's numbers, {counter: how often}; None where there is none."""
    said = next((line for line in lines if line.startswith(ASKED)), None)
    return said and {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", said)}


def is_microvm(board):
    return board.split(",")[0] == "microvm"


def config_from(get):
    """What the variables of make ask for; `get(name)` is a variable's value."""
    mutant, board = get("MUTANT"), get("MACHINE") or "q35"
    if mutant and get("BUILD") == "release":
        raise Unavailable("MUTANT=: release builds have no mutants")
    try:
        return Config(smp=int(get("SMP") or 4), mem=get("MEM") or "512M", accel=get("ACCEL") or "tcg",
                      firmware=get("FIRMWARE") or ("pvh" if is_microvm(board) else "bios"), machine=board, cpu=get("CPU") or "",
                      build=get("BUILD") or "check", cmdline=get("CMDLINE") or "", timeout=float(get("TIMEOUT") or 0),
                      emulator=get("EMULATOR") or "qemu", program=get("PROGRAM") or "", args=get("ARGS") or "",
                      iso=f"build/mutant-{mutant}/quiesce-check.iso" if mutant else "")
    except ValueError as error:
        raise Unavailable(f"SMP= and TIMEOUT= are numbers: {error}") from None


def config_from_environment():
    return config_from(os.environ.get)


def seconds_of(cmdline):
    match = re.search(r"\bseconds=(\d+)", cmdline)
    return int(match[1]) if match else 0


def mebibytes(size):
    """A size as for QEMU's -m."""
    match = re.fullmatch(r"(\d+)([KMGT]?)", size.upper())
    if not match:
        raise Unavailable(f"MEM={size} is no size")
    return max(1, int(match[1]) * {"K": 1, "M": 1 << 10, "": 1 << 10, "G": 1 << 20, "T": 1 << 30}[match[2]] >> 10)


def limits(config, interactive):
    """For patience.Watch: the limits beyond which a run counts as hung. No budget when somebody may type."""
    asked = seconds_of(config.cmdline)
    budget = (config.budget or DEFAULT_BUDGET + asked) * min(config.smp + 1, os.cpu_count() or 1)
    typed = interactive or (config.stdin >= 0 and os.isatty(config.stdin))
    return {"budget": 0 if typed else budget, "clock": config.timeout, "sleep": asked}


def iso_of(config):
    iso = config.iso or ("build/quiesce.iso" if config.build == "release" else "build/quiesce-check.iso")
    if not os.path.exists(iso):
        raise Unavailable(f"{iso} does not exist: make")
    return iso


def clean(raw):
    """A line of the serial port as a person reads it."""
    return ESCAPES.sub("", raw.decode("utf-8", "replace")).rstrip("\r\n").replace("\r", "")


def last_said(lines):
    return next((line for line in reversed(lines) if line.strip()), "nothing at all")


def exit_of(status):
    """The kernel's exit status, from QEMU's; None if QEMU's does not hold one."""
    return (status - SUCCESS) // 2 if status is not None and status >= SUCCESS and status % 2 else None


def ended_with(number):
    return "success" if number == 0 else f"the kernel ended with status {number} ({EXIT_NAMES.get(number, 'unknown')})"


def timed_out(lines, why):
    return f"time-out: {why}; it last said: {last_said(lines)}"


def emulator(config):
    """The module that runs this configuration."""
    if config.emulator not in EMULATORS:
        raise Unavailable(f"EMULATOR={config.emulator} is unknown; valid: {', '.join(EMULATORS)}")
    return importlib.import_module(config.emulator)


def check_available(config):
    for name, value, valid in (("BUILD", config.build, ("check", "release")),
                               ("FIRMWARE", config.firmware, ("bios", "uefi", "pvh")),
                               ("ACCEL", config.accel, ("tcg", "icount", "kvm", "nested", "xen", "xen-domu"))):
        if value not in valid:
            raise Unavailable(f"{name}={value} is unknown; valid: {', '.join(valid)}")
    emulator(config).check_available(config)


def run(config, on_line=None, interactive=False):
    """Boot once. `on_line(line)` sees each line of the serial port; interactive: the terminal is the serial port."""
    check_available(config)
    return emulator(config).run(config, on_line, interactive)
