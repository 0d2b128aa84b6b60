# SPDX-License-Identifier: MIT
"""The distributions of HIST lines (lab/hist.h): which bucket a value falls into, percentiles as the kernel computes
them, and whether a BENCH line and the HIST line behind it say the same."""
import json
import re

BITS = 6
EXACT = 2 << BITS  # values below have a bucket of their own
IDENTITY = ("v", "name", "build", "table_free", "tlb_flush", "cpus", "others", "walkers", "pages", "remote", "stolen_us",
            "unit", "n")
# Key of a BENCH line: the share of the samples below it.
QUANTILES = {"median": (1, 2), "p50": (1, 2), "p90": (9, 10), "p99": (99, 100), "p999": (999, 1000)}


def bucket_of(value):
    if value < EXACT:
        return value
    shift = value.bit_length() - 1 - BITS
    return (shift << BITS) + (value >> shift)


def bounds(bucket):
    """(the least value in the bucket, how many values it stands for)"""
    shift = 0 if bucket < EXACT else (bucket >> BITS) - 1
    return (bucket - (shift << BITS)) << shift, 1 << shift


def quantile(hist, num, den):
    """The value below which num/den of all samples lie, in whole numbers as lab/hist.c computes it: the samples of one
    bucket count as evenly spread over it."""
    rank, below = min(hist["n"] * num // den, hist["n"] - 1), 0
    for bucket, count in hist["buckets"]:
        if rank < below + count:
            low, width = bounds(bucket)
            steps = 2 * (rank - below) + 1
            inside = width // (2 * count) * steps if width >> 30 else width * steps // (2 * count)
            return min(max(low + inside, hist["min"]), hist["max"])
        below += count
    return hist["max"]


def disagreements(bench, hist):
    """What is wrong with this pair of lines, in words."""
    wrong = [f"{key}: {bench.get(key)} and {hist.get(key)}" for key in IDENTITY + ("min", "max", "sum")
             if bench.get(key) != hist.get(key) or key not in bench]
    indices = [bucket for bucket, _ in hist["buckets"]]
    if indices != sorted(set(indices)) or any(count < 1 for _, count in hist["buckets"]):
        wrong.append("the buckets are not ascending, or one is empty")
    if sum(count for _, count in hist["buckets"]) != hist["n"]:
        wrong.append("the buckets' sum is not n")
    if hist["bits"] != BITS or [bucket_of(hist["min"]), bucket_of(hist["max"])] != [indices[0], indices[-1]]:
        wrong.append("min and max are not in the first and last bucket")
    low = sum(bounds(bucket)[0] * count for bucket, count in hist["buckets"])
    if not low <= hist["sum"] <= low + low // 64:
        wrong.append(f"sum {hist['sum']} is not that of the buckets, {low} or little more")
    for key, (num, den) in QUANTILES.items():
        enough = key in ("median", "p50") or hist["n"] * (den - num) >= 10 * den
        want = quantile(hist, num, den) if enough else None
        if bench[key] != want:
            wrong.append(f"{key}: {bench[key]}, by the buckets {want}")
    if "usual" in bench and 2 * dict(hist["buckets"]).get(bucket_of(bench["usual"]), 0) <= hist["n"]:
        wrong.append(f"usual: {bench['usual']}, but half of the samples or more are in other buckets")
    return wrong


def line_errors(lines):
    """Of a boot's lines: a header, then each measurement with its distribution right behind it."""
    lines = [line.split(" ", 1) for line in lines if re.match(r"(HEADER|BENCH|HIST) ", line)]
    kinds, items = [kind for kind, _ in lines], [json.loads(text) for _, text in lines]
    if kinds[:1] != ["HEADER"] or kinds.count("HEADER") != 1 or kinds[1:] != ["BENCH", "HIST"] * (len(kinds) // 2):
        return [f"not a header and then pairs: {' '.join(kinds)}"[:100]]
    return [f"{bench['name']}: {text}" for bench, its in zip(items[1::2], items[2::2])
            for text in disagreements(bench, its)]
