# SPDX-License-Identifier: MIT
"""One run of Quiesce in Bochs (Debian's packages bochs, bochs-term, bochsbios, vgabios).

Bochs has neither QEMU's fw_cfg nor isa-debug-exit. The command line is on a second disk, whose quiesce.cfg the ISO's
grub.cfg sources. The exit status is in the last line of the serial port, after which the kernel powers the machine off.
Bochs then ends itself; it treats "soft power off" as a panic, and its own exit status says nothing. Debian's build
stops in its debugger unless it is given commands, and its text display needs a terminal, so it gets a
pseudo-terminal."""
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import grubcases
import machine
import patience
from machine import Lacking, Result, Unavailable

# It has x2APIC, TSC deadline and INVPCID, but no SMAP: with SMAP, Bochs 2.7 walks the tables again at each access of
# the kernel to a user page, so that no stale translation can be seen there.
CPU_MODEL = "corei7_haswell_4770"
# Instructions per emulated second, of all CPUs together, and the TSC's frequency. It is close to what a host can
# execute, so that waiting for emulated time does not take for ever. The kernel requires a TSC of at least 10 MHz.
IPS = 20_000_000
BIOS, VGA_BIOS = "/usr/share/bochs/BIOS-bochs-latest", "/usr/share/vgabios/vgabios.bin"
MEMORY_MAX = 2048  # MiB
SMP_MAX = 4
POWER_OFF_SECONDS = 10  # from the last line to the end of Bochs
POLL_SECONDS = 0.05
LAST_LINE = re.compile(r"^quiesce: exit (\d+)$")
PANIC = re.compile(r">>PANIC<< (.*)")
POWERED_OFF = "ACPI control: soft power off"

SETTINGS = """\
config_interface: textconfig
display_library: term
cpu: model={model}, count={smp}, ips={ips}, reset_on_triple_fault=0
memory: guest={mem}, host={mem}
romimage: file={bios}, options=fastboot
vgaromimage: file={vga_bios}
vga: extension=vbe, update_freq=1
pci: enabled=1, chipset=i440fx
clock: sync=none, time0=utc
ata0-master: type=cdrom, path={iso}, status=inserted
ata0-slave: type=disk, mode=flat, path={disk}
boot: cdrom
com1: enabled=1, mode=file, dev={folder}/serial
sound: driver=default, waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
log: {folder}/log
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
"""


def megabytes(mem):
    match = re.fullmatch(r"(\d+)([MG])", mem)
    size = int(match[1]) * (1024 if match[2] == "G" else 1) if match else 0
    if not 32 <= size <= MEMORY_MAX:
        raise Unavailable(f"EMULATOR=bochs MEM={mem}: valid are 32M to {MEMORY_MAX}M")
    return size


def check_available(config):
    if not shutil.which("bochs-bin") or not os.path.exists(BIOS) or not os.path.exists(VGA_BIOS):
        raise Lacking(f"{machine.LACKS}Bochs: make deps")
    if config.accel != "tcg" or config.firmware != "bios" or config.extra:
        raise Unavailable("EMULATOR=bochs takes neither ACCEL= nor FIRMWARE= nor arguments for QEMU")
    if not all(" " <= c <= "~" and c not in "'\"\\" for c in config.cmdline):
        raise Unavailable("EMULATOR=bochs: GRUB would change this CMDLINE=: use no quotes, backslashes or control "
                          "characters")
    if not 1 <= config.smp <= SMP_MAX:
        raise Unavailable(f"EMULATOR=bochs SMP={config.smp}: valid are 1 to {SMP_MAX}; more would be too slow")
    megabytes(config.mem)


def command(config, folder):
    # No menu: under Bochs, GRUB takes seconds to look for a key on the serial line. screen=off: with its debugger,
    # Bochs draws on a second pseudo-terminal of its own, which nobody reads, and it blocks when that is full.
    disk = grubcases.disk(folder, "set timeout_style=menu\nset timeout=0\nset quiesce_screen=text\n"
                                  f"set quiesce_cmdline='{config.cmdline} screen=off'\n")
    with open(f"{folder}/settings", "w", encoding="ascii") as f:
        f.write(SETTINGS.format(model=config.cpu if config.cpu not in ("", "max") else CPU_MODEL, smp=config.smp,
                                ips=IPS, mem=megabytes(config.mem), bios=BIOS, vga_bios=VGA_BIOS,
                                iso=os.path.abspath(machine.iso_of(config)), disk=disk, folder=folder))
    with open(f"{folder}/debugger", "w", encoding="ascii") as f:
        f.write("continue\nquit\n")
    return ["bochs-bin", "-q", "-f", f"{folder}/settings", "-rc", f"{folder}/debugger"]


class Screen:
    """The pseudo-terminal that Bochs draws on. It is read, because Bochs would block otherwise; its last bytes are
    kept, because Bochs may say there why it fails."""

    def __init__(self):
        try:
            self.ours, self.bochs = pty.openpty()
        except OSError as error:
            raise Lacking(f"{machine.LACKS}pseudo-terminals, which Bochs draws on: {error}") from None
        self.shown = b""
        self.thread = threading.Thread(target=self.drain, daemon=True)

    def drain(self):
        try:
            while data := os.read(self.ours, 65536):
                self.shown = (self.shown + data)[-2000:]
        except OSError:  # Bochs has ended, and closed the terminal's other end
            pass

    def attach(self):
        os.close(self.bochs)
        self.thread.start()

    def close(self):
        self.thread.join(5)
        os.close(self.ours)

    def last(self):
        return machine.last_said([machine.clean(line) for line in self.shown.split(b"\n") if b"====" not in line])


class Serial:
    """The file that com1 writes to, read line by line while it grows."""

    def __init__(self, path, on_line):
        self.file, self.on_line = open(path, "rb"), on_line
        self.rest, self.lines = b"", []

    def poll(self):
        *whole, self.rest = (self.rest + self.file.read()).split(b"\n")
        for raw in whole:
            self.take(raw)

    def take(self, raw):
        line = machine.clean(raw)
        if line or self.lines:
            self.lines.append(line)
            if self.on_line:
                self.on_line(line)

    def close(self):
        self.poll()
        if self.rest:
            self.take(self.rest)
        self.file.close()

    def exit(self):
        match = LAST_LINE.match(self.lines[-1]) if self.lines else None
        return int(match[1]) if match else None


def follow(process, serial):
    """Read the serial port until Bochs has ended, or has not powered off in time after the kernel's last line."""
    last_line = None
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        serial.poll()
        now = time.monotonic()
        if serial.exit() is None:
            last_line = None
        elif last_line is None:
            last_line = now
        if last_line and now - last_line > POWER_OFF_SECONDS:
            return


def last_panic(folder):
    """The panic of Bochs itself that ended it; "" if there was none, or only the power-off, which it treats as one."""
    if not os.path.exists(f"{folder}/log"):
        return ""
    with open(f"{folder}/log", encoding="utf-8", errors="replace") as f:
        panics = [match[1] for match in map(PANIC.search, f) if match]
    return panics[-1] if panics and panics[-1] != POWERED_OFF else ""


def sentence_of(exit_status, why, lines, panic, screen):
    """`exit_status`: from the last line of the serial port. `why`: why we had to end Bochs, or "". `panic`, `screen`:
    what Bochs has said."""
    if exit_status is not None:
        return machine.ended_with(exit_status)
    if why:
        return machine.timed_out(lines, why)
    said = panic or ("the machine powered off" if lines else screen)
    return f"Bochs ended by itself: {said}; it last said: {machine.last_said(lines)}"


def run(config, on_line, interactive):
    if interactive:
        raise Unavailable("EMULATOR=bochs: its serial port is output only; use qemu to type")
    with tempfile.TemporaryDirectory(prefix="quiesce-bochs-") as folder:
        arguments, screen = command(config, folder), Screen()
        open(f"{folder}/serial", "wb").close()
        start = time.monotonic()
        process = subprocess.Popen(arguments, stdin=screen.bochs, stdout=screen.bochs, stderr=screen.bochs,
                                   env=os.environ | {"TERM": "linux"}, start_new_session=True)
        screen.attach()
        serial = Serial(f"{folder}/serial", on_line)
        try:
            with patience.Watch(process, **machine.limits(config, False)) as watch:
                follow(process, serial)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            serial.close()
            screen.close()
        sentence = sentence_of(serial.exit(), watch.why, serial.lines, last_panic(folder), screen.last())
        return Result(serial.exit(), sentence, serial.lines, time.monotonic() - start)
