# SPDX-License-Identifier: MIT
"""What can be said about a distribution that the kernel sent whole (HIST lines): percentiles, confidence intervals by
bootstrap, and whether two of them differ by more than noise. Every random choice comes from a fixed seed, so the same
files give the same figures.

A bucket is at most 1/64 of its lower end wide. A percentile between its ends assumes that the values in it are evenly
spread."""
import dataclasses

import numpy

from hist import bounds

ROUNDS, SEED = 1000, 2012
LEVEL = 0.95
FEW = 5  # a figure of fewer samples is marked wherever it is shown, and nothing is concluded from it


def few(item):
    """Does this BENCH or HIST line rest on too few samples?"""
    return item.get("n", FEW) < FEW


@dataclasses.dataclass
class Distribution:
    """Buckets as arrays: each one's lower and upper end, and its count. No end lies outside min and max."""
    low: numpy.ndarray
    high: numpy.ndarray
    count: numpy.ndarray

    @property
    def n(self):
        return int(self.count.sum())


def distribution(hist):
    """Of a HIST line, or of several HIST lines of the same thing, put together."""
    if isinstance(hist, Distribution):
        return hist
    counts, least, most = {}, None, None
    for h in [hist] if isinstance(hist, dict) else hist:
        for index, count in h["buckets"]:
            counts[index] = counts.get(index, 0) + count
        if h["n"]:
            least = h["min"] if least is None else min(least, h["min"])
            most = h["max"] if most is None else max(most, h["max"])
    ends = numpy.array([bounds(index) for index in sorted(counts)], dtype=float).reshape(-1, 2)
    if counts:
        ends[:, 1] += ends[:, 0] - 1  # from start and width to the least and the greatest value
        ends = ends.clip(least, most)
    return Distribution(ends[:, 0], ends[:, 1], numpy.array([counts[i] for i in sorted(counts)], dtype=numpy.int64))


def values_at(d, positions):
    """The values at these positions among all n in order, 0 to n; the one of rank r lies at r + 1/2."""
    upto = d.count.cumsum()
    at = numpy.minimum(numpy.searchsorted(upto, positions, side="right"), len(upto) - 1)
    within = (positions - (upto[at] - d.count[at])) / d.count[at]
    return d.low[at] + within * (d.high[at] - d.low[at])


def rank(n, q):
    """Which of n values in order the kernel takes for the q-quantile."""
    return min(int(q * n), n - 1)


def percentile(hist, p):
    """The value below which p per cent of all samples lie, or None of an empty distribution."""
    d = distribution(hist)
    return float(values_at(d, numpy.array([rank(d.n, p / 100) + 0.5]))[0]) if d.n else None


def cumulative(hist):
    """(values, shares), for drawing: the ends of the buckets in order, and for each the share of all samples up to
    it."""
    d = distribution(hist)
    return d.high, d.count.cumsum() / max(1, d.n)


def resampled(hist, q, random):
    """The q-quantiles of ROUNDS bootstrap samples of this distribution, each as large as it. They need not be drawn:
    the value of rank r of n draws is this distribution's quantile at u, where u is the value of rank r of n uniform
    random numbers, which has a beta distribution."""
    d = distribution(hist)
    r = rank(d.n, q)
    return values_at(d, d.n * random.beta(r + 1, d.n - r, ROUNDS))


def interval_of(values, level=LEVEL):
    tail = 50 * (1 - level)
    low, high = numpy.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def interval(hist, p=50, level=LEVEL):
    """The confidence interval of a percentile; by default of the median."""
    return interval_of(resampled(hist, p / 100, numpy.random.default_rng(SEED)), level)


def combined(function, hists, p=50, level=LEVEL):
    """The confidence interval of what `function` makes of a percentile of each."""
    random = numpy.random.default_rng(SEED)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        return interval_of(function(*(resampled(hist, p / 100, random) for hist in hists)), level)


@dataclasses.dataclass
class Ratio:
    ratio: float
    low: float
    high: float


def ratio(a, b, p=50, level=LEVEL):
    """a's percentile over b's, with the confidence interval; None where b's may be 0 or one of them is empty."""
    top, bottom = percentile(a, p), percentile(b, p)
    if top is None or not bottom:
        return None
    low, high = combined(lambda x, y: x / y, [a, b], p, level)
    return Ratio(top / bottom, low, high) if numpy.isfinite([low, high]).all() else None


# Two boots of the same kernel do not measure the same: memory lies elsewhere, the host does other things. No interval
# from within one boot includes that, so only a larger change counts as beyond noise; docs/report.md says why so much.
NOISE, NOISE_OVERCOMMITTED = 0.10, 2.0


def noise_of(headers):
    """The noise to expect between boots on the hosts that these headers describe."""
    return NOISE_OVERCOMMITTED if any(header.get("overcommitted") for header in headers) else NOISE


def side(hists, q, random):
    """The q-quantile of several boots, which is the median of theirs, and its values in ROUNDS bootstrap samples: boots
    are drawn from these, and for each of them samples from its own."""
    each = numpy.array([resampled(h, q, random) for h in hists])
    drawn = numpy.take_along_axis(each, random.integers(0, len(each), each.shape), axis=0)
    return float(numpy.median([percentile(h, 100 * q) for h in hists])), numpy.median(drawn, axis=0)


@dataclasses.dataclass
class Change(Ratio):
    beyond_noise: bool


def changed(new, old, p=50, noise=NOISE):
    """How much a percentile has changed from `old` to `new`, each the HIST line of one boot or a list of several
    boots'. The change is beyond noise if the whole confidence interval is further from 1 than boots of one kernel are
    from each other. None: not comparable, or too few samples on one side."""
    new, old = ([h for h in (of if isinstance(of, list) else [of]) if distribution(h).n] for of in (new, old))
    if any(sum(distribution(h).n for h in of) < FEW for of in (new, old)):
        return None
    random = numpy.random.default_rng(SEED)
    (top, over), (bottom, under) = side(new, p / 100, random), side(old, p / 100, random)
    if not bottom or not under.all():
        return None
    low, high = interval_of(over / under)
    return Change(top / bottom, low, high, low > 1 + noise or high < 1 / (1 + noise))
