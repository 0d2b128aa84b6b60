# SPDX-License-Identifier: MIT
"""What the two builds contain, by their symbols and their machine code, as tests of the suite `checks` (checks.py)."""
import itertools
import re
import subprocess

import axes
import rules
from selftests import selftest

suite = selftest.Suite("checks")
test = suite.test


def symbols(elf):
    text = subprocess.run(["nm", elf], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1] for line in text.splitlines()}


REGISTERED = re.compile(r"^__reg_(policies|backends)_(\w+)_(?:policy|backend)$")


@test
def both_axes_are_what_the_kernel_has_registered():
    """The tools on the host list both axes from the sources (tools/axes.py), and must miss no policy and no
    back-end."""
    wrong = []
    for elf in ("build/quiesce.elf", "build/quiesce-check.elf"):
        found = {match.groups() for s in symbols(elf) if (match := REGISTERED.match(s))}
        read = {(axis, value.identifier) for axis, values in (("policies", axes.policies()), ("backends", axes.backends()))
                for value in values.values()}
        wrong += [f"{elf}: only {where} has {name} among its {axis}" for where, some in (("it", found - read), ("mm/", read - found))
                  for axis, name in sorted(some)]
    return wrong


DETECTORS = re.compile(r"^(oracle|swmmu|swmmu_(?!violations)\w+|oracle_(enter|exit|publish|table_freed)|lockcheck_\w+|__start_stall_points)$")
STALL_VARIABLE = re.compile(r"^__reg_(stall_points|mutants)_")


@test
def release_build_carries_no_detector():
    return [s for s in symbols("build/quiesce.elf") if DETECTORS.match(s) or STALL_VARIABLE.match(s)]


def walks(elf):
    """Instructions of each policy's compiled walks: the walk of several pages, the walks of one page for reading and
    for writing, and the function with which these two continue at a large leaf. (The union of two policies, while a
    switch is under way, calls through their operations tables.)"""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", elf], check=True, capture_output=True, text=True).stdout
    blocks = re.findall(r"^[0-9a-f]+ <(\w+)_walk(?:_large|_read|_write)?(?:\.\w+)*>:\n((?:.+\n)+)", text, re.M)
    found = [(name, [line.split("\t", 1)[-1] for line in body.splitlines()]) for name, body in blocks
             if name in rules.policies()]
    if sorted(name for name, _ in found) != sorted(4 * list(rules.policies())):
        raise ValueError(f"walks of {[name for name, _ in found]} found, policies are {list(rules.policies())}")
    return found


@test
def entry_clears_the_flags():
    """Both entries do that as soon as they have a stack. No boot would show that it is missing: no loader sets NT or
    AC."""
    text = subprocess.run(["objdump", "-d", "-M", "i386", "--no-show-raw-insn", "-j", ".boot", "build/quiesce.elf"], check=True,
                          capture_output=True, text=True).stdout
    code = re.findall(r"^ +[0-9a-f]+:\t(.+)$", text.partition("<both_entries>:\n")[2], re.M)[:10]
    does = [re.split(r"\s+", line)[0] for line in code]
    expected = ["cli", "lgdtl", "ljmp", "mov", "mov", "mov", "mov", "mov", "push", "popf"]
    return [] if does == expected and "$0x0" in code[8] else code


@test
def release_walks_call_nothing_but_the_last_put():
    """They do not jump elsewhere either, nor through a pointer. Allowed, too: walk_missed() and walk_resched(), which
    are rare and run after the read side has ended; and the trace's branch_call, which runs only where it is patched
    in."""
    wrong = []
    for name, body in walks("build/quiesce.elf"):
        inside = re.compile(rf"<{name}_walk(_large|_read|_write)?(\.\w+)*[+>]|<(page_put|walk_missed|walk_resched|branch_call|__stack_chk_fail)>")
        wrong += [f"{name}: {line}" for line in body if re.match(r"(call|j\w+)\s", line) and not inside.search(line)]
    return wrong


@test
def release_walks_lock_nothing_but_the_count():
    """One LOCKed access to memory that other CPUs use: the page's count. (A LOCKed access to the stack is a barrier.)
    Beside it only the calls of functions named *_atomic in the policy's own file, for example to join the mask of
    remote walkers. The compiler may emit one of these twice, on two ways out."""
    texts, wrong = rules.policies(), []
    for name, body in walks("build/quiesce.elf"):
        shared = [line for line in body if line.startswith("lock") and "(%rsp)" not in line]
        others = {line.split()[1] for line in shared if "cmpxchg" not in line}
        if sum("cmpxchg" in line for line in shared) != 1 or len(others) > len(re.findall(r"\w_atomic\(", texts[name])):
            wrong.append(f"{name}: {shared}")
    return wrong


@test
def walks_of_one_page_straddle_no_page():
    """For the jump from one page to the next an emulator looks up its translation each time."""
    text = subprocess.run(["nm", "-S", "build/quiesce.elf"], check=True, capture_output=True, text=True).stdout
    found = re.findall(r"^(\w+) (\w+) t (\w+)_walk_(read|write)$", text, re.M)
    lacking = set(itertools.product(rules.policies(), ("read", "write"))) - {each[2:] for each in found}
    places = [(name, int(start, 16), int(start, 16) + int(size, 16) - 1) for start, size, *name in found]
    return [f"no symbol for {name}" for name in lacking] + [
        f"{name}: {first:#x} to {last:#x}" for name, first, last in places if first >> 12 != last >> 12]


@test
def checking_build_carries_the_detectors():
    found = symbols("build/quiesce-check.elf")
    have = any(DETECTORS.match(s) for s in found), any(STALL_VARIABLE.match(s) for s in found)
    return [] if all(have) else [f"detectors, stall points: {have}"]
