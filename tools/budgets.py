#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tests/budgets.txt: how many instructions each hot path of the release build may take, by compiler (docs/budgets.md).
"check" (make test) prints KTAP, with a test for each path, which fails if the path takes one instruction more. "write"
(make budgets) writes what was counted into the file; a figure that grows needs REASON="...", which is kept beside
it."""
import concurrent.futures
import dataclasses
import os
import re
import sys

import machine
import matrix
import needs
import results

FILE = "tests/budgets.txt"
CPUS = (1, 2)  # a boot each: mode=paths
# What programs pay: user/speed.c, under the policy that it is told. Its names begin so, and it needs that package.
PROGRAM, POLICY, OF_PROGRAM, PACKAGE = "build/user/musl/speed", "rcu", "user_", "musl-tools"
HEAD = """\
# SPDX-License-Identifier: MIT
# Instructions that each hot path of the release build takes, as ACCEL=icount counts them: docs/budgets.md. A path that
# takes one more fails `make test`. `make budgets` writes this file; it raises a figure only with REASON="why".
"""
REASON = re.compile(r"(\S+) (\d+) -> (\d+): (.*)")
ADVICE = "make budgets"


class Refused(Exception):
    """What cannot be done; the text says why, in lines."""


@dataclasses.dataclass
class Line:
    """What one path may take: {compiler: instructions}, and why it was raised: {compiler: "gcc-12 1 -> 2: why"}."""
    figures: dict = dataclasses.field(default_factory=dict)
    reasons: dict = dataclasses.field(default_factory=dict)


# ---- The file: {(name, policy): Line} -------------------------------------------------------------------------------

def parse(text):
    """The columns' compilers and the lines; Refused names the line that is wrong."""
    compilers, budgets = None, {}
    for number, row in enumerate(text.splitlines(), 1):
        if not row.strip() or row.startswith("#"):
            continue
        words = row.split(maxsplit=2 + len(compilers) if compilers is not None else -1)
        if compilers is None:
            if words[:2] != ["path", "policy"] or len(set(words)) != len(words):
                raise Refused(f"{FILE}:{number}: not the columns' names: path, policy, compilers")
            compilers = words[2:]
            continue
        try:
            key, line = parse_line(words, compilers)
        except ValueError as error:
            raise Refused(f"{FILE}:{number}: {error}") from None
        if key in budgets:
            raise Refused(f"{FILE}:{number}: a second line for {title(key)}")
        budgets[key] = line
    return compilers or [], budgets


def parse_line(words, compilers):
    figures, why = words[2:2 + len(compilers)], words[2 + len(compilers):]
    if len(figures) != len(compilers) or not all(f == "-" or f.isdecimal() for f in figures):
        raise ValueError("not a path, its policy or -, and a number or - for each compiler")
    line = Line({compiler: int(f) for compiler, f in zip(compilers, figures) if f != "-"})
    for reason in why[0].split(" | ") if why else ():
        if not (match := REASON.fullmatch(reason)) or match[1] not in compilers:
            raise ValueError(f"not the reason of a raise: {reason}")
        line.reasons[match[1]] = reason
    return (words[0], words[1]), line


def compiler_order(compiler):
    name, _, version = compiler.rpartition("-")
    return name, int(version) if version.isdecimal() else 0


def render(budgets):
    """The file's text: columns and lines in order, so that a change of one figure is a change of one line."""
    compilers = sorted({c for line in budgets.values() for c in line.figures}, key=compiler_order)
    rows = [["path", "policy", *compilers, ""]]
    for key, line in sorted(budgets.items()):
        rows.append([*key, *(str(line.figures.get(c, "-")) for c in compilers),
                     " | ".join(line.reasons[c] for c in compilers if c in line.reasons)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(compilers) + 2)]
    lines = []
    for row in rows:
        cells = [cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return HEAD + "\n".join(lines) + "\n"


def title(key):
    return key[0] if key[1] == "-" else f"{key[0]}.{key[1]}"


# ---- What is counted ------------------------------------------------------------------------------------------------

def config_of(cmdline, **options):
    return machine.Config(accel="icount", build="release", cmdline=f"{cmdline} tlb_flush=ipi", **options)


def configs():
    """A boot each. Without the program's there is none of it, where this machine cannot build it."""
    found = [config_of("mode=paths", smp=cpus) for cpus in CPUS]
    if os.path.exists(PROGRAM):
        found.append(config_of(f"mode=run table_free={POLICY}", smp=1, program=PROGRAM, args=POLICY))
    elif not needs.is_missing(PACKAGE):
        raise Refused(f"{PROGRAM} does not exist: make user")
    return found


def boot(config):
    result = machine.run(config)
    name = f"SMP={config.smp} {config.program}".rstrip()
    if not result.ok:
        raise Refused("\n".join([f"the boot with {name}: {result.sentence}", *result.lines[-10:]]))
    return results.parse_serial(result.lines, name)[-1]


def is_programs(run):
    """mode=run prints no HEADER line."""
    return bool(run.paths) and all(path["name"].startswith(OF_PROGRAM) for path in run.paths)


def figures_of(runs):
    """The compiler, and {(name, policy): instructions}, of these boots."""
    compilers = {run.header.get("compiler") for run in runs if run.header.get("compiler") or not is_programs(run)}
    if len(compilers) != 1 or None in compilers:
        raise Refused(f"the kernel does not say by which compiler it was made: {compilers}")
    counted = {}
    for path in (path for run in runs for path in run.paths):
        key = path["name"], path["table_free"]
        if path["unit"] != "instructions":
            raise Refused(f"{title(key)} was counted in {path['unit']}")
        if 2 * path["equal"] <= path["n"]:
            raise Refused(f"{title(key)} has no exact figure: of {path['n']} counts only {path['equal']} are equal")
        counted[key] = path["count"]
    return compilers.pop(), counted


def count():
    todo = configs()
    with concurrent.futures.ThreadPoolExecutor(len(todo)) as pool:
        return figures_of(list(pool.map(boot, todo)))


def lacks_program(counted):
    return not any(name.startswith(OF_PROGRAM) for name, _ in counted)


def read():
    try:
        with open(FILE, encoding="utf-8") as f:
            return parse(f.read())
    except FileNotFoundError:
        return [], {}


# ---- Judging --------------------------------------------------------------------------------------------------------

def judge(budgets, compiler, counted):
    """(name, what is wrong, what is worth saying, why skipped) of each path that is counted or has a line. A new policy
    needs no second file, so the paths of a policy without any line are skipped."""
    policies = {"-", *(policy for _, policy in budgets)}
    for key in sorted(counted.keys() | budgets.keys()):
        had, now = budgets.get(key, Line()).figures.get(compiler), counted.get(key)
        wrong = said = skip = ""
        if now is None and key[0].startswith(OF_PROGRAM) and lacks_program(counted):
            skip = f"{machine.LACKS}{PACKAGE}: make deps"
        elif now is None:
            wrong = f"{FILE} has a line for it, but this kernel has no such path: {ADVICE}"
        elif had is None and key[1] not in policies:
            said, skip = f"{now} instructions with {compiler}: {ADVICE} would write it down", f"{matrix.NO_BUDGETS_OF}{key[1]}"
        elif had is None:
            wrong = f"{now} instructions with {compiler}, and {FILE} does not say how many it may take: {ADVICE}"
        elif now > had:
            wrong = f"{now} instructions where {compiler} took {had}; if that is worth it: {ADVICE} REASON=\"why\""
        elif now < had:
            said = f"{now} instructions where {compiler} took {had}: {ADVICE} would lower the budget"
        yield title(key), wrong, said, skip


def print_ktap(verdicts):
    """(name, what is wrong, what is worth saying, why skipped); the exit status."""
    failed = 0
    print(f"KTAP version 1\n1..{len(verdicts)}")
    for number, (name, wrong, said, skip) in enumerate(verdicts, 1):
        for text in wrong.splitlines():
            print(f"# ERROR: {text}")
        if said:
            print(f"# {name}: {said}")
        failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {number} budgets.{name}{f' # SKIP {skip}' if skip else ''}")
    return 1 if failed else 0


def check():
    try:
        compilers, budgets = read()
        compiler, counted = count()
    except (Refused, machine.Unavailable, results.Broken) as error:
        return print_ktap([("counted", str(error), "", "")])
    if compiler not in compilers:
        return print_ktap([("all", "", f"{ADVICE} would add a column to {FILE}", f"{matrix.NO_BUDGETS}{compiler}")])
    return print_ktap(list(judge(budgets, compiler, counted)))


# ---- Writing --------------------------------------------------------------------------------------------------------

def update(budgets, compiler, counted, reason):
    """The new budgets by `counted`, and what changed, as lines. A raise without a reason is refused."""
    changes, refused, new = [], [], {}
    for key in sorted(budgets.keys() - counted.keys()):
        if key[0].startswith(OF_PROGRAM) and lacks_program(counted):
            new[key] = budgets[key]  # this machine cannot build the program
        else:
            changes.append(f"{title(key)}: no path any more")
    for key, now in sorted(counted.items()):
        old = budgets.get(key, Line())
        new[key] = line = Line(old.figures | {compiler: now}, dict(old.reasons))
        had = old.figures.get(compiler)
        if had == now:
            continue
        step = f"{compiler} {had} -> {now}" if had is not None else f"{compiler} {now}, new"
        changes.append(f"{title(key)}: {step}")
        if had is not None and now > had:
            refused += [] if reason else [changes[-1]]
            line.reasons[compiler] = f"{step}: {reason}"
        elif (why := line.reasons.get(compiler)) and now <= int(REASON.fullmatch(why)[2]):
            del line.reasons[compiler]  # the figure is back to what it was before the raise
    if refused:
        raise Refused("\n".join([f"these grew, so nothing was written; if that is worth it: {ADVICE} REASON=\"why\"",
                                 *(f"  {line}" for line in refused)]))
    return new, changes


def write():
    try:
        _, budgets = read()
        budgets, changes = update(budgets, *count(), " ".join(os.environ.get("REASON", "").replace("|", "/").split()))
    except (Refused, machine.Unavailable, results.Broken) as error:
        print(f"budgets: {error}")
        return 1
    with open(f"{FILE}.new", "w", encoding="utf-8") as f:
        f.write(render(budgets))
    os.replace(f"{FILE}.new", FILE)
    for change in changes or [f"{len(budgets)} paths, none has changed"]:
        print(f"budgets: {change}")
    return 0


COMMANDS = {"check": check, "write": write}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        sys.exit("usage: budgets.py check|write")
    sys.exit(COMMANDS[sys.argv[1]]())
