#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make test: every configuration of matrix.py, one after another, light ones two at a time; counts the tests, names
what was skipped and why, keeps each serial log in build/test/, and ends with "N passed, N failed". Arguments: globs of
configurations' names."""
import collections
import concurrent.futures
import fnmatch
import itertools
import os
import re
import subprocess
import sys
import textwrap
import time

import ktap
import machine
import matrix
import mishap
import needs
import patience
from progress import Progress, say

FOLDER = "build/test"
# The host build ends by _exit() with the kernel's status, in which a sanitizer's report does not show.
SANITIZER = re.compile(r"(WARNING|ERROR): \w+Sanitizer|: runtime error: ")


class Outcome:
    def __init__(self, run):
        self.run, self.passed, self.failed, self.skipped, self.seconds = run, 0, [], [], 0.0

    def fail(self, what, details=()):
        self.failed.append((what, list(details)))


def run_command(run, on_line):
    """A command of the host that prints KTAP: (exit status or None, lines, sentence)."""
    process = subprocess.Popen(run.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", start_new_session=True)
    lines = []
    try:
        with patience.Watch(process, budget=run.limit() * os.cpu_count()) as watch:
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                on_line(lines[-1])
            status = process.wait()
    finally:
        if process.poll() is None:  # interrupted, or the tool fails
            patience.kill_tree(process.pid)
            process.wait()
    if watch.why:
        return None, lines, f"time-out: {watch.why}"
    return status, lines, "success" if status == 0 else f"{' '.join(run.command)} failed with status {status}"


def around_failure(lines):
    """What a person wants to see of a run that broke off: from the panic on, otherwise the end."""
    start = next((i for i, line in enumerate(lines) if line.startswith("# PANIC")), max(0, len(lines) - 20))
    return lines[max(0, start - 3):start + 30]


GOES_TO_ITS_END = (0, 1)  # the kernel's exit statuses
TOTALS = re.compile(r"# (\d+) tests: (\d+) passed, (\d+) failed, (\d+) skipped$")


FAILED = re.compile(r"# failed: (\S+)$")
NAMED = 20  # failed tests at most that the kernel names


def totals_error(lines, report):
    """How the kernel's totals differ from what was read; None if they agree."""
    said = next((tuple(map(int, match.groups())) for line in reversed(lines) if (match := TOTALS.match(line))), None)
    counts = len(report.passed), len(report.failed), len(report.skipped)
    if said is None:
        return "the kernel says no totals"
    if said != (sum(counts),) + counts:
        return f"the kernel counts {said[1]} passed, {said[2]} failed, {said[3]} skipped"
    named = [match[1] for line in lines if (match := FAILED.match(line))]
    return None if named == [name for name, _ in report.failed][:NAMED] else f"the kernel names as failed: {', '.join(named)}"


def judge_report(outcome, lines, status_ok, sentence):
    """A run that must print KTAP and end well."""
    report = ktap.parse(lines)
    outcome.passed = len(report.passed)
    for name, details in report.failed:
        outcome.fail(name, details)
    for name, reason in report.skipped:
        outcome.skipped.append((name, reason))
        if not matrix.skip_is_expected(outcome.run, reason):
            outcome.fail(f"{name}: unexpected skip: {reason or 'no reason given'}")
    if not status_ok and not report.failed:
        during = f" (during {report.running})" if report.running else ""
        outcome.fail(f"{sentence}{during}", around_failure(lines))
    for error in report.errors:
        outcome.fail(f"report: {error}")


def judge_says(outcome, lines):
    """Are the texts that the run must print there (and the first line, however the run ended)? And what `finds` objects
    to."""
    for part in outcome.run.first_line * ("quiesce 0.",) + outcome.run.says:
        if not any(part in line for line in lines):
            outcome.fail(f"no line says \"{part}\"", [] if outcome.failed else lines[-10:])
    for problem in outcome.run.finds(lines) if outcome.run.finds else ():
        outcome.fail(problem)


def judge_whole(outcome, result):
    """A run that is one test: it must end with the right status and say what it must."""
    if result.exit != outcome.run.status:
        outcome.fail(f"expected exit status {outcome.run.status}, but: {result.sentence}", around_failure(result.lines))
    elif f"quiesce: exit {outcome.run.status}" != result.lines[-1]:
        outcome.fail(f"the last line is not \"quiesce: exit {outcome.run.status}\"", result.lines[-3:])
    judge_says(outcome, result.lines)
    outcome.passed = 0 if outcome.failed else 1


def judge(run, outcome, on_line):
    """Run it; on_line sees each line."""
    if run.config is None:
        status, lines, sentence = run_command(run, on_line)
        judge_report(outcome, lines, status == 0, sentence)
        found = [at for at, line in enumerate(lines) if SANITIZER.search(line)]
        if found:
            outcome.fail(f"{len(found)} reports of a sanitizer", lines[found[0]:found[0] + 30])
        return
    run.config.budget = run.limit()
    result = machine.run(run.config, on_line=on_line)
    if run.ktap:
        judge_report(outcome, result.lines, result.ok, result.sentence)
        if result.exit in GOES_TO_ITS_END and (error := totals_error(result.lines, ktap.parse(result.lines))):
            outcome.fail(error)
        if run.config.accel in matrix.COUNTED_BY and (error := matrix.counts_error(result)):
            outcome.fail(error, result.lines[-10:])
        judge_says(outcome, result.lines)
    else:
        judge_whole(outcome, result)


def attempt(run, outcome, progress):
    if packages := needs.missing_for(run.name):
        raise machine.Lacking(f"{machine.LACKS}{', '.join(packages)}: make deps")
    matrix.prepare(run, f"{FOLDER}/{run.name}")
    if run.config:
        machine.check_available(run.config)
    with open(f"{FOLDER}/{run.name}.log", "w", encoding="utf-8", buffering=1) as log:
        judge(run, outcome, lambda line: (log.write(line + "\n"), progress.line(line)))


def execute(run, progress):
    """Whatever goes wrong is a failure of this configuration, or a skip where the machine lacks something."""
    outcome, start = Outcome(run), time.monotonic()
    progress.begin(run)
    try:
        attempt(run, outcome, progress)
    except machine.Lacking as error:
        outcome.skipped.append((run.name, str(error)))
    except machine.Unavailable as error:
        outcome.fail(str(error))
    except mishap.ANY as error:
        outcome.fail(mishap.sentence(error), mishap.details(error))
    outcome.seconds = time.monotonic() - start
    verdict = "ok" if not outcome.failed else "FAILED"
    lines = [f"  {verdict:6}  {run.name}: {outcome.passed} passed, {len(outcome.failed)} failed, "
             f"{len(outcome.skipped)} skipped, {outcome.seconds:.0f} s"]
    for what, details in outcome.failed:
        lines += [f"        | {line}" for line in details] + [f"        FAILED {run.name}: {what}"]
    progress.end(run, lines)
    return outcome


def execute_all(runs, progress):
    """In their order; light runs that follow one another two at a time, because each mostly keeps only one CPU busy."""
    outcomes = []
    with patience.interruptible(concurrent.futures.ThreadPoolExecutor(2)) as pool:
        for light, some in itertools.groupby(runs, lambda run: run.light):
            outcomes += (pool.map if light else map)(lambda run: execute(run, progress), some)
    return outcomes


def names_by_suite(names):
    """suite: a, b; suite: c"""
    suites = collections.defaultdict(list)
    for name in sorted(names):
        suite, _, test = name.partition(".")
        suites[suite].append(test)
    return "; ".join(f"{suite}: {', '.join(tests)}" if any(tests) else suite for suite, tests in suites.items())


def print_skipped(outcomes):
    """Each reason once, with the tests and the configurations."""
    by_reason = collections.defaultdict(lambda: (set(), set()))
    for outcome in outcomes:
        for name, reason in outcome.skipped:
            by_reason[reason][0].add(name)
            by_reason[reason][1].add(outcome.run.name)
    if by_reason:
        say("\nSkipped:")
    for reason, (names, runs) in sorted(by_reason.items()):
        where = ", ".join(sorted(runs)) if len(runs) <= 3 else f"{len(runs)} configurations"
        say(f"  {reason} (in {where})")
        say(textwrap.fill(names_by_suite(names), 118, initial_indent="    ", subsequent_indent="    "))


def main():
    patterns = sys.argv[1:] or ["*"]
    runs = [run for run in matrix.MATRIX if any(fnmatch.fnmatch(run.name, p) for p in patterns)]
    if not runs:
        say(f"test: no configuration matches; there are: {', '.join(run.name for run in matrix.MATRIX)}")
        return 1
    os.makedirs(FOLDER, exist_ok=True)
    progress = Progress(runs)
    outcomes = execute_all(runs, progress)
    passed = sum(o.passed for o in outcomes)
    failed = sum(len(o.failed) for o in outcomes)
    print_skipped(outcomes)
    failures = [(o.run.name, what) for o in outcomes for what, _ in o.failed]
    if failures:
        say("\nFailed:")
    for name, what in failures:
        say(f"  {name}: {what} (build/test/{name}.log)")
    minutes, seconds = divmod(int(time.monotonic() - progress.start), 60)
    say(f"\n{len(outcomes)} configurations in {minutes} min {seconds} s; serial logs in {FOLDER}/")
    say(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("\ntest: interrupted")
        sys.exit(130)
