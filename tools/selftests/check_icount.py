# SPDX-License-Identifier: MIT
"""Tests of the deterministic machine (ACCEL=icount, docs/measuring.md): the same seed makes the same run, to the byte
of the serial line; another seed makes another run; and a violation is found again at the same instruction. Reported as
KTAP. Of two boots that must be the same, the second has a slower disk, as on a busy host, so that the boot loader polls
longer. Their serial lines stay in build/test/icount/."""
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import threading

import machine
import qemu
from selftests import selftest

FOLDER = "build/test/icount"
# Walkers against unmappers under several policies, with random draws, grace periods and preemptions; switches; races.
SUITES = "walkers.rcu_*,walkers.h*,walkers.im*,switch,stolen.the*,rcu_torture.control*"
SEED, OTHER = 7, 8
# Tables freed without their grace period, under a load that finds it.
MUTANT, LOAD = "batch_no_grace_period", "mode=torture table_free=rcu seconds=60 seed=1"
VIOLATION = re.compile(rb"# WARN: oracle: .*, instruction \d+")
# Lines that print the seed itself: the kernel's echo of it. (No line of mode=test has the command line.)
NAMES_SEED = re.compile(rb"\bseed=")
SLOWER = 4_000_000  # bytes per second
LIMIT = 600  # seconds for a boot, however busy the host
suite = selftest.Suite("icount")


def with_slower_disk(arguments):
    """The same machine as the guest sees it."""
    at = arguments.index("-cdrom")
    drive = f"file={arguments[at + 1]},media=cdrom,index=2,throttling.bps-total={SLOWER}"
    return [*arguments[:at], "-drive", drive, *arguments[at + 2:]]


def boot(name, config, until=None):
    """(the kernel's exit status or None, the bytes of the serial line as lines, up to and with the one that `until`
    matches)"""
    lines = []
    with tempfile.TemporaryDirectory(prefix="quiesce-") as folder:
        open(f"{folder}/serial", "wb").close()
        arguments = qemu.command(config, folder)
        process = subprocess.Popen(with_slower_disk(arguments) if name.endswith("again") else arguments,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        timer = threading.Timer(LIMIT, process.kill)
        timer.start()
        for line in qemu.follow(process, f"{folder}/serial"):
            lines.append(line)
            if until and until.search(line):
                process.kill()
                break
        status = process.wait()
        timer.cancel()
    with open(f"{FOLDER}/{name}.log", "wb") as f:
        f.write(b"\n".join(lines))
    return qemu.exit_of(status), lines


def tested(name, seed):
    """With the debugging lines: the more is printed, the more must be the same. One says when the kernel has begun."""
    return name, machine.Config(accel="icount", cmdline=f"mode=test test={SUITES} seed={seed} loglevel=debug")


class Shared:
    """The boots that two tests look at, all begun at once."""
    boots = None


def boots():
    """Two with SEED, one with OTHER."""
    if not Shared.boots:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            Shared.boots = list(pool.map(lambda arguments: boot(*arguments), (
                tested("first", SEED), tested("again", SEED), tested("other-seed", OTHER))))
    return Shared.boots


def failures(*some):
    return [f"a run ended with status {status}; it last said: {lines[-1:]}" for status, lines in some if status != 0]


@suite.test
def one_seed_is_one_run():
    (status, first), (other, again), _ = boots()
    if wrong := failures((status, first), (other, again)):
        return wrong
    if first == again:
        return []
    at = next((i for i, pair in enumerate(zip(first, again)) if pair[0] != pair[1]), min(len(first), len(again)))
    return [f"from line {at + 1} on they differ ({FOLDER}/first.log, again.log):",
            *(repr(lines[at:at + 1])[:300] for lines in (first, again))]


@suite.test
def another_seed_is_another_run():
    (_, first), _, (status, other) = boots()
    if wrong := failures((status, other)):
        return wrong
    first, other = ([line for line in lines if not NAMES_SEED.search(line)] for lines in (first, other))
    return [f"seed={SEED} and seed={OTHER} make the same run"] if first == other else []


@suite.test
def a_violation_comes_back_at_its_instruction():
    built = subprocess.run(["make", "--no-print-directory", f"MUTANT={MUTANT}", "all"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if built.returncode:
        return [f"{MUTANT} does not build:", *built.stdout.splitlines()[-10:]]
    config = machine.Config(accel="icount", cmdline=LOAD, iso=f"build/mutant-{MUTANT}/quiesce-check.iso")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        (_, first), (_, again) = pool.map(lambda name: boot(name, config, VIOLATION), ("violation", "violation-again"))
    if not VIOLATION.search(first[-1]):
        return [f"no violation was found; it last said: {first[-1]!r}"]
    return [] if first == again else ["another run:", *(repr(lines[-1])[:300] for lines in (first, again))]


def main():
    os.makedirs(FOLDER, exist_ok=True)
    try:
        machine.check_available(machine.Config(accel="icount"))
        return selftest.main(suite)
    except machine.Unavailable as error:
        print(f"KTAP version 1\n1..1\n# ERROR: {error}\nnot ok 1 icount.machine")
        return 1


if __name__ == "__main__":
    sys.exit(main())
