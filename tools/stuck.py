# SPDX-License-Identifier: MIT
"""What a QEMU that has not ended in time is doing, looked up before it is killed: its threads in /proc, its CPUs by its
monitor, Xen's domains by the keys of its console. A monitor that does not answer is a finding, too: then QEMU's main
loop is stuck."""
import bisect
import glob
import os
import re
import socket
import time

import ksyms

TALK_SECONDS = 30  # for an answer of the monitor: a host may be busy
QUIET_SECONDS = 0.3  # who says nothing for so long has said all
SAMPLE_SECONDS = 1  # over which a thread's use of the processor is measured, and between two looks at the registers
LOOKS = 2
MOST_CPUS = 8  # whose local APICs are shown
PROMPT = b"(qemu) "
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
REGISTERS = re.compile(r"CPU#\d+|\b[RE]?(?:IP|SP|FL|AX|CX|DX|DI|SI) *=[0-9a-f]+|\b(?:CR0|CR3|EFER)=[0-9a-f]+|\bHLT=\d")
LAPIC = re.compile(r"^(LVTT|Timer|ICR2?|ISR|IRR|APR)\b")
ADDRESS = re.compile(r"\bRIP=([0-9a-f]{16})")


# --- The threads of the process

def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return ""


def state_and_seconds(task):
    """The letter of the thread's state, and the seconds of a processor that it has had."""
    fields = read(f"{task}/stat").rpartition(") ")[2].split()
    if len(fields) < 13:
        return "gone", 0.0
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads(pid):
    tasks = sorted(glob.glob(f"/proc/{pid}/task/*"), key=lambda task: int(os.path.basename(task)))
    before = {task: state_and_seconds(task)[1] for task in tasks}
    time.sleep(SAMPLE_SECONDS)
    for task in tasks:
        state, seconds = state_and_seconds(task)
        share = 100 * (seconds - before[task]) / SAMPLE_SECONDS
        yield (f"thread {os.path.basename(task)} {read(f'{task}/comm')}: {state}, {share:.0f} % of a processor, {seconds:.1f} s "
               f"in all, waits in {read(f'{task}/wchan') or '?'}")


# --- The monitor, and Xen's console

class Mute(Exception):
    """Nobody answers."""


def never(got):
    return False


class Talk:
    """With who is at a socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TALK_SECONDS)
        try:
            self.socket.connect(path)
        except OSError as error:
            raise Mute(f"it cannot be reached: {error}") from None

    def receive(self, enough, seconds):
        got = b""
        self.socket.settimeout(seconds)
        try:
            while not enough(got) and (some := self.socket.recv(65536)):
                got += some
        except TimeoutError:
            pass
        return got

    def send(self, what, enough=never, seconds=QUIET_SECONDS):
        """Bytes; what comes then, until that is enough or nothing more comes for so many seconds."""
        try:
            self.socket.sendall(what)
            return self.receive(enough, seconds)
        except OSError as error:
            raise Mute(f"it is gone: {error}") from None


def lines_of(got):
    return CONTROL.sub("", got.decode("utf-8", "replace")).splitlines()


class Monitor(Talk):
    """QEMU's human monitor."""

    def __init__(self, path):
        super().__init__(path)
        self.send(b"\n")  # on a serial line its first prompt came before we connected

    def ask(self, command):
        """The lines of the answer, without the echo of the command."""
        got = self.send(command.encode() + b"\n", lambda got: got.endswith(PROMPT), TALK_SECONDS)
        if not got.endswith(PROMPT):
            raise Mute(f"it has not answered {command} in {TALK_SECONDS} s")
        return lines_of(got.removesuffix(PROMPT))[1:]


# --- What is asked

class Symbols:
    """The kernel's symbols: the function at an address; "" without symbols, or for an address outside the kernel."""

    def __init__(self, elf):
        self.functions = ksyms.functions("nm", elf)[1] if os.path.exists(elf) else []
        self.starts = [start for start, _ in self.functions]

    def name(self, address):
        at = bisect.bisect_right(self.starts, address) - 1
        if at < 0 or at == len(self.starts) - 1:
            return ""
        return f" {self.functions[at][1]}+{address - self.starts[at]:#x}"


def registers(lines, symbols):
    """A line for each CPU, with only the registers that say where it is."""
    cpus = []
    for line in lines:
        if line.startswith("CPU#"):
            cpus.append([])
        if cpus:
            cpus[-1] += REGISTERS.findall(line)
    for cpu in cpus:
        line = " ".join(word.replace(" ", "") for word in cpu)
        match = ADDRESS.search(line)
        yield line + (symbols.name(int(match[1], 16)) if match else "")


def monitor(path, symbols):
    """What the CPUs do, according to the monitor at that socket."""
    try:
        talk = Monitor(path)
        yield from talk.ask("info status")
        for look in range(LOOKS):
            time.sleep(SAMPLE_SECONDS if look else 0)
            seen = list(registers(talk.ask("info registers -a"), symbols))
            yield from seen
            for cpu in range(min(len(seen), MOST_CPUS)):
                said = (line.strip() for line in talk.ask(f"info lapic {cpu}"))
                yield f"lapic {cpu}: " + "; ".join(re.sub(r"\s+", " ", line) for line in said if LAPIC.match(line))
    except Mute as error:
        yield str(error)


# Xen's domains with their vCPUs, the run queues, the CPUs' registers, what each vCPU's VMCB holds.
XEN_KEYS = b"qrdv"
TO_XEN = b"\x01\x01\x01"  # Ctrl-A three times: what follows is for Xen, not for dom0
XEN_HEARS = "*** Serial input to Xen"  # and Xen says so
STACK = re.compile(r"\(XEN\)[ 0-9a-f]*$")  # words of Xen's stack, which its call trace names
XEN_POINTER = re.compile(r"\bRIP(?: = 0x|: +[0-9a-f]{4}:\[<)([0-9a-f]{16})")


def xen(path, symbols):
    """What Xen says at the socket of its console when it is asked by keys."""
    try:
        talk = Talk(path)
        for key in (TO_XEN, *(bytes([key]) for key in XEN_KEYS)):
            said = lines_of(talk.send(key, bool, TALK_SECONDS) + talk.receive(never, QUIET_SECONDS))
            if not said:
                raise Mute(f"Xen has not answered the key {key.decode()!r}")
            for line in (line.removeprefix("(XEN) ") for line in said if not STACK.match(line)):
                match = XEN_POINTER.search(line)
                yield line + (symbols.name(int(match[1], 16)) if match else "")
    except Mute as error:
        yield str(error)


def evidence(pid, talks, elf):
    """All that can be seen, as lines. talks: {who can be asked: (socket, monitor or xen)}; elf: the kernel's, for names."""
    symbols = Symbols(elf)
    lines = [f"# stuck: {line}" for line in threads(pid)]
    for whose, (path, ask) in talks.items():
        lines += [f"# stuck: {whose}: {line.strip()}" for line in ask(path, symbols) if line.strip()]
    return lines


# --- What it proves

CPU = re.compile(r"^# stuck: (?P<whose>[^:]+): CPU#\d+ .*\b[RE]IP=(?P<pc>[0-9a-f]+) .*\bCR3=(?P<root>[0-9a-f]+) ")
MODULES = 0xc0000000  # where a Linux kernel's modules begin, above all of Quiesce: the lower half of the address


def lost_guest(lines):
    """QEMU's emulation of AMD's virtualisation has saved the state of L1, which runs KVM, as that of L2: a CPU of L2 has the
    page tables of L1's kernel and is in one of its modules. No guest can cause that, and L2 no longer runs. Returns the
    line that shows it, or None."""
    cpus = [(match, line) for line in lines if (match := CPU.match(line))]
    roots = {int(match["root"], 16) for match, _ in cpus if match["whose"] == "QEMU"} - {0}
    return next((line for match, line in cpus if match["whose"] != "QEMU" and int(match["root"], 16) in roots and
                 int(match["pc"], 16) & 0xffffffff >= MODULES), None)


L1_TROUBLE = re.compile(r"nested: vcpu \d+ shut down at (?P<pc>[0-9a-f]+)|(?P<kernel>BUG: soft lockup|watchdog: .*hard LOCKUP|"
                        r"rcu: INFO: \S+ (self-)?detected .*stall)")


def lost_and_shut_down(lines):
    """As lost_guest(), but seen by KVM: a CPU of L2 has shut down by a triple fault at an address of L1's modules."""
    found = ((L1_TROUBLE.search(line), line) for line in lines if line.startswith("# stuck: L1: "))
    return next((line for match, line in found if match and match["pc"] and int(match["pc"], 16) & 0xffffffff >= MODULES and
                 int(match["pc"], 16) >> 32 in (0, 0xffffffff)), None)


def locked_up(lines):
    """L1's own watchdogs report that L1's kernel is stuck. No guest of KVM can cause that: QEMU has lost something of
    L1's, or runs code of L1's that is no longer there."""
    return next((line for line in lines if line.startswith("# stuck: L1: ") and (match := L1_TROUBLE.search(line)) and
                 match["kernel"]), None)


HALTED = re.compile(r"^# stuck: QEMU: CPU#(?P<cpu>\d+) .*\bRFL=(?P<flags>[0-9a-f]+) HLT=1")
PENDING = re.compile(r"^# stuck: QEMU: lapic (?P<cpu>\d+): .*; IRR (?P<vectors>\d[\d ]*);")
INTERRUPTS_ON = 0x200


def lost_interrupt(lines):
    """QEMU has lost an interrupt: at each look a CPU halts with interrupts on, although its local APIC has some for it.
    QEMU's VMRUN, when it opens an interrupt window, sets a bit in the CPU's requests without the lock, and can
    overwrite a bit that another thread sets at the same time. Returns the line that shows it, or None."""
    halts = [match["cpu"] for line in lines if (match := HALTED.match(line)) and int(match["flags"], 16) & INTERRUPTS_ON]
    pending = {}
    for line in lines:
        if match := PENDING.match(line):
            pending.setdefault(match["cpu"], []).append((match["vectors"], line))
    return next((found[0][1] for cpu, found in pending.items() if len(found) == halts.count(cpu) == LOOKS and
                 len({vectors for vectors, _ in found}) == 1), None)
