# SPDX-License-Identifier: MIT
"""Tests of targets.py: figures with known answers."""
import contextlib
import io
import json
import math
import os
import statistics
import sys
import tempfile
import unittest.mock

import host
import machine
import results
import targets
from selftests import selftest
from selftests.check_stats import histogram

suite = selftest.Suite("targets")
NORMAL = statistics.NormalDist()
KEYS = {"v": 1, "build": "release", "table_free": "-", "tlb_flush": "ipi", "cpus": 2, "others": 0,
        "walkers": 0, "pages": 1, "remote": 0, "stolen_us": 0, "unit": "cycles", "n": 20_000}
FIGURES = [
    {"name": "call_empty", "median": 1000}, {"name": "loads4", "median": 100},
    {"name": "grace_period", "median": 18_000, "tick": 10_000},
    *({"table_free": policy} | more for policy in ("rcu", "rcu-sync", "hazard", "immediate") for more in (
        {"name": "unmap_page", "median": 2000}, {"name": "unmap_page", "others": 1, "median": 3600},
        {"name": "unmap_512", "median": 90_000}, {"name": "walk", "median": 300},
        {"name": "map_touch_unmap", "median": 9000, "ops_per_sec": 1000})),
]


def distribution(median, spread, n):
    """Log-normal: a thousand of its quantiles, each so often that they are n, or a few less."""
    made_once = histogram([int(median * math.exp(spread * NORMAL.inv_cdf((i + 0.5) / 1000))) for i in range(1000)])
    times = n // 1000
    return made_once | {"n": 1000 * times, "buckets": [[i, count * times] for i, count in made_once["buckets"]]}


def made(figures=(), spread=0.0, **header):
    """A boot with FIGURES, some of them replaced by those in `figures`; with `spread`, distributions too."""
    run = results.Run("x", {"cpus": 2, "hypervisor": "tcg"} | header)
    same = ("name", "table_free", "others")
    for item in (KEYS | item for item in FIGURES):
        item |= next((f for f in figures if all((KEYS | f)[key] == item[key] for key in same)), {})
        run.bench.append(item)
        if spread:
            run.hist.append(item | distribution(item["median"], spread, item["n"]))
    return run


def verdicts(*runs):
    return {target.name: target.verdict() for target in targets.judge(runs)}


@suite.test
def each_target_can_be_met_and_missed():
    """Met: the figures above. Missed: one of them worse."""
    cases = [
        ("unmap_with_one/rcu", {"name": "unmap_page", "others": 1, "median": 3800, "table_free": "rcu"}),
        ("unmap_alone/rcu", {"name": "unmap_page", "median": 3001, "table_free": "rcu"}),
        ("map_touch_unmap/hazard", {"name": "map_touch_unmap", "median": 10_001, "table_free": "hazard"}),
        ("unmap_512/rcu", {"name": "unmap_512", "median": 100_001, "table_free": "rcu"}),
        ("walk/rcu", {"name": "walk", "median": 351, "table_free": "rcu"}),
        ("rcu_unmap/0", {"name": "unmap_page", "median": 2100, "table_free": "rcu"}),
        ("rcu_rate", {"name": "map_touch_unmap", "ops_per_sec": 899, "table_free": "rcu"}),
        ("grace_period/0", {"name": "grace_period", "median": 20_001}),
    ]
    good = verdicts(made(spread=0.05))
    wrong = [f"{name} is {good.get(name)} where it is within" for name, _ in cases if good.get(name) != "met"]
    for name, worse in cases:
        bad = verdicts(made([worse], spread=0.05))
        wrong += [] if bad[name] == "MISSED" else [f"{name} is {bad[name]} with {worse}"]
    return wrong


@suite.test
def open_walks_are_asked_for_more():
    found = verdicts(made())
    want = {"walk/rcu": "met", "walk/rcu-sync": "MISSED", "walk/hazard": "reported", "walk/immediate": "reported"}
    return [f"{name}: {found[name]}" for name in want if found[name] != want[name]]


@suite.test
def control_is_asked_for_nothing():
    found = verdicts(made([{"name": "unmap_page", "median": 99_999, "table_free": "immediate"}]))
    return [f"{n}: {v}" for n, v in found.items() if n.endswith("/immediate") and v != "reported"]


@suite.test
def upper_bound_counts_for_rcu():
    """1.02 times is within 1.03; but not if the samples cannot tell it from 1.05, are too few, or have no
    distribution."""
    two_more = {"name": "unmap_page", "median": 2040, "table_free": "rcu"}
    few = [two_more | {"n": 9999}]
    runs = made([two_more], 0.05), made([two_more], 0.9), made(few, 0.05), made([two_more])
    found = [verdicts(run)["rcu_unmap/0"] for run in runs]
    return [] if found == ["met", "MISSED", "not judged", "not judged"] else [str(found)]


@suite.test
def few_samples_are_not_judged():
    found = verdicts(made([{"name": "unmap_512", "median": 1, "table_free": "rcu", "n": 29},
                           {"name": "unmap_page", "median": 2000, "table_free": "rcu", "n": 29}]))
    names = "unmap_512/rcu", "unmap_alone/rcu", "unmap_with_one/rcu", "rcu_unmap/0"
    return [f"{name}: {found[name]}" for name in names if found[name] != "not judged"]


@suite.test
def what_is_missing_is_said():
    run = made()
    run.bench = [b for b in run.bench if b["table_free"] != "immediate" and b["name"] != "loads4"]
    found = verdicts(run)
    wanted = "walk", "rcu_unmap", "rcu_rate"
    return [f"{name}: {found.get(name)}" for name in wanted if found.get(name) != "not measured"]


@suite.test
def machines_are_kept_apart():
    """By CPUs and hypervisor; the boot with most samples counts; and the checking build says nothing of speed."""
    few = made([{"name": "walk", "median": 1, "table_free": "rcu", "n": 5}])
    odd = [{"name": "loads4", "median": 1}]
    four, kvm, check = made(), made(odd, hypervisor="kvm"), made(odd)
    four.bench = [b | {"cpus": 4, "median": 10 * b["median"]} for b in four.bench]
    check.bench = [b | {"build": "check", "n": 10**6} for b in check.bench]
    judged = targets.judge([four, few, made(), kvm, check])
    found = [(t.hypervisor, t.cpus, t.value) for t in judged if t.name == "walk/rcu"]
    return [] if found == [("kvm", 2, 300), ("tcg", 2, 3), ("tcg", 4, 3)] else [str(found)]


@suite.test
def intervals_hold_their_values():
    return [f"{t.name}: {t.low} {t.value} {t.high}" for t in targets.judge([made(spread=0.3)])
            if t.low is not None and not 0.98 * t.low <= t.value <= 1.02 * t.high] + (
        [] if sum(t.low is not None for t in targets.judge([made(spread=0.3)])) > 15 else ["few have an interval"])


@suite.test
def instructions_are_no_cycles():
    """A boot under ACCEL=icount says nothing of speed."""
    run = made()
    run.bench = [b | {"unit": "instructions", "median": 1} for b in run.bench]
    return [f"{t.name}: {t.value}" for t in targets.judge([run]) if t.value is not None]


def put(folder, name, age, run):
    path = f"{folder}/{name}.jsonl"
    lines = [f"HEADER {json.dumps(run.header)}"] + [f"BENCH {json.dumps(b)}" for b in run.bench]
    results.write(path, {"exit": 0}, lines)
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def make_targets(folder, environment, measured):
    """(status, what was judged, the figure of unmap_alone/rcu) of make targets with result files in this folder and a
    kernel that is 100 s old; a boot measures so many cycles."""
    def measure(config):
        return machine.Result(0, "success", [], 1.0), put(folder, "fresh", 0, of_rcu(measured))

    iso = f"{folder}/iso"
    with open(iso, "w", encoding="utf-8"):
        os.utime(iso, (1e9 - 100, 1e9 - 100))
    asked = {"RESULTS": "", "SECONDS": ""} | environment
    with contextlib.redirect_stdout(io.StringIO()) as out, unittest.mock.patch.object(host, "FOLDER", folder), (
            unittest.mock.patch.object(targets, "ISO", iso)), unittest.mock.patch.dict(os.environ, asked), (
            unittest.mock.patch.object(host, "measure", measure)):
        status = targets.main([])
    judged = out.getvalue().split("judged by ")[1].split()[0].strip(";")
    figure = next((line.split()[0] for line in out.getvalue().splitlines() if line.endswith("alone, rcu")), "none")
    return status, os.path.basename(judged), figure


def of_rcu(median, **header):
    return made([{"name": "unmap_page", "median": median, "table_free": "rcu"}], build="release", **header)


@suite.test
def make_targets_judges_the_newest_or_measures():
    """A file that is older than the kernel, of other CPUs, or without the figures, does not count; a miss is no
    failure."""
    walks = results.Run("x", {"cpus": 2, "build": "release"}, bench=[KEYS | {"name": "walk", "median": 1}])
    with tempfile.TemporaryDirectory() as folder:
        older = put(folder, "older", 200, of_rcu(9002))
        found = [make_targets(folder, {}, 9001)]
        os.remove(f"{folder}/fresh.jsonl")
        put(folder, "four", 10, of_rcu(9003, cpus=4))
        put(folder, "nothing", 20, walks)
        put(folder, "good", 50, of_rcu(9004))
        put(folder, "good-too", 60, of_rcu(9005))
        found += [make_targets(folder, e, 9006) for e in ({}, {"SECONDS": "5"}, {"RESULTS": older})]
    want = [(0, "fresh.jsonl", "9,001"), (0, "good.jsonl", "9,004"), (0, "fresh.jsonl", "9,006"),
            (0, "older.jsonl", "9,002")]
    return [f"{f} where {w} is right" for f, w in zip(found, want) if f != w]


@suite.test
def make_targets_fails_without_figures():
    def measure(config):
        return machine.Result(3, "panic", [], 1.0), ""

    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()), (
            unittest.mock.patch.dict(os.environ, {"SECONDS": "1", "RESULTS": ""})), (
            unittest.mock.patch.object(host, "measure", measure)):
        status = targets.main([])
    return [] if status == 1 and "panic" in said.getvalue() else [f"{status}: {said.getvalue()}"]


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
