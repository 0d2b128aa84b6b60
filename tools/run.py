#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make run, make debug, make bench: boot Quiesce in an emulator as the environment says (EMULATOR, SMP, MEM, ACCEL,
FIRMWARE, MACHINE, CPU, BUILD, MUTANT, CMDLINE, EXTRA, TIMEOUT). With CMDLINE one boot; without it the main job: the
verdicts from the checking build, the times from the release build, one table; EXTRA has more keys for its two command
lines. The exit status is 0 only when the kernel ended with success."""
import os
import shlex
import sys

import host
import machine
import qemu
import results
import table
from machine import config_from_environment, seconds_of

# The two halves of the comparison: build, what it finds out, seconds that it measures for at most, seconds to boot and
# end.
STEPS = [
    ("check", "verdicts: walkers against unmappers, watched by the oracle (checking build)", 100, 10),
    ("release", "times: unmap, walk, stolen time, grace periods (release build)", 85, 15),
]


def say(text):
    print(text, flush=True)


def with_extra(cmdline):
    """The keys of EXTRA= behind our own. One that is in both is EXTRA's: the kernel takes each once."""
    extra = (os.environ.get("EXTRA") or "").split()
    named = [word.split("=")[0] for word in extra]
    return " ".join([word for word in cmdline.split() if word.split("=")[0] not in named] + extra)


def boot_once(config):
    result, path = host.measure(config, on_line=say, interactive="mode=monitor" in config.cmdline)
    if not result.ok:
        say(f"run: {result.sentence}")
    if path:
        say(f"run: what was measured is in {path}")
    return result


def compare(config):
    cmdlines = [with_extra(f"mode=compare seconds={measure}") for _, _, measure, _ in STEPS]
    durations = [seconds_of(cmdline) + boot for cmdline, (_, _, _, boot) in zip(cmdlines, STEPS)]
    say(f"Quiesce: when may a page-table page be freed while other CPUs walk? Two boots, about "
        f"{sum(durations) // 60} min {sum(durations) % 60} s in all (SMP={config.smp} ACCEL={config.accel}).")
    lines = []
    for number, (build, what, _, _) in enumerate(STEPS, 1):
        config.build, config.cmdline = build, cmdlines[number - 1]
        say(f"\n== {number} of {len(STEPS)}: {what}, about {durations[number - 1]} s ==")
        result = boot_once(config)
        lines += result.lines
        if not result.ok:
            say(f"run: the comparison stops here: step {number} has failed")
            return 1
    say("")
    return table.print_report(lines)


def debug(config):
    if config.emulator != "qemu":
        raise machine.Unavailable(f"make debug: EMULATOR={config.emulator} has no gdb stub; use qemu")
    machine.check_available(config)
    config.extra = ("-gdb", "tcp:127.0.0.1:1234", "-S")
    iso = config.iso or ("build/quiesce.iso" if config.build == "release" else "build/quiesce-check.iso")
    symbols = iso.replace(".iso", ".elf")
    os.makedirs("build/debug", exist_ok=True)
    arguments = qemu.command(config, "build/debug")
    if config.accel == "icount":
        say("The serial line goes to build/debug/serial.")
    say(f"QEMU waits. In another terminal:  gdb {symbols} -ex 'target remote :1234'\n{shlex.join(arguments)}")
    os.execvp(arguments[0], arguments)


def main():
    try:
        config = config_from_environment()
        if sys.argv[1:] == ["debug"]:
            return debug(config)
        if sys.argv[1:] == ["compare"] or not config.cmdline:
            if config.iso:
                raise machine.Unavailable("MUTANT= runs with CMDLINE=, for example CMDLINE=mode=test")
            return compare(config)
        if os.environ.get("EXTRA"):
            raise machine.Unavailable("EXTRA= has more keys for a run without CMDLINE=; with it, write them there")
        return 0 if boot_once(config).ok else 1
    except (machine.Unavailable, results.Broken) as error:
        say(f"run: {error}")
        return 1
    except KeyboardInterrupt:
        say("run: interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
