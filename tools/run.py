#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make run, make debug, make bench: boot Quiesce in an emulator as the environment says (EMULATOR, SMP, MEM, ACCEL,
FIRMWARE, MACHINE, CPU, BUILD, MUTANT, CMDLINE, EXTRA, TIMEOUT, VERBOSE, PROGRAM, ARGS). With CMDLINE one boot, whose
serial lines are shown; with PROGRAM one boot that runs it, and its exit status is ours. Otherwise the main job: verdicts from the checking build, times from the release build, counts of instructions
from one CPU under ACCEL=icount, and at the end a table that fits on a screen; EXTRA has more keys for their command
lines. The exit status is 0 only if the kernel ended with success and, in the main job, each claim was confirmed."""
import collections
import dataclasses
import os
import re
import shlex
import shutil
import sys

import host
import machine
import program
import qemu
import results
import summary
import table
from comparison import Comparison
from machine import config_from_environment, seconds_of
from progress import Progress, say

FOLDER = "build/run"  # the main job's serial logs and tables
TABLES = f"{FOLDER}/tables.txt"
# The build, the boot's name, its command line, seconds= to measure, and how much longer the boot takes. (Under
# ACCEL=icount seconds= is left to the kernel: its second is a thousand million instructions.)
VERDICTS = "check", "verdicts", "mode=compare", 100, 10
TIMES = "release", "times", "mode=compare", 85, 15
COUNTS = "release", "instructions", "mode=bench bench=walk,unmap_page seconds=1", 0, 11
UNTIMED = ("xen", "xen-domu")  # ACCEL=: all is emulated twice over there
GOES_ON = (1, 4)  # the kernel's exit statuses after which there is something to show: a failure, but it ran to its end
TROUBLE = re.compile(r"\s*not ok |# (WARN|ERROR|PANIC|stuck|nested)\b")
DATA = re.compile("(BENCH|HIST|VERDICT|TRACE) ")
CONTEXT, TAIL = 3, 20  # lines shown around trouble, and at the end of a boot that broke off


def without_keys(names, words):
    return [word for word in words if word.split("=")[0] not in names]


def with_extra(cmdline, refused=()):
    """Our keys, then those of EXTRA= except the refused ones. EXTRA= replaces a key of ours, because the kernel takes
    each key only once."""
    extra = without_keys(refused, (os.environ.get("EXTRA") or "").split())
    named = [word.split("=")[0] for word in extra]
    return " ".join(without_keys(named, cmdline.split()) + extra)


def boot_once(config):
    result, path = host.measure(config, on_line=say, interactive="mode=monitor" in config.cmdline)
    if not result.ok:
        say(f"run: {result.sentence}")
    if path:
        say(f"run: what was measured is in {path}")
    return result


def run_program(config):
    """One boot of mode=run. The exit status is the program's, 1 where it has not ended or the kernel has more to object
    to than that."""
    config.stdin = sys.stdin.fileno()
    result = machine.run(config, on_line=say)
    status = program.status(result.lines)
    if status is None or (status == 0 and not result.ok):
        say(f"run: {result.sentence}")
        return 1
    return status


@dataclasses.dataclass
class Step:
    """One boot of the main job."""
    name: str
    config: machine.Config
    seconds: int
    light: bool = False

    @property
    def log(self):
        return f"{FOLDER}/{self.name}.log"


def step(base, kind, refused=(), **changes):
    build, name, cmdline, measured, more = kind
    config = dataclasses.replace(base, build=build, **changes)
    if config.accel != "icount":
        cmdline += f" seconds={measured}"
    config.cmdline = with_extra(cmdline, refused)
    return Step(name, config, (measured if config.accel == "icount" else seconds_of(config.cmdline)) + more)


def plan(config):
    """(the boots, sentences about what none of them measures)"""
    steps, lacking = [step(config, VERDICTS), step(config, TIMES)], []
    if not is_timed(config):
        del steps[1]
        lacking.append(f"No times are measured: with ACCEL={config.accel} all is emulated twice over.")
    for each in steps:
        machine.check_available(each.config)
    counts = step(config, COUNTS, ("mode", "bench", "seconds", "cpus"), smp=1, accel="icount",
                  cpu=config.cpu if config.accel in ("tcg", "icount") else "")
    try:
        machine.check_available(counts.config)
        steps.append(counts)
    except machine.Unavailable as error:
        lacking.append(f"No instructions are counted: {error}")
    return steps, lacking


def is_timed(config):
    return config.accel not in UNTIMED


def verbose():
    return os.environ.get("VERBOSE", "") not in ("", "0")


class Watch:
    """Writes each serial line of a boot to its log, and shows on the terminal what a person must see: with VERBOSE=1
    everything; otherwise how far the boot is, and warnings, errors and panics with the lines around them."""

    def __init__(self, log, progress):
        self.log, self.progress = log, progress
        self.unseen, self.after = collections.deque(maxlen=TAIL), 0

    def line(self, text):
        self.log.write(text + "\n")
        self.progress.line(text)
        if verbose():
            say(text)
        elif TROUBLE.match(text):
            self.show([*self.unseen, text][-CONTEXT - 1:])
            self.after = sys.maxsize if text.startswith("# PANIC") else max(self.after, CONTEXT)
        elif self.after and not DATA.match(text):
            self.show([text])
            self.after -= 1
        elif not DATA.match(text):
            self.unseen.append(text)

    def show(self, lines):
        self.progress.note([f"    | {line}" for line in lines])
        self.unseen.clear()

    def tail(self):
        """Show the end of a boot that broke off, as far as it has not been shown."""
        if self.unseen:
            self.show(self.unseen)


def boot(step, progress):
    progress.begin(step)
    with open(step.log, "w", encoding="utf-8", buffering=1) as log:
        watch = Watch(log, progress)
        result, path = host.measure(step.config, on_line=watch.line)
    if not result.ok and result.exit not in GOES_ON:
        watch.tail()
    took = f"{result.seconds:.0f} s" + ("" if result.ok else f": {result.sentence}")
    files = "; ".join(filter(None, (step.log, path)))
    progress.end(step, [f"  {'ok' if result.ok else 'FAILED':6}  {step.name}: {took}; {files}"])
    return result


def show(lines, timed):
    """Write all tables into their file; print the table of a screen and the conclusion, and before them the verdicts of
    all pairs, where there are no times. Returns the exit status."""
    c = Comparison(results.parse(lines), timed)
    full, short, (status, conclusion) = table.full(c), summary.lines(c), c.conclusion()
    with open(TABLES, "w", encoding="utf-8") as f:
        f.write("\n".join(full + short + [""] + conclusion) + "\n")
    if verbose():
        say("\n".join([""] + full))
    elif not timed:
        say("\n".join([""] + table.verdicts(c)).rstrip())
    say("\n".join(["", f"All tables: {TABLES}; serial lines: {FOLDER}/*.log; VERBOSE=1 shows both", ""] + short + [""]
                  + conclusion))
    return status


def compare(config):
    steps, lacking = plan(config)
    shutil.rmtree(FOLDER, ignore_errors=True)  # no table of an earlier run stays
    os.makedirs(FOLDER)
    minutes, seconds = divmod(sum(each.seconds for each in steps), 60)
    say(f"Quiesce: when may a page-table page be freed while other CPUs walk? {len(steps)} boots, about {minutes} min "
        f"{seconds} s (SMP={config.smp} ACCEL={config.accel}).")
    for sentence in lacking:
        say(sentence)
    progress, lines, failed = Progress(steps, bar=not verbose()), [], []
    for each in steps:
        result = boot(each, progress)
        lines += result.lines
        if not result.ok:
            failed.append(f"run: {each.name} has failed: {each.log}")
        if not result.ok and result.exit not in GOES_ON:
            break
    try:
        status = show(lines, is_timed(config))
    except results.Broken as error:
        status, failed = 1, failed or [f"run: {error}"]
    if failed:
        say("\n".join(failed))
    return 1 if failed else status


def debug(config):
    if config.emulator != "qemu":
        raise machine.Unavailable(f"make debug: EMULATOR={config.emulator} has no gdb stub; use qemu")
    config.extra = ("-gdb", "tcp:127.0.0.1:1234", "-S")
    machine.check_available(config)
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
        if config.program:
            program.check(config)
            config.cmdline = program.cmdline(config)
        if sys.argv[1:] == ["debug"]:
            return debug(config)
        if config.program:
            return run_program(config)
        if config.args:
            raise machine.Unavailable("ARGS= is for PROGRAM=")
        if sys.argv[1:] == ["compare"] or not config.cmdline:
            if config.iso:
                raise machine.Unavailable("MUTANT= needs CMDLINE=, for example CMDLINE=mode=test")
            return compare(config)
        if os.environ.get("EXTRA"):
            raise machine.Unavailable("EXTRA= is for a run without CMDLINE=; with CMDLINE=, write the keys there")
        return 0 if boot_once(config).ok else 1
    except (machine.Unavailable, results.Broken) as error:
        say(f"run: {error}")
        return 1
    except KeyboardInterrupt:
        say("run: interrupted")
        return 130
    except BrokenPipeError:  # nobody reads us any more: make run | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor what Python has buffered
        return 141


if __name__ == "__main__":
    sys.exit(main())
