# SPDX-License-Identifier: MIT
"""What was measured, as the plots ask for it: one line or one whole distribution of a benchmark's case, from all runs
put together, for the number of CPUs that the page is about."""
import copy

import results
import stats
import table
from pictures import style


def counted(item):
    """Whether it is the instructions of a path and of nothing else: with more CPUs, all of theirs count together."""
    return item.get("unit") == "instructions" and item.get("cpus") == 1


def exactly(found):
    """What results.instructions_of() has found, with all digits."""
    count, usual = found
    return "–" if count is None else f"{count:,}" if usual else f"≥ {count:,}"


class Data:
    def __init__(self, runs):
        self.runs = runs
        self.bench, self.hist = {}, {}
        for run in runs:
            for item in run.bench:
                self.bench.setdefault(results.identity(item), []).append(item)
            for item in run.hist:
                self.hist.setdefault(results.identity(item), []).append(item)
        self.items = [self.middle(items) for items in self.bench.values()]
        self.counted = [i for i in self.items if counted(i)]
        # What paths are timed in. Instructions only where nothing else is there: they are no cycles.
        self.unit = "cycles" if any(i.get("unit") in ("cycles", None) for i in self.items) else "instructions"
        self.items = [i for i in self.items if i.get("unit") != "instructions"
                      or (self.unit == "instructions" and not counted(i))]
        self.verdicts = self.judge()
        self.host_cpus = min((r.header["host_cpus"] for r in runs if r.header.get("host_cpus")), default=None)
        self.cpus = self.main_cpus()
        pairs = [i for i in self.items + self.counted if table.has_policy(i)] + [dict(zip(("table_free", "tlb_flush"), pair))
                                                                  for pair in self.verdicts]
        self.policies = style.in_order({i["table_free"] for i in pairs})
        self.backends = style.in_order({i["tlb_flush"] for i in pairs}, style.BACKEND_LOOKS)
        # Alone in a space the back-ends do nothing, so one stands for all where a figure depends on the policy.
        self.flush = "ipi" if "ipi" in self.backends else next(iter(self.backends), "ipi")

    @staticmethod
    def middle(items):
        """Of several measurements of the same case: the one with the middle median."""
        return sorted(items, key=lambda i: i.get("median") or 0)[(len(items) - 1) // 2]

    def judge(self):
        """{pair: (claimed, found, sums)}: a violation anywhere counts; otherwise clean, if any run with company said so."""
        found = {}
        for run in self.runs:
            for v in run.verdicts:
                found.setdefault((v["table_free"], v["tlb_flush"]), []).append(v)
        rank = {"violated": 0, "clean": 1, "inconclusive": 2}
        return {pair: min(some, key=lambda v: rank.get(v["found"], 3)) for pair, some in found.items()}

    def cpu_counts(self, name=None):
        """With how many CPUs that benchmark, or any, was measured."""
        return sorted({i.get("cpus") or 1 for i in self.items if name in (None, i["name"])})

    def main_cpus(self):
        """The most CPUs for which the host has as many; if it is not known, the fewest that are not alone."""
        counts = self.cpu_counts("unmap_page") or self.cpu_counts() or [1]
        several = [n for n in counts if n > 1] or counts
        fitting = [n for n in several if self.host_cpus and n <= self.host_cpus]
        return max(fitting) if fitting else min(several)

    def overcommitted(self):
        """Why, for each kind of run that was: the CPUs of its guest had to wait for somebody."""
        reasons = [run.header["overcommitted"] for run in self.runs if run.header.get("overcommitted")]
        return sorted({text if isinstance(text, str) else "more vCPUs than host CPUs" for text in reasons})

    def emulated(self):
        return any("tcg" in (run.header.get("accel"), run.header.get("hypervisor")) for run in self.runs)

    def select(self, name, **want):
        """Every case of that benchmark that fits, at the page's number of CPUs if none is named."""
        want.setdefault("cpus", self.cpus)
        return [i for i in self.items if i["name"] == name and all(i.get(k) == v for k, v in want.items())]

    def one(self, name, **want):
        """The one case that fits, or None. Which build has measured it is no matter."""
        return next(iter(self.select(name, **want)), None)

    def median(self, name, **want):
        item = self.one(name, **want)
        return item.get("median") if item else None

    def instructions(self, name, **want):
        """results.instructions_of() the one case that fits, alone in its space; (None, False) where it was not counted."""
        want = {"others": 0, "walkers": 0, "remote": 0} | want
        item = next((i for i in self.counted if i["name"] == name and all(i.get(k) == v for k, v in want.items())), None)
        return results.instructions_of(item) if item else (None, False)

    def most_others(self, name, **want):
        return max((i.get("others") or 0 for i in self.select(name, **want)), default=0)

    def distribution(self, name, **want):
        """The whole distribution of the one case that fits, of all runs together; None if no run has sent it."""
        item = self.one(name, **want)
        lines = self.hist.get(results.identity(item)) if item else None
        return stats.distribution(lines) if lines else None

    def at(self, cpus):
        """The same with another number of CPUs."""
        other = copy.copy(self)
        other.cpus = cpus
        return other

    def command(self, *benches, keys="", seconds=20):
        """A line that measures it again."""
        accels = {r.header["accel"] for r in self.runs if r.header.get("accel")}
        accel = next(iter(sorted(accels - {"icount"}) or accels), "tcg")
        more = "" if accel == "tcg" else f" ACCEL={accel}"
        cmdline = f"mode=bench bench={','.join(benches)} seconds={seconds}{keys}"
        return f'make bench SMP={self.cpus}{more} CMDLINE="{cmdline}"'
