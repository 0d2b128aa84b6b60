# SPDX-License-Identifier: MIT
"""Tests of how programs are passed, compared and judged (tools/program.py, tools/programs.py, make run PROGRAM=). Nothing
boots."""
import sys
import tempfile
import unittest.mock

import machine
import needs
import program
import programs
import qemu
import run
from selftests import selftest

suite = selftest.Suite("programs_tool")
patch = unittest.mock.patch.object
HERE = __file__  # some file


def result(*lines, status=0):
    return machine.Result(status, machine.ended_with(status), ["quiesce 0.1: build=check", *lines, f"quiesce: exit {status}"], 1.0)


def ended(variables, *results):
    """What make run does with these variables, if boots end so: (exit status, lines, command lines of the boots)"""
    left, cmdlines = list(results), []

    def boot(config, **_):
        cmdlines.append(config.cmdline)
        return left.pop(0)

    with patch(machine, "run", boot), patch(run.os, "environ", variables), patch(sys, "argv", ["run.py"]):
        status, lines = selftest.said_by(run.main)
    return status, lines, cmdlines


@suite.test
def the_programs_status_is_the_runs():
    cases = ((0, result("program: x exit 0")), (7, result("program: x exit 7", status=1)), (255, result("program: x exit 255", status=1)),
             (139, result("program: a b signal 11 (SIGSEGV)", status=1)), (1, result("program: x exit 0", status=1)),
             (1, result(status=3)), (1, result("said by a program: program: x exit 0", status=2)),
             (5, result("program: x exit 0", "program: x exit 5", status=1)))
    found = [(want, ended({"PROGRAM": HERE}, each)[0]) for want, each in cases]
    return [f"{got}, not {want}" for want, got in found if want != got]


@suite.test
def what_is_no_file_is_refused_before_anything_boots():
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for variables, says in (({"PROGRAM": f"{folder}/x"}, "does not exist"), ({"PROGRAM": folder}, "is no file"),
                                ({"PROGRAM": HERE, "EMULATOR": "bochs"}, "Bochs"), ({"PROGRAM": HERE, "ACCEL": "xen-domu"}, "Xen"),
                                ({"PROGRAM": HERE, "ARGS": "x" * 5000}, "4095"), ({"ARGS": "x", "CMDLINE": "mode=test"}, "PROGRAM=")):
            status, lines, cmdlines = ended(variables)
            wrong += selftest.lacking(lines, says) + ([] if status == 1 and not cmdlines else [f"{variables}: {status}, {cmdlines}"])
    return wrong


@suite.test
def it_boots_in_the_mode_that_is_named():
    wrong = []
    for given, want in (("", "mode=run"), ("table_free=keep", "mode=run table_free=keep"), ("seed=1 mode=test", "seed=1 mode=test")):
        _, _, cmdlines = ended({"PROGRAM": HERE, "CMDLINE": given}, result("program: x exit 0"))
        wrong += [] if cmdlines == [want] else [f"{given!r}: {cmdlines}"]
    return wrong


@suite.test
def arguments_pass_whatever_is_in_them():
    """By a file, so that no comma is QEMU's; here, and where ACCEL=nested has its own copies."""
    config = machine.Config(program="/a,b/my program", args="1,2 'x y'")
    with tempfile.TemporaryDirectory() as folder:
        here, there = qemu.fw_cfg(config, folder), {}
        inside = qemu.fw_cfg(config, folder, there)
        with open(f"{folder}/args", encoding="utf-8") as f:
            line = f.read()
    wrong = [] if line == "'my program' 1,2 'x y'" else [line]
    wrong += selftest.lacking(here, "name=opt/quiesce/program,file=/a,,b/my program", f"name=opt/quiesce/args,file={folder}/args")
    wrong += selftest.lacking(inside, "name=opt/quiesce/program,file=/program", "name=opt/quiesce/args,file=/args")
    return wrong + ([] if there == {"/program": config.program, "/args": f"{folder}/args"} else [f"{there}"])


@suite.test
def what_means_something_on_the_serial_line_is_quoted():
    got = program.quoted(b"a\x04\r\x16\n\xff")
    return [] if got == b"a\x16\x04\x16\r\x16\x16\n\xff" else [f"{got}"]


ROW = programs.Row("musl", "hello", "a")


def judged(linux, *lines, status=0):
    """What is wrong, if Linux's (status, lines) and Quiesce's boot are these."""
    with patch(programs, "demand"), patch(machine, "run", lambda *_: result(*lines, status=status)):
        return programs.compare(ROW, linux=lambda _: linux)


@suite.test
def what_differs_is_noticed():
    good = (0, ["one", "two"])
    cases = {
        "nothing": (False, judged(good, "one", "# INFO: x", "two", "program: hello exit 0")),
        "a line": (True, judged(good, "one", "tow", "program: hello exit 0")),
        "a line less": (True, judged(good, "one", "program: hello exit 0")),
        "a line more": (True, judged(good, "one", "two", "three", "program: hello exit 0")),
        "the order": (True, judged(good, "two", "one", "program: hello exit 0")),
        "the status": (True, judged(good, "one", "two", "program: hello exit 1", status=1)),
        "the kernel's objection": (True, judged(good, "one", "two", "program: hello exit 0", status=1)),
        "a panic": (True, judged(good, "one", "two", status=3)),
        "the same signal": (False, judged((139, ["one"]), "one", "program: hello signal 11 (SIGSEGV)", status=1)),
        "a signal for an exit": (True, judged((11, ["one"]), "one", "program: hello signal 11 (SIGSEGV)", status=1)),
    }
    return [f"{name}: {wrong}" for name, (expected, wrong) in cases.items() if bool(wrong) != expected]


@suite.test
def lines_of_the_table_become_tests():
    found = list(programs.rows("# no\n\nglibc pie  hello 'a b' c\nmusl malloc\npairs several \"x y\"\n"))
    want = [programs.Row("glibc", "hello", "'a b' c"), programs.Row("pie", "hello", "'a b' c"), programs.Row("musl", "malloc", ""),
            programs.Row("pairs", "several", '"x y"')]
    names = [row.test for row in found]
    wrong = [] if found == want else [f"{found}"]
    wrong += [] if names[:3] == ["programs.glibc.hello.a_b_c", "programs.pie.hello.a_b_c", "programs.musl.malloc"] else [f"{names}"]
    tests = [row.test for row in programs.read_rows()]
    return wrong + [f"twice: {name}" for name in sorted({name for name in tests if tests.count(name) > 1})]


@suite.test
def a_program_without_a_row_is_noticed():
    rows = programs.read_rows()
    return programs.each_program_has_a_row(rows) + (
        [] if programs.each_program_has_a_row([row for row in rows if row.name != "vm"]) else ["vm without a row"])


@suite.test
def a_program_that_was_not_built_is_a_skip_only_without_its_library():
    wrong, row = [], programs.Row("musl", "no_such_program", "")
    for missing, skips in ((True, True), (False, False)):
        with patch(needs, "is_missing", lambda package: missing and package == "musl-tools"):
            problems, skip = programs.outcome(lambda: programs.compare(row))
        right = "musl-tools" in skip and not problems if skips else not skip and selftest.lacking(problems, "make user") == []
        wrong += [] if right else [f"missing {missing}: {problems}, {skip!r}"]
    return wrong


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
