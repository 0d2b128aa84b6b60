#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make coverage: which lines and branches of mm/, the detectors and kernel/rcu/ the runs of the coverage build have
reached, per file, from gcov's counts. Fails if a group has reached too few lines. Argument: the build directory;
--missing names the lines."""
import collections
import fnmatch
import json
import os
import re
import subprocess
import sys

WANTED = {
    "mm": "mm/*",
    "the detectors": "lab/oracle.* lab/swmmu* lab/quarantine.*",
    "kernel/rcu": "kernel/rcu/*",
}
LEAST = 95.0                       # percent of lines
# Files that cannot run on the host. (Nothing else is left out: the totals count every line of the other files.)
LEFT_OUT = {
    "mm/flush/hyperv.c": "a process has no hypervisor: runs in the configuration nested-hyperv",
    "mm/flush/xen.c": "a process has no hypervisor: runs under ACCEL=xen and ACCEL=xen-domu",
}


class File:
    def __init__(self):
        self.lines = collections.Counter()
        self.branches = collections.defaultdict(list)  # line: counts; a header's are added up over its users

    def add(self, line):
        number = line["line_number"]
        self.lines[number] += line["count"]
        counts = [branch["count"] for branch in line["branches"]]
        have = self.branches[number]
        if len(counts) > len(have):
            counts, self.branches[number] = have, counts
            have = self.branches[number]
        for i, count in enumerate(counts):
            have[i] += count

    def line_counts(self):
        return sum(1 for n in self.lines.values() if n), len(self.lines)

    def branch_counts(self):
        every = [n for counts in self.branches.values() for n in counts]
        return sum(1 for n in every if n), len(every)

    def missing(self):
        """Lines that were never reached, as ranges."""
        ranges = []
        for number in sorted(self.lines):
            if self.lines[number]:
                continue
            if ranges and not any(ranges[-1][1] < other < number for other in self.lines):
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def breakages(path):
    """(lines of a source's mutant conditions, lines of the statements that they guard). Such a statement breaks the
    code on purpose, and no run of the coverage build is meant to reach it."""
    conditions, found, until = set(), set(), None
    with open(path, encoding="utf-8") as f:
        lines = f.read().splitlines()
    for number, line in enumerate(lines, 1):
        if until is not None:
            found.add(number)
            if until == "" or line.startswith(until):
                until = None
        elif match := re.match(r"(\s+)(?:\} )?(?:else )?if \(MUTANT\(\w+\)", line):
            until = match[1] + "}" if line.split("//")[0].rstrip().endswith("{") else ""
        if re.match(r"\s+(?:\} )?(?:else )?if \(!?MUTANT\(\w+\)", line):
            conditions.add(number)
    return conditions, found


def group_of(path):
    matching = (name for name, patterns in WANTED.items() if any(fnmatch.fnmatch(path, p) for p in patterns.split()))
    return next(matching, None)


def counts(build):
    """{path in the tree: File} of the files that are wanted."""
    data = [os.path.join(folder, name) for folder, _, names in os.walk(build) for name in names
            if name.endswith(".gcda")]
    if not data:
        sys.exit(f"coverage: no counts in {build}: run the coverage build first")
    files = collections.defaultdict(File)
    output = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", *sorted(data)],
                            check=True, capture_output=True, text=True).stdout
    for text in output.splitlines():
        for file in json.loads(text)["files"]:
            path = os.path.relpath(file["file"])
            if group_of(path):
                conditions, left_out = breakages(path)
                for line in file["lines"]:
                    if line["line_number"] in conditions:
                        line["branches"] = []
                    if line["line_number"] not in left_out:
                        files[path].add(line)
    return files


def percent(have, of):
    return 100.0 * have / of if of else 100.0


def row(name, lines, branches, note=""):
    print(f"{name:28} {lines[0]:5} of {lines[1]:5} {percent(*lines):6.1f} % {branches[0]:6} of {branches[1]:5} "
          f"{percent(*branches):6.1f} %{note}")


def main():
    show = "--missing" in sys.argv
    files = counts(next((a for a in sys.argv[1:] if not a.startswith("--")), "build/host-coverage"))
    print(f"{'':28} {'lines':>23} {'branches':>24}")
    total = {group: [[0, 0], [0, 0]] for group in WANTED}
    for path, file in sorted(files.items()):
        lines, branches = file.line_counts(), file.branch_counts()
        if path in LEFT_OUT:
            row(path, lines, branches, f"  not counted: {LEFT_OUT[path]}")
            continue
        row(path, lines, branches, f"  never: {file.missing()}" if show and lines[0] < lines[1] else "")
        sums = total[group_of(path)]
        for have, more in zip(sums, (lines, branches)):
            have[0] += more[0]
            have[1] += more[1]
    low = []
    for group, (lines, branches) in total.items():
        row(f"{group}, all", lines, branches)
        if percent(*lines) < LEAST or not lines[1]:
            low.append(group)
    if low:
        sys.exit(f"coverage: below {LEAST:.0f} % of lines: {', '.join(low)}")


if __name__ == "__main__":
    main()
