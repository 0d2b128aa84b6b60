# SPDX-License-Identifier: MIT
"""Tests of the tools themselves, reported as KTAP. A test is a function that returns what is wrong, as lines: none is
right. It registers itself by `@suite.test`."""
import subprocess


class Suite:
    def __init__(self, name):
        self.name, self.tests = name, []

    def test(self, function):
        self.tests.append(function)
        return function


def main(*suites):
    """Run them all; the exit status."""
    tests = [(suite.name, function) for suite in suites for function in suite.tests]
    failed = 0
    print(f"KTAP version 1\n1..{len(tests)}")
    for number, (suite, function) in enumerate(tests, 1):
        try:
            problems = function()
        except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            problems = [repr(error)]
        for problem in problems:
            print(f"# ERROR: {problem}")
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {number} {suite}.{function.__name__}")
    return 1 if failed else 0
