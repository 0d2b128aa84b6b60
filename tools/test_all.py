#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make test-all: what takes too long for `make test`, part by part, each a make target of its own with its log in
build/test-all/. A part that fails does not end the others. build/test-all/state.json records which parts have passed,
with the commit and the uncommitted changes; while these are the same, only the other parts run. Arguments: globs of
parts."""
import dataclasses
import fnmatch
import hashlib
import json
import os
import re
import subprocess
import sys
import time

import mishap
import patience
from progress import Progress, say

FOLDER = "build/test-all"
STATE = f"{FOLDER}/state.json"
SLEEP = 600  # looks at which a part may be asleep, beyond what its own runs may
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed$")
COMPLAINT = re.compile(r"^not ok |^# not ok |\bFAILED\b|<-- WRONG|^\d+ CPUs: (?!ok)")
MOST_LINES = 25
# Variables that `make` passes on to its children. They are removed, so that each part runs as it does by default.
OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "EMULATOR", "SMP", "MEM", "ACCEL", "FIRMWARE",
           "MACHINE", "CPU", "BUILD", "CMDLINE", "PROGRAM", "ARGS", "EXTRA", "TIMEOUT", "RESULTS", "BASE", "SECONDS", "SMP_LIST",
           "MUTANT", "CPUS")


@dataclasses.dataclass
class Part:
    name: str
    seconds: int  # about, on two idle cores
    make: tuple
    light: bool = False


# Each of them keeps two cores busy by itself, so they come one after another.
PARTS = [
    Part("hosted", 400, ("hosted",)),
    Part("mutants", 540, ("mutants",)),
    Part("models", 200, ("models",)),
    Part("torture", 480, ("torture-all", "SECONDS=12")),
    Part("scale", 200, ("scale",)),
    Part("report", 260, ("report", "SECONDS=200")),
]


def git(*arguments):
    """What it says, None where it fails."""
    done = subprocess.run(["git", *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def tree():
    """(the key of this tree, its name for a person): the commit, and a checksum of all that differs from it. The key is
    "" if git cannot read all of that; then no earlier result is used. (git does not read a new file that is a dangling
    link or a repository, and then gives no checksums of the other new files either.)"""
    commit, new = git("rev-parse", "HEAD"), git("ls-files", "-z", "--others", "--exclude-standard")
    changed = git("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv")
    names = sorted(filter(None, (new or b"").split(b"\0")))
    contents = git("hash-object", "--", *names) if names else b""
    if not commit or None in (new, changed, contents):
        return "", "a tree that git cannot read whole"
    commit, changes = commit.decode().strip(), changed + b"\0".join(names) + contents
    if not changes:
        return commit, commit[:12]
    return f"{commit}+{hashlib.sha256(changes).hexdigest()}", f"{commit[:12]} with changes"


def load(key):
    """{part: how many tests have passed}, of the parts that have passed with this tree."""
    try:
        with open(STATE, encoding="utf-8") as f:
            state = json.load(f)
        return state["passed"] if key and state["tree"] == key else {}
    except (OSError, ValueError, KeyError):
        return {}


def save(key, passed):
    with open(f"{STATE}.new", "w", encoding="utf-8") as f:
        json.dump({"tree": key, "passed": passed}, f, indent=1)
    os.replace(f"{STATE}.new", STATE)


def execute(part, on_line):
    """(exit status, lines)"""
    env = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    lines = []
    process = subprocess.Popen(["make", "--no-print-directory", *part.make], stdin=subprocess.DEVNULL, env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    try:
        with open(f"{FOLDER}/{part.name}.log", "w", encoding="utf-8", buffering=1) as log, \
                patience.Watch(process, budget=float("inf"), sleep=SLEEP) as watch:
            for line in process.stdout:
                log.write(line)
                lines.append(line.rstrip("\n"))
                on_line(lines[-1])
            status = process.wait()
    finally:
        if process.poll() is None:
            patience.kill_tree(process.pid)
            process.wait()
    return status, lines + ([f"FAILED: {watch.why}"] if watch.why else [])


def counts(status, lines):
    """(passed, failed), from its last line of that kind; a part without such a line is one test. An exit status other
    than 0 is at least one failure."""
    match = next((match for line in reversed(lines) if (match := CLOSING.match(line))), None)
    passed, failed = (int(match[1]), int(match[2])) if match else (int(status == 0), 0)
    return passed, failed or int(status != 0)


def complaints(lines):
    found = [line for line in lines if COMPLAINT.search(line)]
    return (found or lines)[-MOST_LINES:]


def attempt(part, progress):
    """Run it; (passed, failed)"""
    start = time.monotonic()
    progress.begin(part)
    try:
        status, lines = execute(part, progress.line)
    except mishap.ANY as error:
        status, lines = 1, [mishap.sentence(error), *mishap.details(error)]
    passed, failed = counts(status, lines)
    said = [f"        | {line}" for line in complaints(lines)] if failed else []
    progress.end(part, said + [f"  {'FAILED' if failed else 'ok':6}  {part.name}: {passed} passed, {failed} failed, "
                               f"{time.monotonic() - start:.0f} s ({FOLDER}/{part.name}.log)"])
    return passed, failed


def choose(patterns):
    return [part for part in PARTS if any(fnmatch.fnmatch(part.name, p) for p in patterns)]


def run(parts, key):
    """Run all parts that have not passed before; {part: (passed, failed)} of all parts"""
    before = load(key)
    results = {part.name: (before[part.name], 0) for part in parts if part.name in before}
    for name, (passed, _) in results.items():
        say(f"  before  {name}: {passed} passed, with the same tree ({FOLDER}/{name}.log)")
    left = [part for part in parts if part.name not in results]
    progress = Progress(left)
    for part in left:
        results[part.name] = passed, failed = attempt(part, progress)
        if not failed and tree()[0] == key:  # nobody has changed it meanwhile
            before[part.name] = passed
            save(key, before)
    return results


def main():
    parts = choose(sys.argv[1:] or ["*"])
    if not parts:
        say(f"test-all: PARTS= matches none; there are: {', '.join(part.name for part in PARTS)}")
        return 1
    os.makedirs(FOLDER, exist_ok=True)
    key, name = tree()
    start = time.monotonic()
    results = run(parts, key)
    minutes, seconds = divmod(int(time.monotonic() - start), 60)
    failed = [part for part, (_, wrong) in results.items() if wrong]
    say(f"\n{len(parts)} parts of {name} in {minutes} min {seconds} s"
        + (f"; failed: {', '.join(failed)}" if failed else ""))
    say(f"{sum(ok for ok, _ in results.values())} passed, {sum(wrong for _, wrong in results.values())} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("\ntest-all: interrupted; the same command continues from here")
        sys.exit(130)
