# SPDX-License-Identifier: MIT
"""Tests of the console with a reader that reads nothing for a while, as on a busy host: a short pause loses no
character, a long one loses as many as the console reports, and then the output goes on. Reported as KTAP. The serial
lines stay in build/test/console*.log."""
import fcntl
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

import machine
import patience
import qemu
import stuck
from selftests import selftest

suite = selftest.Suite("console")
PIPE = 4096
BUDGET = 120  # seconds of processor time
CONFIG = machine.Config(smp=2, build="release", cmdline="mode=trace seconds=1 trace=unmap")


def waiting(pipe):
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]


@suite.test
def a_slow_reader_loses_nothing():
    """The reader goes on when the guest has found that the port takes nothing."""
    with tempfile.TemporaryDirectory(prefix="quiesce-") as folder:
        process = subprocess.Popen(qemu.command(CONFIG, folder) + ["-monitor", f"unix:{folder}/monitor,server=on,wait=off"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        with patience.Watch(process, budget=BUDGET):
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE)
            while waiting(process.stdout) < PIPE and process.poll() is None:
                time.sleep(0.05)
            if process.poll() is not None:
                return ["it has ended before the pipe was full"]
            wait_for(process, stuck.Monitor(f"{folder}/monitor"), "stalled", "/1bx")
            text = process.stdout.read().decode("utf-8", "replace")
            status = qemu.exit_of(process.wait())
    with open("build/test/console.log", "w", encoding="utf-8") as f:
        f.write(text)
    lines = text.split("\n")
    wrong = [] if status == 0 and "quiesce: exit 0\r" in lines else [f"status {status}; it last said {lines[-2:]}"]
    for line in lines:
        try:
            if line.startswith("TRACE "):
                json.loads(line[len("TRACE "):])
        except ValueError:
            wrong.append(f"broken: {line}")
    return wrong


# ---- A pause that is longer than the guest's patience ----------------------------------------------------------------

PRINT = machine.Config(smp=2, build="release", cmdline="mode=print")
LINES = "".join(f"# line {i:04d} {27 * '.'}\n" for i in range(8000))  # tests/kernel/print_mode.c
NOTE = re.compile(r"# console: (\d+) characters lost here\n")


class Line:
    """The guest's serial line as a pair of sockets, of which we have one end. What QEMU has written stays readable when QEMU
    has ended; a pseudo-terminal would drop it."""

    def __init__(self):
        self.own, self.guests = socket.socketpair()
        self.guests.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE)
        self.got = b""

    def arguments(self):
        return ["-chardev", f"socket,id=line,fd={self.guests.fileno()}", "-serial", "chardev:line"]

    def type(self, key):
        self.own.send(key)

    def type_until(self, part, key):
        """A guest that is not up yet takes no key."""
        while part not in self.got:
            self.type(key)
            if select.select([self.own], [], [], 0.2)[0]:
                self.got += self.own.recv(256)

    def read_until(self, *parts):
        """All of them, or the end; what there is up to now."""
        try:
            while not (parts and all(part in self.got for part in parts)) and (some := self.own.recv(65536)):
                self.got += some
        except ConnectionResetError:  # QEMU has ended before it took our last key
            pass
        return self.got.decode("utf-8", "replace").replace("\r", "")


def address_of(symbol, elf):
    text = subprocess.run(["nm", elf], check=True, capture_output=True, text=True).stdout
    return re.search(rf"^([0-9a-f]+) \w {symbol}$", text, re.M)[1]


def wait_for(process, monitor, variable, size):
    """Until that variable of the guest is not 0."""
    where = address_of(variable, qemu.elf_of(PRINT))
    while process.poll() is None and not any(re.search(r": 0x0*[1-9a-f]", line) for line in monitor.ask(f"x {size} 0x{where}")):
        time.sleep(0.1)


def unaccounted(text):
    """Is what has come, with the notes of how much is lost in between, what was written? What is wrong, as lines."""
    pieces, at = NOTE.split(text), 0
    for piece, lost in zip(pieces[::2], [*map(int, pieces[1::2]), 0]):
        if not LINES.startswith(piece, at) and piece.endswith("\n"):  # the note began a line of its own
            piece = piece[:-1]
        if not LINES.startswith(piece, at):
            return [f"not what was written, at {at}: {piece[:80]!r}"]
        at += len(piece) + lost
    return [] if at == len(LINES) else [f"{at} characters came or were counted as lost, {len(LINES)} were written"]


@suite.test
def what_a_long_pause_loses_is_counted():
    """The reader stops until the guest has given up, and goes on before the guest does: what is left then is sent by
    the tick alone."""
    with tempfile.TemporaryDirectory(prefix="quiesce-") as folder:
        arguments = qemu.command(PRINT, folder) + ["-monitor", f"unix:{folder}/monitor,server=on,wait=off"]
        at, line = arguments.index("-serial"), Line()
        arguments[at:at + 2] = line.arguments()
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, pass_fds=[line.guests.fileno()])
        line.guests.close()
        with patience.Watch(process, budget=BUDGET):
            line.type_until(b"# line", b"p")
            wait_for(process, stuck.Monitor(f"{folder}/monitor"), "lost", "/1gx")
            line.read_until(b"characters lost here")
            line.type(b"q")
            text = line.read_until()
            status = qemu.exit_of(process.wait())
    with open("build/test/console-pause.log", "w", encoding="utf-8") as f:
        f.write(text)
    wrong = [] if status == 0 and text.endswith("\nquiesce: exit 0\n") else [f"status {status}; it last said {text[-80:]!r}"]
    written = text[text.find("# line"):text.find("# INFO: 8000 lines")]
    return wrong + unaccounted(written) + ([] if NOTE.search(written) else ["nothing was lost"])


if __name__ == "__main__":
    os.makedirs("build/test", exist_ok=True)
    sys.exit(selftest.main(suite))
