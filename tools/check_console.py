#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Test of the console against a reader who takes nothing for a while, as on a busy host: no character is lost. Reported as
KTAP. The serial line stays in build/test/console.log."""
import fcntl
import json
import os
import struct
import subprocess
import sys
import tempfile
import termios
import time

import machine
import qemu
import selftest

suite = selftest.Suite("console")
PIPE = 4096
HELD = 3  # seconds without a read once the pipe is full
CONFIG = machine.Config(smp=2, build="release", cmdline="mode=trace seconds=1 trace=unmap")


def waiting(pipe):
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]


@suite.test
def a_slow_reader_loses_nothing():
    with tempfile.TemporaryDirectory(prefix="quiesce-") as folder:
        process = subprocess.Popen(qemu.command(CONFIG, folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE)
        while waiting(process.stdout) < PIPE and process.poll() is None:
            time.sleep(0.05)
        if process.poll() is not None:
            return ["it has ended before the pipe was full"]
        time.sleep(HELD)
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


if __name__ == "__main__":
    os.makedirs("build/test", exist_ok=True)
    sys.exit(selftest.main(suite))
