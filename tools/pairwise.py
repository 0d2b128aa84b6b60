#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a change costs: boots two kernels in turn, A B B A A B …, with the same benchmarks. Each pair of boots gives one
ratio: B's tenth percentile over A's. Prints the median of these ratios with a bootstrap confidence interval of 95 %. It
takes the tenth percentile and not the median, because a busy host only ever adds time. Usage: pairwise.py A.iso B.iso
ROUNDS [bench=… seconds=…]; SMP=2 in the environment."""
import collections
import math
import os
import random
import statistics
import sys

import hist
import host
import machine
import results

SKIP = ("v", "build", "n")


def measure(iso, cmdline, smp):
    """{benchmark: its tenth percentile}"""
    config = machine.Config(smp=smp, build="release", iso=iso, cmdline=cmdline)
    result = machine.run(config)
    if not result.ok:
        raise machine.Unavailable(f"{iso}: {result.sentence}")
    run, = results.parse(result.lines)
    return {tuple(item[key] for key in hist.IDENTITY if key not in SKIP): max(1, hist.quantile(item, 1, 10)) for item in run.hist}


def interval(values, rng, times=5000):
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(times))
    return medians[int(0.025 * times)], medians[int(0.975 * times)]


def title(identity):
    return " ".join(f"{value}" for value in identity if value not in (0, "-", "cycles"))


def main():
    a, b, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    cmdline, smp = " ".join(["mode=bench"] + sys.argv[4:]), int(os.environ.get("SMP") or 2)
    logs, figures = collections.defaultdict(list), collections.defaultdict(list)
    for number in range(rounds):
        first, second = (a, b) if number % 2 == 0 else (b, a)
        of = {first: measure(first, cmdline, smp)}
        of[second] = measure(second, cmdline, smp)
        for identity in of[a].keys() & of[b].keys():
            logs[identity].append(math.log(of[b][identity] / of[a][identity]))
            figures[identity].append((of[a][identity], of[b][identity]))
        print(f"pairwise: {number + 1} of {rounds}", file=sys.stderr, flush=True)
    rng = random.Random(1)
    print(f"{a} and {b}, SMP={smp}, {rounds} pairs of boots, {host.cpu_model()}, {host.cpus()} CPUs: {cmdline}")
    for identity, values in sorted(logs.items()):
        low, high = (math.exp(x) for x in interval(values, rng))
        before, after = (statistics.median(column) for column in zip(*figures[identity]))
        print(f"{title(identity):50} {before:9.0f} {after:9.0f}  x {math.exp(statistics.median(values)):.3f}  [{low:.3f}, {high:.3f}]")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (machine.Unavailable, results.Broken) as error:
        sys.exit(f"pairwise: {error}")
