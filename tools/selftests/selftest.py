# SPDX-License-Identifier: MIT
"""Tests of the tools themselves, reported as KTAP. A test is a function that returns what is wrong, as lines; without
any it passes. machine.Lacking skips it. `@suite.test` registers it."""
import contextlib
import io

import machine
import mishap


class Suite:
    def __init__(self, name):
        self.name, self.tests = name, []

    def test(self, function):
        self.tests.append(function)
        return function


def said_by(function, *arguments):
    """(what it returns or exits with, lines that it prints)"""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            status = function(*arguments)
        except SystemExit as error:
            status = error.code
    return status, text.getvalue().splitlines()


def lacking(lines, *parts):
    return [f"no \"{part}\" in {lines}" for part in parts if not any(part in line for line in lines)]


def main(*suites):
    """Run them all; the exit status."""
    tests = [(suite.name, function) for suite in suites for function in suite.tests]
    failed = 0
    print(f"KTAP version 1\n1..{len(tests)}")
    for number, (suite, function) in enumerate(tests, 1):
        skip = ""
        try:
            problems = function()
        except machine.Lacking as error:
            problems, skip = [], f" # SKIP {error}"
        except mishap.ANY as error:
            problems = [mishap.sentence(error), *mishap.details(error)]
        for problem in problems:
            print(f"# ERROR: {problem}")
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {number} {suite}.{function.__name__}{skip}")
    return 1 if failed else 0
