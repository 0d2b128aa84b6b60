# SPDX-License-Identifier: MIT
"""Figures and lists as a sentence has them."""

import stats

# Medians nearer to each other than this are called alike: so far two cases of one boot, measured in turn, differ by the
# place of their memory alone (docs/report.md).
ALIKE = 0.10


def count(n):
    """A number of cycles or pages: three significant digits at most once it is large."""
    if n is None:
        return "–"
    if n < 10_000:
        return f"{n:,.0f}" if n >= 10 or n == int(n) else f"{n:.2g}"
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            value = n / size
            return f"{value:.0f} {name}" if value >= 100 else f"{value:.1f} {name}"
    raise AssertionError


def tick(n):
    """At an axis: 10 k, not 10.0 k."""
    return count(n).replace(".0 ", " ")


def time(ns):
    """Nanoseconds in the unit that suits them."""
    if ns is None:
        return "–"
    for size, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= size:
            value = ns / size
            return f"{value:.0f} {name}" if value >= 99.5 else f"{value:.3g} {name}"
    return f"{ns:.0f} ns"


def value(n, unit):
    if unit == "ns":
        return time(n)
    return f"{count(n)} {unit}" if n != 1 else f"1 {unit.removesuffix('s')}"


def listed(names, last="and"):
    names = [str(name) for name in names]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}" if names else "none"


def weak(names, unit="samples"):
    """What to say behind a figure, if any of these rest on too few samples."""
    names = list(names)
    which = listed(names) if len(names) < 4 else f"{len(names)} cases"
    return f" (fewer than {stats.FEW} {unit} of {which})" if names else ""


def plural(n, one, many=None):
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def alike(values):
    """All within what may be noise."""
    values = [v for v in values if v is not None]
    return bool(values) and max(values) <= min(values) * (1 + ALIKE)


def times(ratio):
    """0.02 ×, 1.04 ×, 12 ×"""
    return f"{ratio:.1g} ×" if ratio < 0.1 else f"{ratio:.2f} ×" if ratio < 10 else f"{ratio:,.0f} ×"


def upper(text):
    return text[:1].upper() + text[1:]


def ranking(by_name, unit):
    """{name: median} as part of a sentence: whose is the least and whose the largest, or that they do not differ."""
    low, high = min(by_name, key=by_name.get), max(by_name, key=by_name.get)
    if len(by_name) == 1:
        return f"{value(by_name[low], unit)} under {low}, the only one measured"
    spread = f"{value(by_name[low], unit)} ({low}) to {value(by_name[high], unit)} ({high})"
    if alike(by_name.values()):
        return f"{spread}, which is within noise"
    return f"{spread}, {times(by_name[high] / by_name[low])[:-2]} times as much" if by_name[low] else spread
