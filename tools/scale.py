#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make scale: boot with 2 to 255 CPUs, run the suite `scale` (tests/mm/scale.c) on each, print what it counts side by
side, and fail if anything grows that must not. CPUS="2 8 64" for other numbers."""
import os
import re
import sys
import time

import machine
import mishap
import run

CPUS = (2, 4, 8, 16, 32, 64, 128, 255)
MEM = "1G"
LINE = re.compile(r"# INFO: scale: (\S+) (\d+) / (\d+)$")
BANNER = re.compile(r"quiesce \S+: .* cpus=(\d+) ")

# Name of the kernel's line, column, and the most that it may be with so many CPUs; None: only shown.
QUANTITIES = (
    ("ipis_per_unmap_alone", "IPIs alone", lambda cpus: 0),
    ("ipis_per_unmap_with_one", "with 1", lambda cpus: 1),
    ("ipis_per_unmap_with_all", "with all", lambda cpus: cpus - 1),
    ("reports_per_grace_period_idle", "reports idle", lambda cpus: 1),
    ("reports_per_grace_period_busy", "busy", lambda cpus: cpus * 1.2),  # some belong to the one before or after
    ("wakeups_of_idle_cpus", "wake-ups", lambda cpus: 0),
    ("us_per_grace_period_idle", "us idle", None),
    ("us_per_grace_period_busy", "us busy", None),
)


class Boot:
    """One number of CPUs: what was counted, and what is wrong with it."""

    def __init__(self, cpus):
        self.cpus, self.seconds_to_boot, self.values, self.wrong = cpus, 0.0, {}, []

    def take(self, line, seconds):
        if match := BANNER.match(line):
            self.seconds_to_boot = seconds
            if int(match[1]) != self.cpus:
                self.wrong.append(f"only {match[1]} CPUs came up")
        elif match := LINE.match(line):
            self.values[match[1]] = int(match[2]) / int(match[3])

    def judge(self):
        for name, _, most in QUANTITIES:
            value = self.values.get(name)
            if value is None:
                self.wrong.append(f"{name} is missing")
            elif most and value > most(self.cpus):
                self.wrong.append(f"{name} is {value:g}, and may be {most(self.cpus):g} at most")

    def row(self):
        cells = [f"{self.values[name]:.4g}" if name in self.values else "-" for name, _, _ in QUANTITIES]
        return [str(self.cpus), f"{self.seconds_to_boot:.1f}"] + cells


def measure(cpus):
    boot = Boot(cpus)
    config = machine.Config(smp=cpus, mem=MEM, cmdline="mode=test test=smoke,scale")
    start = time.monotonic()
    try:
        result = machine.run(config, on_line=lambda line: boot.take(line, time.monotonic() - start))
        if not result.ok:
            panics = [line for line in result.lines if line.startswith("# PANIC")]
            boot.wrong.append("; ".join([result.sentence] + panics[:1]))
    except machine.Unavailable as error:
        boot.wrong.append(str(error))
    except mishap.ANY as error:
        boot.wrong += [mishap.sentence(error), *mishap.details(error)]
    boot.judge()
    run.say(f"{cpus} CPUs: {'ok' if not boot.wrong else '; '.join(boot.wrong)}, {time.monotonic() - start:.0f} s")
    return boot


def table(boots):
    head = ["CPUs", "boot s"] + [column for _, column, _ in QUANTITIES]
    rows = [head] + [boot.row() for boot in boots]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]
    return [lines[0], "-" * len(lines[0])] + lines[1:]


def main():
    boots = [measure(cpus) for cpus in [int(n) for n in (os.environ.get("CPUS") or "").split()] or CPUS]
    run.say("\nPer unmap: IPIs, alone in the space, with one other CPU in it, and with all. Per grace period: reports\n"
            "of quiescent states, with all other CPUs idle and with all busy; wake-ups of idle CPUs; microseconds.\n\n"
            + "\n".join(table(boots)))
    failed = sum(bool(boot.wrong) for boot in boots)
    run.say(f"{len(boots) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except machine.Unavailable as error:
        run.say(f"scale: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        run.say("scale: interrupted")
        sys.exit(130)
