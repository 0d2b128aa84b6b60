# SPDX-License-Identifier: MIT
"""One run of Quiesce in QEMU: the command line, the run with a time limit, and a plain sentence of how it ended."""
import dataclasses
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time

SUCCESS = 33  # isa-debug-exit yields 2 * (0x10 + N) + 1 for the kernel's exit N
ESCAPES = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]")  # the firmware and GRUB paint their screens
EXIT_NAMES = {1: "tests failed", 2: "bad input", 3: "panic", 4: "inconclusive"}
OVMF = [("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"), ("OVMF_CODE.fd", "OVMF_VARS.fd")]
OVMF_FOLDERS = ["/usr/share/OVMF", "/usr/share/edk2/ovmf", "/usr/share/edk2/x64"]


class Unavailable(Exception):
    """This machine cannot run that configuration; the text says why."""


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
    timeout: float = 0  # seconds; 0: none
    extra: tuple = ()  # more arguments for QEMU
    iso: str = ""  # default: of the build


@dataclasses.dataclass
class Result:
    status: int  # QEMU's; None: timed out
    sentence: str  # how it ended
    lines: list
    seconds: float

    @property
    def ok(self):
        return self.status == SUCCESS


def cpu_model(config):
    if config.accel != "kvm":
        return config.cpu or "max"
    # A nested host may offer MSR_IA32_ARCH_CAPABILITIES in CPUID and yet refuse it, which ends QEMU at its start.
    return config.cpu if config.cpu and config.cpu != "max" else "host,-arch-capabilities"


def check_available(config):
    if not shutil.which("qemu-system-x86_64"):
        raise Unavailable("qemu-system-x86_64 is not installed: make deps")
    if config.accel == "nested":
        raise Unavailable("ACCEL=nested is not available in this version; valid: tcg, kvm")
    for name, value, valid in (
        ("ACCEL", config.accel, ("tcg", "kvm")),
        ("FIRMWARE", config.firmware, ("bios", "uefi")),
        ("MACHINE", config.machine.split(",")[0], ("q35", "pc")),
        ("BUILD", config.build, ("check", "release")),
    ):
        if value not in valid:
            raise Unavailable(f"{name}={value} is unknown; valid: {', '.join(valid)}")
    if config.accel == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        what = "may not be opened by this user" if os.path.exists("/dev/kvm") else "does not exist"
        raise Unavailable(f"ACCEL=kvm: /dev/kvm {what}; use ACCEL=tcg")


def firmware_arguments(config, folder):
    if config.firmware != "uefi":
        return []
    for where in OVMF_FOLDERS:
        for code, variables in OVMF:
            if os.path.exists(f"{where}/{code}") and os.path.exists(f"{where}/{variables}"):
                private = f"{folder}/vars.fd"  # the firmware writes to it
                shutil.copyfile(f"{where}/{variables}", private)
                return ["-drive", f"if=pflash,format=raw,readonly=on,file={where}/{code}",
                        "-drive", f"if=pflash,format=raw,file={private}"]
    raise Unavailable("FIRMWARE=uefi: OVMF is not installed: make deps")


def command(config, folder):
    """QEMU's arguments; `folder` is private to this run."""
    check_available(config)
    accel = "tcg,thread=multi" if config.accel == "tcg" else config.accel
    iso = config.iso or ("build/quiesce.iso" if config.build == "release" else "build/quiesce-check.iso")
    if not os.path.exists(iso):
        raise Unavailable(f"{iso} does not exist: make")
    arguments = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-vga", "none", "-no-reboot",
                 # reserve=off: a large memory needs only what is touched
                 "-object", f"memory-backend-ram,id=ram,size={config.mem},reserve=off", "-m", config.mem,
                 "-machine", f"{config.machine},memory-backend=ram", "-accel", accel, "-cpu", cpu_model(config),
                 "-smp", str(config.smp), "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4",
                 "-cdrom", iso]
    if config.cmdline:
        path = f"{folder}/cmdline"  # a file takes any byte, an argument does not
        with open(path, "wb") as f:
            f.write(config.cmdline.encode("latin-1", "replace"))
        arguments += ["-fw_cfg", f"name=opt/quiesce/cmdline,file={path}"]
    return arguments + firmware_arguments(config, folder) + list(config.extra)


def sentence_of(status, lines, timeout):
    said = next((line for line in reversed(lines) if line.startswith("quiesce: exit ")), None)
    last = next((line for line in reversed(lines) if line.strip()), "nothing at all")
    if status is None:
        return f"time-out: still running after {timeout:g} s; it last said: {last}"
    if status == SUCCESS:
        return "success"
    if status > SUCCESS and status % 2:
        number = (status - SUCCESS) // 2
        return f"the kernel ended with status {number} ({EXIT_NAMES.get(number, 'unknown')})"
    if status == 0 and said:
        return f"the machine powered off after \"{said}\", without isa-debug-exit"
    if status == 0:
        return f"the machine reset or powered off by itself (a triple fault?); it last said: {last}"
    if status < 0:
        return f"QEMU was ended by signal {-status}"
    return f"QEMU failed with status {status}; it last said: {last}"


def run(config, on_line=None, interactive=False):
    """Boot once. `on_line(line)` sees each line of the serial port; interactive: the terminal is the serial port."""
    with tempfile.TemporaryDirectory(prefix="quiesce-") as folder:
        arguments = command(config, folder)
        start, lines, expired = time.monotonic(), [], threading.Event()
        process = subprocess.Popen(arguments, stdin=None if interactive else subprocess.DEVNULL,
                                   stdout=None if interactive else subprocess.PIPE,
                                   stderr=None if interactive else subprocess.STDOUT)

        def expire():
            expired.set()
            process.kill()

        timer = threading.Timer(config.timeout, expire) if config.timeout else None
        if timer:
            timer.start()
        try:
            for raw in process.stdout or ():
                line = ESCAPES.sub("", raw.decode("utf-8", "replace")).rstrip("\r\n").replace("\r", "")
                if not line and not lines:
                    continue
                lines.append(line)
                if on_line:
                    on_line(line)
            status = process.wait()
        finally:
            if timer:
                timer.cancel()
            if process.poll() is None:  # interrupted from the keyboard
                process.kill()
                process.wait()
        status = None if expired.is_set() else status
        return Result(status, sentence_of(status, lines, config.timeout), lines, time.monotonic() - start)
