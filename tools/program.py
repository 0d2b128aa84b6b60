# SPDX-License-Identifier: MIT
"""A program that runs under Quiesce (mode=run): how it is passed, and how it has ended."""
import os
import re
import shlex
import subprocess
import threading

import machine

LONGEST = 4095  # characters of a line of arguments (proc/args.h)
ENDED = re.compile(r"program: .* (exit|signal) (\d+)(?: \(\w+\))?$")  # the kernel's line, the last one with these words


def check(config):
    """Is there such a file, and can it reach this machine?"""
    path = config.program
    if not os.path.isfile(path):
        raise machine.Unavailable(f"PROGRAM={path} {'is no file' if os.path.exists(path) else 'does not exist'}")
    if not os.access(path, os.R_OK):
        raise machine.Unavailable(f"PROGRAM={path} may not be read")
    if config.emulator != "qemu" or config.accel == "xen-domu":
        raise machine.Unavailable("PROGRAM= is passed by QEMU's fw_cfg, which neither Bochs nor a domain of Xen has")
    if len(argument_line(config).encode()) > LONGEST:
        raise machine.Unavailable(f"ARGS=: more than {LONGEST} characters")


def argument_line(config):
    """All arguments in one line, as a shell would read it; the first is the program's name."""
    return f"{shlex.quote(os.path.basename(config.program))} {config.args}".rstrip()


def cmdline(config):
    """The kernel's command line: mode=run, unless another mode is named."""
    named = any(word.startswith("mode=") for word in config.cmdline.split())
    return config.cmdline if named else f"mode=run {config.cmdline}".rstrip()


def files(config, folder):
    """What the kernel takes from fw_cfg: {name: a file}."""
    if not config.program:
        return {}
    with open(f"{folder}/args", "w", encoding="utf-8") as f:
        f.write(argument_line(config))
    return {"program": config.program, "args": f"{folder}/args"}


# What the kernel makes of bytes on the serial line, which has no end (sys/console.c): END ends the input, QUOTE takes the
# meaning of the byte behind it, and a carriage return is a newline.
END, QUOTE = b"\x04", b"\x16"
SPECIAL = re.compile(rb"[\x04\x0d\x16]")
BANNER = "quiesce 0."  # begins the kernel's first line; before that the firmware reads the serial line


def quoted(data):
    return SPECIAL.sub(lambda match: QUOTE + match[0], data)


class Input:
    """The program's standard input: what QEMU gets as its own. A terminal is QEMU's, whose keys are then the input; all
    else is passed on when the kernel has begun to speak."""

    def __init__(self, config):
        self.source = config.stdin if config.program else None
        self.is_terminal = self.source is not None and self.source >= 0 and os.isatty(self.source)
        self.begun = False
        self.of_qemu = None if self.is_terminal else subprocess.DEVNULL if self.source is None else subprocess.PIPE

    def line(self, text, process):
        """The kernel has said this."""
        if process.stdin and not self.begun and text.startswith(BANNER):
            self.begun = True
            threading.Thread(target=self.pass_on, args=(process.stdin,), daemon=True).start()

    def pass_on(self, to):
        try:
            while self.source >= 0 and (data := os.read(self.source, 4096)):
                to.write(quoted(data))
                to.flush()
            to.write(END)
            to.flush()
        except OSError:  # the run is over
            pass


def status(lines):
    """The program's exit status as a shell gives it (128 + N: ended by signal N); None if it has not ended."""
    match = next((match for line in reversed(lines) if (match := ENDED.match(line))), None)
    return match and int(match[2]) + (128 if match[1] == "signal" else 0)


def is_kernels(line):
    """Is it a line of the kernel's? Programs that are compared begin none so."""
    return line.startswith(("# ", "quiesce 0.", "quiesce: exit ")) or bool(ENDED.match(line))
