# SPDX-License-Identifier: MIT
"""Tests of stats.py, and of hist.py, which it uses, against distributions whose percentiles are known."""
import math
import sys

import numpy

import hist
import stats
from selftests import selftest

suite = selftest.Suite("stats")
RESOLUTION = 1 / 64  # of a bucket
SAMPLES = {
    "constant": lambda r, n: numpy.full(n, 5000),
    "few": lambda r, n: r.integers(60, 70, n),
    "uniform": lambda r, n: r.integers(0, 1_000_000, n),
    "log-normal": lambda r, n: r.lognormal(8, 0.7, n).astype(int),
    "two modes": lambda r, n: numpy.where(r.random(n) < 0.3, r.normal(90_000, 500, n),
                                          r.normal(2000, 50, n)).astype(int),
}


def histogram(values):
    """As the kernel sends it."""
    counts = {}
    for value in values:
        index = hist.bucket_of(int(value))
        counts[index] = counts.get(index, 0) + 1
    return {"n": len(values), "min": int(min(values)), "max": int(max(values)), "bits": 6,
            "buckets": [[index, counts[index]] for index in sorted(counts)]}


@suite.test
def buckets_tile_the_numbers():
    """Each bucket begins where the one before ends, is at most 1/64 wide, and has the numbers at its ends in it."""
    wrong, end = [], 0
    for index in range(60 * 64):
        low, width = hist.bounds(index)
        high = low + width
        if low != end or hist.bucket_of(low) != index or hist.bucket_of(high - 1) != index:
            wrong.append(f"bucket {index}: [{low}, {high}), after {end}")
        if high - low > max(1, low / 64):
            wrong.append(f"bucket {index}: [{low}, {high}) is wider than 1/64")
        end = high
    return wrong[:5]


@suite.test
def percentiles_are_exact_to_two_per_cent():
    wrong = []
    for name, sample in SAMPLES.items():
        values = numpy.sort(sample(numpy.random.default_rng(1), 20_000))
        for p in (0, 1, 10, 50, 90, 99, 99.9):
            want, got = values[int(len(values) * p / 100)], stats.percentile(histogram(values), p)
            if abs(got - want) > RESOLUTION * want:
                wrong.append(f"{name}: the {p}th percentile is {want}, and was said to be {got}")
    return wrong + ([] if stats.percentile({"n": 0, "min": 0, "max": 0, "bits": 6, "buckets": []}, 50) is None
                    else ["an empty one has a median"])


@suite.test
def values_lie_evenly_in_a_bucket():
    """So an even distribution is known better than its buckets are wide."""
    values = numpy.arange(0, 1_000_000, 7)
    wrong = {p: stats.percentile(histogram(values), p) for p in (10, 49.3, 50, 77.7)}
    return [f"p{p}: {got}" for p, got in wrong.items() if abs(got - 10_000 * p) > RESOLUTION / 50 * 10_000 * p]


@suite.test
def cumulative_shares_are_those_of_the_samples():
    values = SAMPLES["two modes"](numpy.random.default_rng(2), 10_000)
    ends, shares = stats.cumulative(histogram(values))
    real = [(values <= end).mean() for end in ends]
    worst = max(abs(real - shares))
    return ([f"up to {worst:.4f} off"] if worst > 0.02 else []) + ([] if shares[-1] == 1 else ["they do not end at 1"])


@suite.test
def intervals_hold_the_true_median_as_often_as_they_say():
    """95 of 100 times; with 200 experiments, 3 standard deviations are 4.6 of 100."""
    random, truth, hits = numpy.random.default_rng(3), math.exp(8), 0
    for _ in range(200):
        low, high = stats.interval(histogram(random.lognormal(8, 0.7, 500).astype(int)))
        hits += low <= truth <= high
    return [] if 0.904 * 200 <= hits <= 0.996 * 200 else [f"{hits} of 200"]


@suite.test
def resampling_is_that_of_real_draws():
    """The interval is the one that comes of drawing samples and taking each one's median."""
    random = numpy.random.default_rng(9)
    values = SAMPLES["log-normal"](random, 300)
    drawn = numpy.sort(random.choice(values, (4000, 300)), axis=1)[:, 150]
    want, got = numpy.percentile(drawn, [2.5, 97.5]), stats.interval(histogram(values))
    return [] if max(abs(got / want - 1)) < 0.02 else [f"{got}, by drawing {want}"]


@suite.test
def interval_shrinks_with_the_samples():
    widths = []
    for n in (100, 10_000):
        low, high = stats.interval(histogram(SAMPLES["log-normal"](numpy.random.default_rng(4), n)))
        widths.append(high - low)
    narrower = widths[0] / widths[1]
    return [] if 7 < narrower < 14 else [f"a hundred times the samples: {narrower:.1f} times narrower"]


@suite.test
def ratio_is_found_with_its_interval():
    random = numpy.random.default_rng(5)
    wrong = []
    for factor in (0.8, 1.0, 1.03, 2.0):
        a, b = (histogram(random.lognormal(9, 0.3, 10_000) * f) for f in (factor, 1))
        r = stats.ratio(a, b)
        if not r.low <= r.ratio <= r.high or abs(r.ratio / factor - 1) > 0.02 or r.high - r.low > 0.05 * factor:
            wrong.append(f"{factor}: {r}")
    return wrong + ([] if stats.ratio(a, histogram([0, 0, 0])) is None else ["divided by 0"])


@suite.test
def changes_are_told_from_noise():
    """Small ones within what two boots differ by are noise, however many samples there are."""
    random = numpy.random.default_rng(6)

    def sample(factor, n):
        return histogram(random.lognormal(9, 0.3, n) * factor)

    wrong = []
    for factor, n, want in ((1, 10_000, False), (1.03, 100_000, False), (0.97, 100_000, False), (1.3, 10_000, True),
                            (0.7, 10_000, True), (1.15, 10, False)):
        change = stats.changed(sample(factor, n), sample(1, n))
        if change.beyond_noise != want:
            wrong.append(f"{factor} times, {n} samples: {change}")
    return wrong


@suite.test
def a_change_that_rests_on_few_samples_is_none():
    """However many the other side has; and several boots' samples count together."""
    many = histogram(range(1000, 2000))
    three, few, enough = (histogram(range(1000, 1000 + n)) for n in (3, stats.FEW - 1, stats.FEW))
    wrong = [f"{sides}" for sides in ((few, many), (many, few), (few, few)) if stats.changed(*sides)]
    return wrong + [f"{sides}: nothing" for sides in ((enough, many), (many, enough), ([three, three], many))
                    if not stats.changed(*sides)]


@suite.test
def a_change_is_beyond_noise_either_way():
    """Where boots differ by a factor of up to three, a third is as far from 1 as three times is."""
    random = numpy.random.default_rng(11)
    old, wrong = histogram(random.lognormal(9, 0.3, 10_000)), []
    for factor, want in ((2.5, False), (4, True), (1 / 2.5, False), (1 / 4, True)):
        change = stats.changed(histogram(random.lognormal(9, 0.3, 10_000) * factor), old,
                               noise=stats.NOISE_OVERCOMMITTED)
        wrong += [] if change.beyond_noise == want else [f"{factor} times: {change}"]
    return wrong


@suite.test
def boots_that_differ_among_themselves_hide_a_change():
    """1.3 times is beyond noise where four boots agree, but not where they are as far from each other."""
    random = numpy.random.default_rng(10)
    found = []
    for moods in ((1, 1, 1, 1), (1, 1.5, 0.8, 1.2)):
        old, new = ([histogram(random.lognormal(9, 0.3, 5000) * f * mood) for mood in moods] for f in (1, 1.3))
        found.append(stats.changed(new, old).beyond_noise)
    wrong = [] if found == [True, False] else [str(found)]
    once = stats.changed(new[:1], old[:1])
    return wrong + ([] if once == stats.changed(new[0], old[0]) else ["a list of one is not that one"])


@suite.test
def overcommitted_hosts_are_noisier():
    for headers, want in (([{}, {"overcommitted": ""}], stats.NOISE),
                          ([{}, {"overcommitted": "4 vCPUs on 2 host CPUs"}], stats.NOISE_OVERCOMMITTED)):
        if stats.noise_of(headers) != want:
            return [str(headers)]
    return []


@suite.test
def histograms_can_be_put_together():
    random = numpy.random.default_rng(7)
    parts = [random.integers(0, 5000, 1000), random.integers(3000, 90_000, 3000)]
    whole, both = histogram(numpy.concatenate(parts)), [histogram(part) for part in parts]
    return [f"p{p}" for p in (1, 50, 99) if stats.percentile(whole, p) != stats.percentile(both, p)]


@suite.test
def the_same_data_give_the_same_figures():
    a = histogram(SAMPLES["log-normal"](numpy.random.default_rng(8), 1000))
    figures = {(stats.interval(a), str(stats.ratio(a, a))) for _ in range(3)}
    return [] if len(figures) == 1 else [str(figures)]


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
