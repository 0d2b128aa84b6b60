# SPDX-License-Identifier: MIT
"""A program that runs under Quiesce (mode=run): how it is passed, and how it has ended."""
import os
import re
import shlex

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


def status(lines):
    """The program's exit status as a shell gives it (128 + N: ended by signal N); None if it has not ended."""
    match = next((match for line in reversed(lines) if (match := ENDED.match(line))), None)
    return match and int(match[2]) + (128 if match[1] == "signal" else 0)


def is_kernels(line):
    """Is it a line of the kernel's? Programs that are compared begin none so."""
    return line.startswith(("# ", "quiesce 0.", "quiesce: exit ")) or bool(ENDED.match(line))
