#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that need no boot, as KTAP: the sources keep their rules, the release build carries no detector, and the tools
that judge the other tests do fail what must fail. Run from the top of the tree, after make."""
import glob
import json
import re
import subprocess
import sys

import bochs
import ktap
import machine
import matrix
import qemu
import table

SOURCES = ("arch", "boot", "kernel", "mm", "tests", "tools")
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def sources(*patterns):
    return sorted(f for p in patterns for f in glob.glob(p, recursive=True) if "__pycache__" not in f)


def offending(files, pattern, allowed=()):
    """file:line of each match."""
    found = []
    for path in files:
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                if re.search(pattern, line) and not any(a in line for a in allowed):
                    found.append(f"{path}:{number}: {line.strip()}")
    return found


@test
def every_file_names_its_licence():
    files = sources(*(f"{d}/**/*.*" for d in SOURCES)) + ["Makefile", "linker.ld", "grub.cfg", ".ci/run"]
    wrong = []
    for path in files:
        with open(path, encoding="utf-8") as f:
            if "SPDX-License-Identifier: MIT" not in f.readline() + f.readline():
                wrong.append(path)
    return wrong


@test
def portable_code_names_no_register():
    files = sources("kernel/*.[ch]", "mm/*.[ch]", "tests/*.[ch]")
    return offending(files, r"\b(asm|__asm__|rdmsr|wrmsr|invlpg|mov\s+%cr\d)\b", allowed=("#define barrier()",))


@test
def architecture_names_no_policy():
    files = sources("arch/**/*.[ch]", "arch/**/*.asm", "boot/*")
    return offending(files, r"\btable_policy\b|\bpolicy_(ipi|rcu|immediate)\b")


def symbols(elf):
    text = subprocess.run(["nm", elf], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1] for line in text.splitlines()}


DETECTORS = re.compile(r"^(oracle|swmmu|swmmu_(?!violations)\w+|oracle_(enter|exit|publish|table_freed)|lockcheck_\w+|__start_stall_points)$")
STALL_VARIABLE = re.compile(r"^__reg_(stall_points|mutants)_")


@test
def release_build_carries_no_detector():
    return [s for s in symbols("build/quiesce.elf") if DETECTORS.match(s) or STALL_VARIABLE.match(s)]


def walks(elf):
    """Instructions of each policy's compiled walk; the union of two policies, for switches, goes through their tables."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", elf], check=True, capture_output=True, text=True).stdout
    blocks = re.findall(r"^[0-9a-f]+ <(\w+)_walk(?:_one)?>:\n((?:.+\n)+)", text, re.M)
    names = [name for name, _ in blocks]
    return [(name, [line.split("\t", 1)[-1] for line in body.splitlines()]) for name, body in blocks
            if name != "union" and names.count(name) == 2]


@test
def release_walks_call_nothing_but_the_last_put():
    return [f"{name}: {line}" for name, body in walks("build/quiesce.elf") for line in body
            if "call" in line and not re.search(r"<(page_put|__stack_chk_fail)>", line)]


@test
def release_walks_lock_nothing_but_the_count():
    """One LOCKed access to memory that others use: the page's count. (On the stack it is a barrier.) `ipi` joins and
    leaves the mask of remote walkers with two more."""
    found = walks("build/quiesce.elf")
    shared = [(name, [x for x in body if x.startswith("lock") and "(%rsp)" not in x]) for name, body in found]
    wrong = [f"{name}: {lines}" for name, lines in shared if len(lines) != (3 if name == "ipi" else 1)]
    return wrong if len(found) >= 14 else [f"only {len(found)} walks found"]


@test
def checking_build_carries_the_detectors():
    found = symbols("build/quiesce-check.elf")
    have = any(DETECTORS.match(s) for s in found), any(STALL_VARIABLE.match(s) for s in found)
    return [] if all(have) else [f"detectors, stall points: {have}"]


def report(*lines):
    return ktap.parse(lines)


@test
def ktap_counts():
    r = report("noise", "KTAP version 1", "1..3", "ok 1 a.x", "# [2/3] a.y", "# ERROR: why", "not ok 2 a.y",
               "ok 3 a.z # SKIP no luck")
    want = (["a.x"], [("a.y", ["# [2/3] a.y", "# ERROR: why"])], [("a.z", "no luck")], [])
    return [] if (r.passed, r.failed, r.skipped, r.errors) == want else [str(r)]


@test
def ktap_nested_suites_count_their_tests():
    r = report("KTAP version 1", "1..2", "  KTAP version 1", "  1..2", "  ok 1 t", "  not ok 2 u", "not ok 1 suite",
               "ok 2 v")
    return [] if (r.passed, [f[0] for f in r.failed], r.errors) == (["t", "v"], ["u"], []) else [str(r)]


@test
def ktap_defects_are_errors():
    defects = {
        "nothing": [],
        "no plan": ["KTAP version 1", "ok 1 a"],
        "truncated": ["KTAP version 1", "1..2", "ok 1 a"],
        "too many": ["KTAP version 1", "1..1", "ok 1 a", "ok 2 b"],
        "out of order": ["KTAP version 1", "1..2", "ok 2 a", "ok 1 b"],
        "nested truncated": ["KTAP version 1", "1..1", "  KTAP version 1", "  1..2", "  ok 1 t", "ok 1 suite"],
        "version": ["KTAP version 2", "1..1", "ok 1 a"],
    }
    return [name for name, lines in defects.items() if not report(*lines).errors]


@test
def unexpected_skips_are_told_from_expected_ones():
    one, four = (matrix.Run("x", 1, machine.Config(smp=n)) for n in (1, 4))
    right = matrix.skip_is_expected(one, "needs 2 CPUs") and not matrix.skip_is_expected(four, "needs 2 CPUs")
    return [] if right and not matrix.skip_is_expected(one, "") else ["skip_is_expected"]


@test
def exits_are_told_apart():
    wrong = []
    for status, lines, part in (
        (33, ["quiesce: exit 0"], "success"), (35, ["quiesce: exit 1"], "tests failed"), (39, [], "panic"),
        (0, ["x"], "reset"), (0, ["quiesce: exit 0"], "powered off"), (None, ["y"], "time-out"),
        (1, ["no such machine"], "no such machine"), (-9, [], "signal 9"),
    ):
        sentence = qemu.sentence_of(status, lines, 10)
        if part not in sentence:
            wrong.append(f"{status}: {sentence}")
    return wrong


@test
def ends_of_bochs_are_told_apart():
    wrong = []
    for exit_status, in_time, lines, panic, screen, part in (
        (0, True, ["quiesce: exit 0"], "", "", "success"), (3, True, ["quiesce: exit 3"], "", "", "panic"),
        (None, False, ["x"], "", "", "time-out"), (None, True, ["x"], "", "", "powered off"),
        (None, True, ["x"], "exception(): 3rd (13) exception with no resolution", "", "3rd (13)"),
        (None, True, [], "", "unknown CPU model", "unknown CPU model"),
    ):
        sentence = bochs.sentence_of(exit_status, in_time, lines, 10, panic, screen)
        if part not in sentence:
            wrong.append(f"{exit_status}, {in_time}, {lines}: {sentence}")
    return wrong


def verdict(policy, claimed, found):
    counters = "violations walks fast slow remote frees_l1 frees_l2 frees_l3 frees_during_walk".split()
    pair = {"table_free": policy, "tlb_flush": "ipi", "claimed": claimed, "found": found}
    return "VERDICT " + json.dumps(pair | dict.fromkeys(counters, 1))


def status_of_report(*verdicts, cpus=2):
    bench = "BENCH " + json.dumps({"name": "walk", "table_free": "rcu", "tlb_flush": "ipi", "cpus": cpus, "median": 5})
    real, sys.stdout = sys.stdout, open("/dev/null", "w", encoding="utf-8")
    try:
        return table.print_report([*verdicts, bench])
    finally:
        sys.stdout.close()
        sys.stdout = real


@test
def table_fails_what_contradicts_its_claim():
    cases = (
        (0, status_of_report(verdict("rcu", "safe", "clean"), verdict("immediate", "unsafe", "violated"))),
        (1, status_of_report(verdict("rcu", "safe", "violated"))),
        (1, status_of_report(verdict("rcu", "safe", "inconclusive"))),
        (1, status_of_report(verdict("immediate", "unsafe", "clean"))),
        (0, status_of_report(verdict("rcu", "safe", "inconclusive"), cpus=1)),
        (1, status_of_report("VERDICT {broken")),
        (1, status_of_report()),
    )
    return [f"case {i}: {got}" for i, (want, got) in enumerate(cases) if want != got]


def main():
    failed = 0
    print(f"KTAP version 1\n1..{len(TESTS)}")
    for number, function in enumerate(TESTS, 1):
        try:
            problems = function()
        except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            problems = [repr(error)]
        for problem in problems:
            print(f"# ERROR: {problem}")
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {number} checks.{function.__name__}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
