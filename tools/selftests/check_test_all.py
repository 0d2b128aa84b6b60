# SPDX-License-Identifier: MIT
"""Tests of test_all.py: it does not repeat what has passed with the same tree, and repeats all else; a part that fails
does not end the others. A suite of check_tools.py."""
import os
import subprocess
import sys
import tempfile
import unittest.mock

import test_all
from selftests import selftest
from selftests.selftest import lacking, said_by

suite = selftest.Suite("test_all")
patch = unittest.mock.patch.object


class Parts:
    """Parts that are shell commands, in a repository of its own; `run()` as `make test-all`."""

    def __init__(self, folder):
        self.folder, self.log = folder, f"{folder}/ran"
        for command in ("init -q", "config user.email a@b", "config user.name a", "commit -q --allow-empty -m 1"):
            subprocess.run(["git", *command.split()], cwd=folder, check=True)
        self.parts = {"a": "echo '3 passed, 0 failed'", "b": "echo '1 passed, 1 failed'; false", "c": "echo fine"}

    def execute(self, part, on_line):
        with open(self.log, "a", encoding="ascii") as f:
            f.write(part.name)
        done = subprocess.run(self.parts[part.name], shell=True, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines()

    def run(self):
        """(exit status, the last line, the names of the parts that were run)"""
        real = test_all.git
        open(self.log, "w", encoding="ascii").close()
        parts = [test_all.Part(name, 1, ()) for name in self.parts]
        with patch(test_all, "PARTS", parts), \
                patch(test_all, "git", lambda *arguments: real("-C", self.folder, *arguments)), \
                patch(test_all, "FOLDER", f"{self.folder}/.git"), \
                patch(test_all, "STATE", f"{self.folder}/.git/state"), \
                patch(test_all, "execute", self.execute), patch(sys, "argv", ["test_all"]), \
                patch(test_all, "say", print), patch(test_all, "Progress", unittest.mock.Mock()):
            status, lines = said_by(test_all.main)
        with open(self.log, encoding="ascii") as f:
            return status, lines[-1], f.read()


def in_parts(function):
    with tempfile.TemporaryDirectory() as folder:
        return [f"{what}: {got}, not {want}" for what, got, want in function(Parts(folder)) if got != want]


@suite.test
def what_has_passed_is_taken_over():
    def steps(parts):
        os.makedirs(f"{parts.folder}/build")
        with open(f"{parts.folder}/.gitignore", "w", encoding="ascii") as f:
            f.write("build\nran\n")
        yield "a failure ends nothing", parts.run(), (1, "5 passed, 1 failed", "abc")
        yield "only what failed again", parts.run(), (1, "5 passed, 1 failed", "b")
        parts.parts["b"] = "echo '2 passed, 0 failed'"
        yield "mended", parts.run(), (0, "6 passed, 0 failed", "b")
        yield "nothing left", parts.run(), (0, "6 passed, 0 failed", "")
    return in_parts(steps)


def change(parts, text):
    with open(f"{parts.folder}/file", "w", encoding="ascii") as f:
        f.write(text)


@suite.test
def another_tree_takes_over_nothing():
    def steps(parts):
        with open(f"{parts.folder}/.git/info/exclude", "w", encoding="ascii") as f:
            f.write("ran\n")
        parts.parts["b"] = "true"
        yield "clean", parts.run()[2], "abc"
        change(parts, "1")
        yield "an untracked file", parts.run()[2], "abc"
        change(parts, "2")
        yield "with other contents", parts.run()[2], "abc"
        yield "the same", parts.run()[2], ""
        for command in ("add file", "commit -q -m 2"):
            subprocess.run(["git", *command.split()], cwd=parts.folder, check=True)
        yield "another commit", parts.run()[2], "abc"
        change(parts, "3")
        yield "a changed file", parts.run()[2], "abc"
        os.rename(f"{parts.folder}/.git/HEAD", f"{parts.folder}/.git/HEAD-")
        yield "no commit", parts.run()[2] + parts.run()[2], "abcabc"
    return in_parts(steps)


@suite.test
def what_git_cannot_read_takes_over_nothing():
    """With an untracked dangling link, or a repository in the tree, the contents of all new files are unknown. And a
    change counts as one however git is configured to show changes."""
    def steps(parts):
        with open(f"{parts.folder}/.git/info/exclude", "w", encoding="ascii") as f:
            f.write("ran\n")
        parts.parts["b"] = "true"
        yield "clean", parts.run()[2] + parts.run()[2], "abc"
        os.symlink("nowhere", f"{parts.folder}/link")
        yield "a link to nowhere", parts.run()[2] + parts.run()[2], "abcabc"
        os.unlink(f"{parts.folder}/link")
        subprocess.run(["git", "init", "-q", "inner"], cwd=parts.folder, check=True)
        yield "a repository in it", parts.run()[2] + parts.run()[2], "abcabc"
        os.rename(f"{parts.folder}/inner", f"{parts.folder}/.git/inner")
        change(parts, "1")
        for command in ("add file", "commit -q -m 2", "config diff.external true"):
            subprocess.run(["git", *command.split()], cwd=parts.folder, check=True)
        yield "another commit", parts.run()[2], "abc"
        change(parts, "2")
        yield "seen another way", parts.run()[2], "abc"
    return in_parts(steps)


@suite.test
def the_lines_that_say_what_failed_are_shown():
    """Where there are none, the last ones."""
    bad = ["not ok 2 b", "# not ok 3 c", "  FAILED  x: 1 failed", "rcu + pv  violated  <-- WRONG", "8 CPUs: it has hung"]
    good = ["ok 1 a", "4 CPUs: ok", "rcu + pv  clean"]
    wrong = [] if test_all.complaints([*good, *bad, *good]) == bad else [f"{test_all.complaints([*good, *bad, *good])}"]
    many = [f"line {i}" for i in range(100)]
    return wrong + ([] if test_all.complaints(many) == many[-test_all.MOST_LINES:] else ["not the end"])


@suite.test
def a_tree_that_changes_meanwhile_is_not_kept():
    def steps(parts):
        parts.parts = {"a": f"date +%N > {parts.folder}/file", "b": "true"}
        parts.run()
        yield "again", parts.run()[2], "ab"
    return in_parts(steps)


@suite.test
def counts_and_status_both_count():
    cases = {(0, "3 passed, 0 failed"): (3, 0), (1, "3 passed, 0 failed"): (3, 1), (1, "3 passed, 2 failed"): (3, 2),
             (0, "3 passed, 2 failed"): (3, 2), (0, "fine"): (1, 0), (2, "fine"): (0, 1)}
    return [f"{case}: {got}" for case, want in cases.items() if (got := test_all.counts(case[0], [case[1]])) != want]


@suite.test
def a_part_is_its_make_target():
    """It gets no variables from the make that runs test-all; a failure shows the lines that report it."""
    seen = unittest.mock.Mock(side_effect=OSError("no make"))
    with tempfile.TemporaryDirectory() as folder, patch(test_all, "FOLDER", folder), \
            patch(test_all.subprocess, "Popen", seen), \
            unittest.mock.patch.dict(os.environ, {"MAKEFLAGS": "-n", "SECONDS": "1", "KEPT": "1"}):
        result = test_all.attempt(test_all.Part("x", 1, ("x", "Y=1")), progress := unittest.mock.Mock())
    (command,), options = seen.call_args
    said = progress.end.call_args[0][1]
    env = options["env"]
    right = command[0] == "make" and command[-2:] == ["x", "Y=1"]
    clean = "KEPT" in env and not {"MAKEFLAGS", "SECONDS"} & set(env)
    wrong = [] if right and clean and result == (0, 1) else [f"{command}, {sorted(env)}: {result}"]
    return wrong + lacking(said, "OSError: no make", "FAILED")
