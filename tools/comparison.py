# SPDX-License-Identifier: MIT
"""What the main job (make run) has found out, from the VERDICT and BENCH lines of its boots: whether each claim was
confirmed, and whether anything is missing. table.py and summary.py show it."""
import itertools

import axes
import results

ALONE, ALL = {"others": 0}, {"others": "most"}
# What is measured for each safe pair: title, the measurement's name, which of its runs, which of its numbers.
BY_PAIR = [
    ("unmap 1 page and its tables, alone", "unmap_page", ALONE, "time"),
    ("unmap 1 page and its tables, all other CPUs in the space", "unmap_page", ALL, "time"),
    ("unmap 512 pages, all other CPUs in the space", "unmap_512", ALL, "time"),
    ("protect 1 page, all other CPUs in the space", "protect_page", ALL, "time"),
    ("map, touch, unmap in a loop, deferred work included: per second", "map_touch_unmap", {}, "rate"),
    ("most table pages held while one CPU unmaps in a loop", "pages_held", {"stolen_us": 0, "others": 0}, "time"),
]
# What the boot under ACCEL=icount counts for each policy.
COUNTED = [("lockless walk, undisturbed", "walk", {}), ("unmap 1 page and its tables, alone", "unmap_page", ALONE)]
EXPECTED = {"safe": "clean", "unsafe": "violated"}
INSTRUCTIONS = "instructions"
FEWEST = 5  # samples, below which a figure is marked
FEW_MARK = "?"


def has_policy(item):
    return item.get("table_free") not in (None, "", "-")


def pair_of(item):
    return item["table_free"], item["tlb_flush"]


def select(bench, name, want, **more):
    """The one measurement that fits; None if there is none. "most" stands for the largest value with which any pair was
    measured under this name: a pair that lacks that measurement has no figure, rather than one with fewer CPUs."""
    named = [b for b in bench if b["name"] == name]
    fitting = [b for b in named if all(b.get(k) == v for k, v in more.items())]
    for key, value in want.items():
        if value == "most":
            value = max((b.get(key) or 0 for b in named), default=0)
        fitting = [b for b in fitting if b.get(key) == value]
    return fitting[0] if fitting else None


def few(b, of="n"):
    """The mark of a figure with too few samples."""
    return FEW_MARK if b.get(of, FEWEST) < FEWEST else ""


def timed_by(bench, build):
    return [b for b in bench if b.get("build") == build]


def names(pairs):
    return ", ".join(" + ".join(pair) for pair in pairs)


def of_icount(run):
    """Is it the boot with one CPU whose clock counts instructions?"""
    return any(b.get("unit") == INSTRUCTIONS and b.get("cpus") == 1 for b in run.bench)


class Comparison:
    def __init__(self, runs, timed=True):
        """timed: times were to be measured. Raises results.Broken where there is nothing to compare."""
        self.verdicts = [v for run in runs for v in run.verdicts]
        others = [run for run in runs if not of_icount(run)]
        if timed and not any(run.bench for run in others):  # SMP=1 ACCEL=icount: all of it is counted
            others = runs
        self.timed, self.bench = timed, [b for run in others for b in run.bench if timed]
        self.counted = timed_by([b for run in runs if of_icount(run) for b in run.bench], "release")
        if not self.verdicts or timed and not self.bench:
            raise results.Broken(f"{len(self.verdicts)} VERDICT and {len(self.bench)} BENCH lines: nothing to compare")
        self.claims = {pair_of(v): v["claimed"] for v in self.verdicts}
        self.unsafe = [pair for pair, claimed in self.claims.items() if claimed == "unsafe"]
        self.unit = next((b["unit"] for b in self.bench if b.get("unit") in ("cycles", INSTRUCTIONS)), "cycles")
        self.most = max((b.get("others") or 0 for b in self.bench), default=0)
        said = timed_by(self.bench, "release") or self.bench or [run.header for run in others if run.verdicts]
        self.cpus = max(each.get("cpus", 2) for each in said)

    def axes(self, items):
        """Policies, those with the most unsafe pairs (the control) first, and last the floor, which frees nothing;
        back-ends, those with the fewest unsafe pairs first."""
        policies = dict.fromkeys(i["table_free"] for i in items if has_policy(i))
        flushes = dict.fromkeys(i["tlb_flush"] for i in items if has_policy(i))
        floors = axes.floors()
        return (sorted(policies, key=lambda policy: (policy in floors, -sum(policy == p for p, _ in self.unsafe))),
                sorted(flushes, key=lambda flush: sum(flush == f for _, f in self.unsafe)))

    def wrong(self):
        """The verdicts that do not confirm what is claimed."""
        return [v for v in self.verdicts if v["found"] != EXPECTED[v["claimed"]]]

    def gaps(self):
        """What the comparison lacks. It is complete if each policy that occurs anywhere is judged with each such
        back-end, and one of these policies is an unsafe control; if each safe pair has all times; and, where
        instructions were counted, all counts."""
        policies, flushes = self.axes(self.verdicts + [b for b in self.bench if b.get("tlb_flush") != "-"])
        unjudged = [pair for pair in itertools.product(policies, flushes) if pair not in self.claims]
        safe = [pair for pair, claimed in self.claims.items() if claimed == "safe"]
        if unjudged:
            yield f"no verdict on {names(unjudged)}"
        if not safe:
            yield "no safe pair was judged"
        if not any(all(self.claims.get((policy, flush)) == "unsafe" for flush in flushes) for policy in policies):
            yield "no policy is unsafe with each back-end: \"clean\" means nothing without that control"
        for title, name, want, _ in BY_PAIR if self.timed else ():
            if self.most or want is not ALL:
                yield from self.lacking(self.bench, safe, name, want, title)
        if self.counted:
            flush = next((b["tlb_flush"] for b in self.counted if has_policy(b)), None)
            for title, name, want in COUNTED:
                pairs = [pair for pair in safe if pair[1] == flush]
                yield from self.lacking(self.counted, pairs, name, want, f"{title}, in instructions")

    @staticmethod
    def lacking(bench, pairs, name, want, title):
        unmeasured = [pair for pair in pairs if not select(bench, name, want, table_free=pair[0], tlb_flush=pair[1])]
        if unmeasured:
            yield f"no figure of {names(unmeasured)}: {title}"

    def conclusion(self):
        """(exit status, the lines that say it). With one CPU no walk meets a free: inconclusive is right then."""
        if gaps := [f"incomplete: {gap}" for gap in self.gaps()]:
            return 1, gaps
        wrong, alone = self.wrong(), self.cpus == 1
        lines = [f"{names([pair_of(v)])} is claimed {v['claimed']} and was found {v['found']}" for v in wrong]
        if not wrong:
            return 0, ["Every claim was confirmed: the safe pairs are clean, the unsafe ones were caught."]
        if alone and all(v["found"] == "inconclusive" for v in wrong):
            return 0, ["No claim can be judged with one CPU, where no walk meets a free: each is inconclusive."]
        return 1, lines + [f"NOT CONFIRMED: {len(wrong)} of {len(self.verdicts)} claims, named above."]
