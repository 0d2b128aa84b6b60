# SPDX-License-Identifier: MIT
"""Tests of budgets.py: figures with known answers, written to a file of its own."""
import contextlib
import io
import json
import os
import sys
import tempfile
import unittest.mock

import budgets
import ktap
import machine
import matrix
import results
from selftests import selftest

suite = selftest.Suite("budgets_tool")
WALK, UNMAP, QUEUE = ("walk", "rcu"), ("unmap", "rcu"), ("call_rcu", "-")
COUNTED = {WALK: 95, UNMAP: 1030, QUEUE: 94}


def run(command, text, compiler, counted, reason=""):
    """Run the command on a file with that text (None: no file): its status, what it printed, the file afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = f"{folder}/budgets.txt", io.StringIO()
        if text is not None:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        with (unittest.mock.patch.object(budgets, "FILE", path),
              unittest.mock.patch.object(budgets, "count", lambda: (compiler, dict(counted))),
              unittest.mock.patch.dict(os.environ, {"REASON": reason}), contextlib.redirect_stdout(out)):
            status = budgets.COMMANDS[command]()
        after = None
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                after = f.read()
        return status, out.getvalue(), after


def written(text=None, compiler="gcc-12", counted=COUNTED, reason=""):
    """The file that make budgets leaves, which must succeed."""
    status, said, after = run("write", text, compiler, counted, reason)
    if status:
        raise ValueError(f"refused: {said}")
    return after


def report(text, compiler, counted):
    status, said, _ = run("check", text, compiler, counted)
    return status, ktap.parse(said.splitlines())


def differs(what, found, wanted):
    return [] if found == wanted else [f"{what}: {found!r} instead of {wanted!r}"]


def rows(text):
    """The rows without their alignment."""
    return [" ".join(row.split()) for row in text.splitlines() if not row.startswith("#")]


@suite.test
def the_file_is_a_table_in_order():
    both = written(written(), "gcc-9", COUNTED | {WALK: 99})
    return differs("rows", rows(both), ["path policy gcc-9 gcc-12", "call_rcu - 94 94", "unmap rcu 1030 1030",
                                        "walk rcu 99 95"]) + differs("again", written(both), both)


@suite.test
def what_grows_at_all_fails_and_nothing_else():
    text, wrong = written(), []
    for key in COUNTED:
        status, found = report(text, "gcc-12", COUNTED | {key: COUNTED[key] + 1})
        wrong += differs("status", status, 1) + differs("failed", [n for n, _ in found.failed],
                                                        [f"budgets.{budgets.title(key)}"])
        wrong += differs("passed", len(found.passed), 2) + differs("errors", found.errors, [])
    status, found = report(text, "gcc-12", COUNTED)
    return wrong + differs("unchanged", (status, len(found.passed)), (0, 3))


@suite.test
def what_shrinks_passes_and_is_said():
    status, said, _ = run("check", written(), "gcc-12", COUNTED | {WALK: 90})
    return differs("status", status, 0) + ([] if "# walk.rcu: 90 instructions where gcc-12 took 95" in said else [said])


@suite.test
def a_path_without_a_line_and_a_line_without_a_path_fail():
    more, less = COUNTED | {("protect", "rcu"): 1}, {WALK: 95, UNMAP: 1030}
    other_column = written(written(), "gcc-9", more)
    cases = [(written(), more, "protect.rcu"), (written(), less, "call_rcu"), (other_column, more, "protect.rcu")]
    wrong = []
    for text, counted, name in cases:
        status, found = report(text, "gcc-12", counted)
        wrong += differs("status", status, 1) + differs("failed", [n for n, _ in found.failed], [f"budgets.{name}"])
        wrong += [] if "make budgets" in " ".join(found.failed[0][1]) else [f"no advice: {found.failed}"]
    return wrong


@suite.test
def a_policy_without_any_line_is_a_skip_with_its_name():
    """But not where another compiler has figures of it."""
    more, reason = COUNTED | {("walk", "new"): 1}, "no budgets for this policy: new"
    status, found = report(written(), "gcc-12", more)
    wrong = differs("report", (status, found.failed, found.skipped), (0, [], [("budgets.walk.new", reason)]))
    status, found = report(written(written(), "gcc-9", more), "gcc-12", more)
    wrong += differs("in another column", (status, [n for n, _ in found.failed]), (1, ["budgets.walk.new"]))
    expected = matrix.skip_is_expected(matrix.Run("budgets", 1, command=("x",)), reason)
    return wrong + ([] if expected else ["make test does not expect the skip"])


@suite.test
def an_unknown_compiler_is_a_skip_with_its_name():
    """Also where there is no file at all."""
    wrong = []
    for text in written(), None:
        status, found = report(text, "clang-99", COUNTED)
        wrong += differs("report", (status, found.passed, found.failed, found.errors), (0, [], [], []))
        wrong += differs("skipped", found.skipped, [("budgets.all", "no budgets for this compiler: clang-99")])
    expected = matrix.skip_is_expected(matrix.Run("budgets", 1, command=("x",)), found.skipped[0][1])
    return wrong + ([] if expected else ["make test does not expect the skip"])


@suite.test
def lowers_freely():
    after = written(written(), counted=COUNTED | {UNMAP: 1000})
    return differs("rows", rows(after)[2], "unmap rcu 1000")


@suite.test
def raises_only_with_a_reason_which_is_kept():
    before, grown = written(), COUNTED | {WALK: 97, QUEUE: 90}
    status, said, after = run("write", before, "gcc-12", grown)
    wrong = differs("without one", (status, after), (1, before))
    wrong += [] if "walk.rcu: gcc-12 95 -> 97" in said and "call_rcu" not in said else [f"said: {said}"]
    raised = written(before, counted=grown, reason="checks  the\nsequence | twice")
    row = "walk rcu 97 gcc-12 95 -> 97: checks the sequence / twice"
    wrong += differs("raised", rows(raised)[3], row) + differs("the other", rows(raised)[1], "call_rcu - 90")
    return wrong + differs("kept", rows(written(raised, counted=grown))[3], row)


@suite.test
def a_reason_goes_when_its_raise_is_won_back():
    raised = written(written(), counted=COUNTED | {WALK: 97}, reason="why")
    partly, wholly = (written(raised, counted=COUNTED | {WALK: count}) for count in (96, 95))
    return (differs("partly", rows(partly)[3], "walk rcu 96 gcc-12 95 -> 97: why") +
            differs("wholly", rows(wholly)[3], "walk rcu 95"))


@suite.test
def each_compiler_has_its_own_reason():
    text = written(written(), "gcc-9")
    for compiler in "gcc-12", "gcc-9":
        text = written(text, compiler, COUNTED | {WALK: 97}, f"for {compiler}")
    want = "walk rcu 97 97 gcc-9 95 -> 97: for gcc-9 | gcc-12 95 -> 97: for gcc-12"
    return differs("row", rows(text)[3], want) + differs("again", written(text, counted=COUNTED | {WALK: 97}), text)


@suite.test
def a_path_that_is_gone_goes():
    return differs("rows", rows(written(written(), counted={WALK: 95})), ["path policy gcc-12", "walk rcu 95"])


@suite.test
def a_broken_file_is_named():
    good, wrong = written(), []
    for old, new in (("path ", "paths "), ("1030", "10 30"), ("1030", "many"), ("  1030", ""), ("unmap", "walk"),
                     ("1030", "1030 because"), ("gcc-12", "policy")):
        status, found = report(good.replace(old, new), "gcc-12", COUNTED)
        if status != 1 or "budgets.txt:" not in " ".join(found.failed[0][1]):
            wrong.append(f"{old} as {new}: {found}")
        if run("write", good.replace(old, new), "gcc-12", COUNTED)[0] == 0:
            wrong.append(f"{old} as {new}: written over")
    return wrong


PATH = {"name": "walk", "table_free": "rcu", "unit": "instructions", "count": 95, "n": 60, "equal": 60}


def boots(*paths, compilers=("gcc-12", "gcc-12")):
    runs = [results.Run("x", {"compiler": compiler} if compiler else {}) for compiler in compilers]
    for item in paths:
        runs[0].add("PATH", item)
    return runs


@suite.test
def a_boot_that_fails_counts_nothing():
    """However much it has printed before; nor does a boot whose lines cannot be read. Neither ends in a traceback."""
    said = ['HEADER {"compiler":"gcc-12"}', f"PATH {json.dumps(PATH)}"]
    wrong, text = [], written(counted={WALK: 95})
    for ok, lines, part in ((0, said, ""), (3, said, "the boot with SMP="), (0, ["PATH {", *said], "broken PATH line")):
        result = machine.Result(ok, "it has panicked", lines, 1.0)
        with (unittest.mock.patch.object(machine, "run", return_value=result),
              unittest.mock.patch.object(budgets, "read", return_value=budgets.parse(text)),
              contextlib.redirect_stdout(io.StringIO()) as out):
            status = budgets.check()
        report = ktap.parse(out.getvalue().splitlines())
        wrong += differs(f"{part or 'a good one'}, status", status, int(bool(part)))
        wrong += differs(part, [name for name, _ in report.failed], ["budgets.counted"] * bool(part))
        wrong += [] if part in out.getvalue() else [out.getvalue()]
    return wrong


@suite.test
def what_was_not_counted_exactly_is_no_figure():
    wrong = differs("good", budgets.figures_of(boots(PATH)), ("gcc-12", {WALK: 95}))
    for runs in (boots(PATH | {"equal": 30}), boots(PATH | {"unit": "cycles"}),
                 boots(PATH, compilers=("gcc-12", "gcc-11")), boots(PATH, compilers=(None, None))):
        try:
            wrong.append(f"taken: {budgets.figures_of(runs)}")
        except budgets.Refused:
            pass
    return wrong


@suite.test
def without_the_program_its_lines_stay():
    """Where it cannot be built. Where it has run and lacks a row, that line goes."""
    null, fault = ("user_null", "-"), ("user_fault", "-")
    text = written(counted=COUNTED | {null: 163, fault: 1150})
    status, found = report(text, "gcc-12", COUNTED)
    wrong = differs("status", status, 0) + differs("failed", found.failed, [])
    wrong += differs("skipped", sorted(name for name, _ in found.skipped), ["budgets.user_fault", "budgets.user_null"])
    wrong += differs("written", written(text, counted=COUNTED), text)
    wrong += differs("one is left", report(text, "gcc-12", COUNTED | {null: 163})[0], 1)
    return wrong + differs("one is written", "user_fault" in written(text, counted=COUNTED | {null: 163}), False)


@suite.test
def the_programs_boot_names_no_compiler():
    programs = results.Run("x", {"build": "release"})
    programs.add("PATH", PATH | {"name": "user_null", "table_free": "-"})
    want = "gcc-12", {WALK: 95, ("user_null", "-"): 95}
    return differs("figures", budgets.figures_of([*boots(PATH), programs]), want)


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
