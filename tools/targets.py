#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The project's speed targets, and whether runs meet them. The report shows this, too.

make targets judges RESULTS="files" (result files or serial logs), otherwise the newest result file of this kernel with
two CPUs; if there is none, or if SECONDS= is given, it measures first. A missed target is reported, but is no failure:
the exit status is 0 if there was something to judge. By hand: python3 tools/targets.py FILE..., with --json one object
a line.

Each target is computed within one boot of the release build, under the flush back-end `ipi`. They are meant for two
CPUs under TCG: with more CPUs than the host has, they measure the host's scheduler."""
import dataclasses
import glob
import itertools
import json
import os
import shlex
import sys

import host
import machine
import results
import stats
from comparison import INSTRUCTIONS
from run import with_extra

CPUS = 2  # for which the targets are meant
CONTROL = "immediate"  # unsafe: nobody may choose it, so it has no targets
UNMAP_LIMIT, ALONE_LIMIT, SUSTAINED_LIMIT, UNMAP_512_LIMIT = 1.25, 3000, 10_000, 100_000
WALK_LIMITS = {"rcu-sync": 2.5, "rcu-page": 2.5, "ipi": 3.5, "rcu": 3.5}  # the others' walks are only reported
RCU_LIMIT, RCU_RATE_LIMIT, RCU_SAMPLES = 1.03, 0.9, 10_000
GRACE_LIMIT = 2  # ticks
FEWEST = 30  # samples, below which a median is not judged
SECONDS = 60  # for which make targets measures
BENCHMARKS = "unmap_page,map_touch_unmap,unmap_512,walk,grace_period"
ISO = "build/quiesce.iso"


@dataclasses.dataclass
class Target:
    name: str            # for scripts
    what: str            # for people
    unit: str            # "times", "cycles", "ticks"
    limit: float = None  # None: nothing is asked, only reported
    at_least: bool = False
    value: float = None  # None: not measured; `why` says what is lacking
    low: float = None    # 95 % confidence interval; None: the run has sent no distributions
    high: float = None
    bound: bool = False  # the interval's worse end counts, not the value
    n: int = None        # the fewest samples that it rests on
    cpus: int = None
    hypervisor: str = "" # that of the boot
    why: str = ""

    @property
    def met(self):
        """True, False, or None: nothing asked, not measured, or too few samples."""
        counts = (self.low if self.at_least else self.high) if self.bound else self.value
        if self.limit is None or counts is None or self.why:
            return None
        return counts >= self.limit if self.at_least else counts <= self.limit

    def as_dict(self):
        return dataclasses.asdict(self) | {"met": self.met}

    def verdict(self):
        if self.value is None or self.why:
            return "not judged" if self.value is not None else "not measured"
        return {True: "met", False: "MISSED", None: "reported"}[self.met]


class Figures:
    """What one boot has measured under the back-end for which the targets are."""

    def __init__(self, run):
        self.header = run.header
        self.bench = [b for b in run.bench if b.get("tlb_flush") in ("ipi", "-", None) and b.get("build") != "check"
                      and b.get("unit") != INSTRUCTIONS]
        self.hist = {results.identity(h): h for h in run.hist}
        policies = (b.get("table_free") for b in self.bench)
        self.policies = [policy for policy in dict.fromkeys(policies) if policy not in (None, "", "-")]

    def one(self, name, **want):
        return next((b for b in self.bench if b["name"] == name and b["median"] and
                     all(b.get(key) == value for key, value in want.items())), None)

    def target(self, name, what, unit, combine, parts, **more):
        """The target made of these BENCH lines' medians by `combine`; None if one of them is missing."""
        if not all(parts):
            return None
        hists = [self.hist.get(results.identity(part)) for part in parts]
        low, high = stats.combined(combine, hists) if all(h and h["n"] for h in hists) else (None, None)
        fewest = min((part["n"] for part in parts if part.get("n")), default=None)
        value = combine(*(part["median"] for part in parts))
        few = fewest is not None and fewest < FEWEST
        return Target(name, what, unit, value=value, low=low, high=high, n=fewest,
                      why=f"n = {fewest}: too few samples" if few else "", cpus=parts[0].get("cpus"), **more)


def asked(policy, limit):
    return None if policy == CONTROL else limit


def unmap_with_one(f):
    for policy in f.policies:
        alone, one = (f.one("unmap_page", table_free=policy, others=others) for others in (0, 1))
        yield f.target(f"unmap_with_one/{policy}",
                       f"unmap a page, 1 other CPU in the space / (empty call + the same, alone), {policy}", "times",
                       lambda one, call, alone: one / (call + alone), [one, f.one("call_empty"), alone],
                       limit=asked(policy, UNMAP_LIMIT))


def cycles_of(name, bench, what, limit, **want):
    def part(f):
        for policy in f.policies:
            yield f.target(f"{name}/{policy}", f"{what}, {policy}", "cycles", lambda x: x,
                           [f.one(bench, table_free=policy, **want)], limit=asked(policy, limit))

    return part


def walk(f):
    for policy in f.policies:
        yield f.target(f"walk/{policy}", f"undisturbed walk without the put / four dependent loads, {policy}", "times",
                       lambda walk, loads: walk / loads, [f.one("walk", table_free=policy), f.one("loads4")],
                       limit=WALK_LIMITS.get(policy))


def rcu_against_control(f):
    for others, title in ((0, "alone"), (1, "1 other CPU in the space")):
        rcu, control = (f.one("unmap_page", table_free=policy, others=others) for policy in ("rcu", CONTROL))
        found = f.target(f"rcu_unmap/{others}", f"unmap a page, {title}, under rcu / under {CONTROL}", "times",
                         lambda rcu, control: rcu / control, [rcu, control], limit=RCU_LIMIT, bound=True)
        if found and FEWEST <= (found.n or 0) < RCU_SAMPLES:
            found.why = f"n = {found.n}, but {RCU_SAMPLES:,} samples are needed: raise seconds="
        elif found and found.high is None:
            found.why = "the log has no distributions"
        yield found


def rcu_rate(f):
    rcu, control = (f.one("map_touch_unmap", table_free=policy) for policy in ("rcu", CONTROL))
    if rcu and control and rcu.get("ops_per_sec") and control.get("ops_per_sec"):
        yield Target("rcu_rate", f"map, touch, unmap per second, deferred work included, under rcu / under {CONTROL}",
                     "times", limit=RCU_RATE_LIMIT, at_least=True,
                     value=rcu["ops_per_sec"] / control["ops_per_sec"],
                     n=min(rcu.get("n") or 0, control.get("n") or 0), cpus=rcu.get("cpus"))


def grace_period(f):
    for b in f.bench:
        tick = b.get("tick") or f.header.get("tsc_khz", 0) * 1000 / f.header.get("hz", 1)
        if b["name"] == "grace_period" and b.get("unit", "cycles") == "cycles" and tick and b["median"]:
            busy = b.get("others") or 0
            of = "all CPUs idle" if not busy else f"{busy} of {b.get('cpus')} CPUs in a kernel thread"
            yield f.target(f"grace_period/{busy}", f"grace period, none in progress, {of}", "ticks",
                           lambda x, tick=tick: x / tick, [b], limit=GRACE_LIMIT)


# The targets, and what has to be measured for each.
PARTS = [
    (unmap_with_one, "unmap_with_one", "bench=unmap_page"),
    (cycles_of("unmap_alone", "unmap_page", "unmap a page and its tables, alone", ALONE_LIMIT, others=0), "unmap_alone",
     "bench=unmap_page"),
    (cycles_of("map_touch_unmap", "map_touch_unmap", "map, touch, unmap", SUSTAINED_LIMIT), "map_touch_unmap",
     "bench=map_touch_unmap"),
    (cycles_of("unmap_512", "unmap_512", "unmap 512 pages, alone", UNMAP_512_LIMIT, others=0), "unmap_512",
     "bench=unmap_512"),
    (walk, "walk", "bench=walk"),
    (rcu_against_control, "rcu_unmap", "allow_unsafe=1 bench=unmap_page"),
    (rcu_rate, "rcu_rate", "allow_unsafe=1 bench=map_touch_unmap"),
    (grace_period, "grace_period", "bench=grace_period"),
]


def of_run(run):
    """{part: its targets}, of one boot, as far as it has measured them."""
    figures = Figures(run)
    return {name: found for part, name, _ in PARTS if (found := [target for target in part(figures) if target])}


def judge(runs):
    """Each target, for each hypervisor and number of CPUs that was measured, from the boot with the most samples of it.
    A target that no boot has measured says so."""
    best = {}
    for run in runs:
        if any(b.get("unit") == "instructions" for b in run.bench):
            continue  # counted (ACCEL=icount): says nothing of speed
        for part in of_run(run).values():
            for target in part:
                target.hypervisor = run.header.get("hypervisor", "")
                key = (target.hypervisor, target.cpus or run.header.get("cpus") or 0, target.name)
                if key not in best or (target.n or 0) > (best[key].n or 0):
                    best[key] = target
    found = []
    for where in sorted({key[:2] for key in best}):
        for _, name, needs in PARTS:
            some = [target for key, target in best.items() if key[:2] == where and key[2].split("/")[0] == name]
            found += some or [Target(name, name.replace("_", " "), "", cpus=where[1], hypervisor=where[0],
                                     why=f"needs {needs}")]
    return found


def number(value, unit):
    if value is None:
        return "-"
    return f"{value:,.0f}" if unit == "cycles" else f"{value:.2f}"


def sentence(target):
    """One line for people."""
    limit = "" if target.limit is None else f"{'>=' if target.at_least else '<='} {target.limit:,}"
    ends = f"[{number(target.low, target.unit)}, {number(target.high, target.unit)}]" if target.low is not None else ""
    return (f"{number(target.value, target.unit):>8}  {target.verdict():12} {limit:10} {ends:19} {target.what}"
            + (f" ({target.why})" if target.why else ""))


def summary(found):
    """How many are met, missed and so on, in one sentence."""
    verdicts = [target.verdict() for target in found]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))


def print_judged(found):
    """For each machine that was measured: its targets, then how many are met."""
    for where, some in itertools.groupby(found, lambda target: (target.hypervisor, target.cpus)):
        some = list(some)
        beside = "" if where[1] == CPUS else f"; the targets are meant for SMP={CPUS}"
        print(f"\nSpeed targets under {where[0] or 'an unknown hypervisor'}, SMP={where[1]}{beside}\n")
        print("\n".join(sentence(target) for target in some))
        print(f"targets: {summary(some)}")


def of_this_kernel(path):
    """Is it a result file of this kernel, of a boot that timed what the targets need?"""
    if os.path.getmtime(path) < os.path.getmtime(ISO):
        return False
    return any(run.header.get("build") == "release" and run.header.get("cpus") == CPUS and "unmap_alone" in of_run(run)
               for run in results.read(path))


def newest():
    """The newest result file of this kernel, or None."""
    paths = sorted(glob.glob(f"{host.FOLDER}/*.jsonl"), key=os.path.getmtime, reverse=True)
    return next((path for path in paths if of_this_kernel(path)), None)


def measure(seconds):
    """One boot that measures all that the targets need; returns its result file."""
    config = machine.config_from_environment()
    config.smp, config.build = CPUS, "release"
    config.cmdline = with_extra(f"mode=bench allow_unsafe=1 bench={BENCHMARKS} seconds={seconds}")
    print(f"targets: measuring for about {seconds} s (SMP={CPUS})", flush=True)
    result, path = host.measure(config)
    if not result.ok or not path:
        raise machine.Unavailable(f"nothing to judge: {result.sentence}")
    return path


def make_targets():
    """What make targets judges."""
    files, seconds = shlex.split(os.environ.get("RESULTS") or ""), os.environ.get("SECONDS") or ""
    found = None if files or seconds else newest()
    files = files or [found or measure(int(seconds or SECONDS))]
    anew = f"; make targets SECONDS={SECONDS} measures anew" if found else ""
    print(f"targets: judged by {' '.join(files)}{anew}")
    print_judged(judge(results.load(files)))


def main(arguments):
    files = [a for a in arguments if a != "--json"]
    try:
        if not arguments:
            make_targets()
        elif "--json" in arguments:
            print("\n".join(json.dumps(target.as_dict()) for target in judge(results.load(files))))
        else:
            print_judged(judge(results.load(files)))
    except (machine.Unavailable, results.Broken) as error:
        print(f"targets: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
