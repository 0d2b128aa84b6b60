#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Our own programs (user/) on this Linux and under Quiesce, as KTAP: each must print the same lines and end with the same
status. What is run is in user/runs.txt. "pairs": instead what that file says is run under each safe pair of policy and
back-end. Further arguments: patterns of tests, for example "musl.memory*"."""
import concurrent.futures
import contextlib
import dataclasses
import difflib
import fnmatch
import functools
import os
import re
import resource
import shlex
import sys

import axes
import machine
import matrix
import mishap
import needs
import patience
import program

RUNS = "user/runs.txt"
BUILDS = "build/user"
PACKAGES = {"glibc": "libc6-dev", "musl": "musl-tools", "pie": "libc6-dev"}  # Debian's, by where a build is from
PAIRS = "pairs"
ENVIRONMENT = {"PATH": "/", "HOME": "/", "TERM": "dumb"}  # what the kernel gives (proc/run.c)
STACK = 8 << 20
BUDGET = 40    # seconds of processor time, of which hardly a run needs five
SHOWN = 20    # lines of a difference
MOST_INPUT = 32768
NO_TEXT = re.compile(r"[\0-\x1f\x7f\ufffd]")


@dataclasses.dataclass
class Row:
    libc: str
    name: str
    args: str
    stdin: str = ""  # the file that is its standard input

    @property
    def path(self):
        return f"{BUILDS}/{self.libc}/{self.name}"

    @property
    def test(self):
        """Its name in KTAP, which has no blanks."""
        words = re.sub(r"\W+", "_", f"{self.args} {self.stdin}").strip("_")
        return f"programs.{self.libc}.{self.name}" + (f".{words}" if words else "")


def rows(text):
    """The lines of runs.txt: the first words say where the build is from."""
    for line in text.splitlines():
        words = line.split()
        if not words or line.startswith("#"):
            continue
        libcs = [word for word in words if word in (*PACKAGES, PAIRS)]
        rest, _, stdin = line.split(maxsplit=len(libcs))[len(libcs)].partition(" < ")
        name, _, args = rest.partition(" ")
        for libc in libcs:
            yield Row(libc, name, args, stdin)


def read_rows():
    with open(RUNS, encoding="utf-8") as f:
        return list(rows(f.read()))


# ---- On Linux and under Quiesce -------------------------------------------------------------------------------------

def limit():
    for what, soft in ((resource.RLIMIT_STACK, STACK), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(what, (soft, resource.getrlimit(what)[1]))


@contextlib.contextmanager
def standard_input(row):
    """A descriptor: a pipe, as the kernel's console looks like one. What is in the file has room in it."""
    reader, writer = os.pipe()
    try:
        with open(writer, "wb") as to:
            if row.stdin:
                with open(row.stdin, "rb") as f:
                    to.write(f.read(MOST_INPUT))
        yield reader
    finally:
        os.close(reader)


def on_linux(row):
    """(exit status, lines)"""
    command = [row.path, *shlex.split(row.args)]
    with standard_input(row) as stdin:
        status, text, why = patience.run(command, BUDGET, stdin=stdin, env=ENVIRONMENT, preexec_fn=limit)
    lines = [machine.clean(line.encode()) for line in text.removesuffix("\n").split("\n")]  # as those of the serial line
    if why:
        return f"time-out on Linux: {why}", lines
    return (status if status >= 0 else 128 - status), lines


def under_quiesce(row, keys=""):
    """(exit status, the program's lines, the kernel's lines)"""
    config = machine.Config(smp=4, firmware="pvh", program=row.path, args=row.args, budget=BUDGET)
    config.cmdline = f"mode=run{keys}"
    with standard_input(row) as config.stdin:
        result = machine.run(config)
    status = program.status(result.lines)
    kernels = [line for line in result.lines if program.is_kernels(line)]
    if status is None or (status == 0 and not result.ok):
        status = f"{result.sentence}, and the program's status is {status}"
    return status, [line for line in result.lines if not program.is_kernels(line)], kernels


def difference(linux, quiesce):
    """What is wrong, as lines: how the two statuses and outputs differ."""
    wrong = [] if linux[0] == quiesce[0] else [f"status on Linux: {linux[0]}; under Quiesce: {quiesce[0]}"]
    lines = list(difflib.unified_diff(linux[1], quiesce[1], "Linux", "Quiesce", lineterm="", n=1))[:SHOWN]
    return wrong + lines


def compare(row, keys="", linux=on_linux):
    demand(row)
    expected = linux(row)
    status, lines, kernels = under_quiesce(row, keys)
    wrong = difference(expected, (status, lines))
    return wrong + [f"    {line}" for line in kernels[:SHOWN] if wrong]


# ---- What is tested -------------------------------------------------------------------------------------------------

def demand(row):
    """That the program has been built; Lacking: it was left out, for want of its library."""
    if os.path.exists(row.path):
        return
    if needs.is_missing(PACKAGES[row.libc]):
        raise machine.Lacking(f"{machine.LACKS}{PACKAGES[row.libc]}: make deps")
    raise machine.Unavailable(f"{row.path} does not exist: make user")


def each_program_has_a_row(found):
    names = {path.removesuffix(".c") for path in os.listdir("user") if path.endswith(".c")}
    return [f"{RUNS} has no line for {name}" for name in sorted(names - {row.name for row in found})]


def plain(found):
    """{test: a function that returns what is wrong, as lines}"""
    tests = {"programs.each_has_a_row": lambda: each_program_has_a_row(found)}
    return tests | {row.test: lambda row=row: compare(row) for row in found if row.libc != PAIRS}


def safe_pairs():
    policies, backends = axes.policies(), axes.backends()
    return [(p, b) for p in policies for b in sorted(matrix.EVERYWHERE) if axes.is_safe(policies[p], backends[b])]


def by_pair(found):
    tests = {}
    for row in (dataclasses.replace(row, libc="musl") for row in found if row.libc == PAIRS):
        once = functools.cache(lambda row=row: on_linux(row))
        for number, pair in enumerate(safe_pairs()):
            keys = f" table_free={pair[0]} tlb_flush={pair[1]} seed={number + 1}"
            tests[f"programs.{row.name}.{'.'.join(pair)}"] = \
                lambda row=row, once=once, keys=keys: compare(row, keys, lambda _: once())
    return tests


def outcome(test):
    """(problems, reason of a skip)"""
    try:
        return test(), ""
    except machine.Lacking as error:
        return [], str(error)
    except mishap.ANY as error:
        return [mishap.sentence(error), *mishap.details(error)], ""


def main():
    patterns = sys.argv[1:]
    choose = by_pair if patterns[:1] == [PAIRS] and patterns.pop(0) else plain
    return run({name: test for name, test in choose(read_rows()).items()
                if not patterns or any(fnmatch.fnmatch(name, f"programs.{pattern}") for pattern in patterns)})


def run(tests):
    """The exit status."""
    failed = 0
    print(f"KTAP version 1\n1..{len(tests)}")
    with patience.interruptible(concurrent.futures.ThreadPoolExecutor(os.cpu_count())) as pool:
        outcomes = pool.map(lambda name: outcome(tests[name]), tests)
        for number, (name, (problems, skip)) in enumerate(zip(tests, outcomes), 1):
            for problem in problems:
                print(f"# ERROR: {NO_TEXT.sub('?', problem)}")
            failed += bool(problems)
            print(f"{'not ok' if problems else 'ok'} {number} {name}{f' # SKIP {skip}' if skip else ''}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
