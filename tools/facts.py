# SPDX-License-Identifier: MIT
"""What the expressions of tools/findings_template.md are made of: facts from the data, and how they are written."""
import math
import textwrap

import axes
from pictures import article, words
from pictures.matrix_table import sign

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


class Lacking(ValueError):
    """What was not measured; the text says so."""


class Facts:
    """`policies` are all but the unsafe control, which nobody would choose. Where no back-end is named it is `ipi`."""

    def __init__(self, data):
        self.data = data
        self.policies, self.backends = article.safe(data), data.backends
        self.pairs = {kind: [pair for pair in data.verdicts if sign(data, *pair)[3] == kind]
                      for kind in ("good", "bad", "open", "wrong")}
        self.headers = [run.header for run in data.runs]

    def header(self, key):
        """What all runs agree on."""
        found = {h[key] for h in self.headers if h.get(key) not in (None, "")}
        if len(found) != 1:
            raise Lacking(f"the runs have {len(found)} values of {key}: {found}")
        return found.pop()

    def used_by_others(self):
        """CPUs of the host, in the boot that the times are from."""
        return next(h["host_used_by_others"] for h in self.headers if h.get("cpus") == self.data.cpus and
                    "mode=bench" in h["cmdline"].split() and " bench=" not in h["cmdline"])

    def date(self):
        return min(h["date"] for h in self.headers if h.get("date"))[:10]

    def figure(self, name):
        d = next(d for d in (draw(self.data) for draw in article.FIGURES) if d and d.name == name)
        dark = f'<source media="(prefers-color-scheme: dark)" srcset="img/{name}-dark.svg">'
        image = f'<img src="img/{name}.svg" width="{d.width}" alt="{d.describe.split(". ")[0]}."></picture>'
        return f"<picture>\n{dark}\n{textwrap.fill(image, 120)}"

    # ---- Verdicts ---------------------------------------------------------------------------------------------------

    def sum_of(self, kind, *keys):
        return sum(self.data.verdicts[pair][key] for pair in self.pairs[kind] for key in keys)

    def freed(self, kind):
        return self.sum_of(kind, "frees_l1", "frees_l2", "frees_l3")

    def safe_with(self, flush):
        return [p for p in self.data.policies if (p, flush) in self.pairs["good"]]

    def unsafe_with(self, flush):
        return [p for p in self.data.policies if (p, flush) in self.pairs["bad"]]

    def own_wait(self):
        return [p for p in self.policies if axes.policies()[p].fields["waits"] == "WAIT_OWN"]

    def interrupts_on(self):
        return [p for p in self.policies if axes.policies()[p].fields["walker"] != "WALKER_IRQS_OFF"]

    # ---- What a path costs ------------------------------------------------------------------------------------------

    def instructions(self, name, policy="-", pages=None):
        count, exact = self.data.instructions(name, table_free=policy, tlb_flush="-" if policy == "-" else "ipi",
                                              **{"pages": pages} if pages else {})
        if not exact:
            raise Lacking(f"no exact instructions of {name} under {policy}")
        return count

    def exact(self, name, pages=None):
        """{policy: instructions}"""
        return {p: self.instructions(name, p, pages) for p in self.policies}

    def cycles(self, name, policy="-", **want):
        found = self.data.median(name, table_free=policy, tlb_flush="-" if policy == "-" else "ipi", **want)
        if found is None:
            raise Lacking(f"no cycles of {name} under {policy}, {want}")
        return found

    def timed(self, name, **want):
        """{policy: cycles}"""
        return {p: self.cycles(name, p, **want) for p in self.policies}

    def batch(self):
        return max(i["pages"] for i in self.data.select(f"walk_{article.BATCH}"))

    def of_batch(self, by_policy):
        """For each page."""
        return {p: n / self.batch() for p, n in by_policy.items()}

    def alone(self):
        return self.timed("unmap_page", others=0)

    def shootdown(self):
        """{policy: what other CPUs in the space add to an unmap}"""
        shared = self.timed("unmap_page", others=self.data.most_others("unmap_page"))
        return {p: shared[p] - n for p, n in self.alone().items()}

    def round_trip(self, policy):
        """Instructions of a map, touch and unmap with all deferred work, and the wait for it, in them: at one CPU the
        clock counts instructions, a nanosecond each."""
        item = next(i for i in self.data.counted if (i["name"], i["table_free"], i["tlb_flush"]) ==
                    ("map_touch_unmap", policy, "ipi"))
        return round(1e9 / item["ops_per_sec"])

    # ---- While a vCPU is preempted ----------------------------------------------------------------------------------

    def cases(self, name, policy, flush):
        """{milliseconds: case}"""
        if not (found := article.by_length(self.data, name, (policy, flush))):
            raise Lacking(f"no {name} of {policy} with {flush}")
        return found

    def samples(self, policy, flush):
        """Of each length."""
        return [i["n"] for i in self.cases(article.WAITS, policy, flush).values()]

    def waiting(self, flush):
        """Policies under which no first unmap returned before the CPU was back, however long it was away."""
        return [p for p in self.data.policies
                if not any(i["early"] for i in self.cases(article.WAITS, p, flush).values())]

    def returning(self, flush):
        """Those under which each did."""
        return [p for p in self.data.policies
                if all(i["early"] == i["n"] for i in self.cases(article.WAITS, p, flush).values())]

    def longest(self, policy, flush, ms):
        return self.cases(article.LONGEST, policy, flush)[ms]["median"]

    def held(self, policy, flush, ms):
        return self.cases(article.HELD, policy, flush)[ms]["median"]

    def most_held(self, policy, flush):
        return max(i["max"] for i in self.cases(article.HELD, policy, flush).values())

    def bound(self):
        return next(iter(self.cases(article.HELD, *article.RCU).values()))["pending_max"]

    def away(self, ms):
        """A length that was measured."""
        return words.time(ms * 1e6 if ms in self.cases(article.WAITS, *article.RCU) else None)

    # ---- Interrupts -------------------------------------------------------------------------------------------------

    def interrupts(self, *flushes):
        """Neither its tick's nor its scheduler's, that a bystander takes for an unmap: [of each policy]."""
        return [max(0, i["ipis"] - i["resched"] - i["called"]) / i["ops"] for flush in flushes
                for i in self.data.select("bystander", tlb_flush=flush) if i.get("ops")]

    def lost(self, *flushes):
        """Per cent of its time: [of each policy]."""
        return [i["lost_ppm"] / 1e4 for flush in flushes for i in self.data.select("bystander", tlb_flush=flush)]

    def with_most_cpus(self, name):
        return self.data.at(max(self.data.cpu_counts(name))).select(name)

    def ipis(self, name, walkers=0):
        """For an unmap, among so many that walk: [of each policy]."""
        some = [i for i in self.with_most_cpus(name) if i["walkers"] == walkers]
        if not some:
            raise Lacking(f"no {name} with {walkers} walkers")
        return [i["ipi_flush_per_1000"] / 1000 for i in some]

    def most_walkers(self):
        return max(i["walkers"] for i in self.with_most_cpus("scale_walkers"))


# ---- As text --------------------------------------------------------------------------------------------------------

def least(by_name):
    return min(by_name, key=by_name.get)


def most(by_name):
    return max(by_name, key=by_name.get)


def values(some):
    return list(some.values()) if isinstance(some, dict) else list(some)


def ratio(some):
    """The largest over the least."""
    return max(values(some)) / min(values(some))


def apart(some):
    return max(values(some)) - min(values(some))


def without(by_name, name):
    return {n: value for n, value in by_name.items() if n != name}


def big(number):
    """With as many digits as anybody reads."""
    if number >= 1e6:
        return f"{number / 1e6:.1f} million"
    return f"{number:,.0f}" if number < 10_000 else f"{round(number, 2 - int(math.log10(number))):,.0f}"


def spread(some, text=big):
    """From the least to the largest."""
    low, high = text(min(values(some))), text(max(values(some)))
    return low if low == high else f"{low} to {high}"


def word(n):
    """A small number as a word."""
    return NUMBERS[n] if 0 < n < len(NUMBERS) else f"{n:,}"


def codes(names, last="and"):
    return words.listed([f"`{name}`" for name in names], last)


def whole(number):
    return f"{number:,.0f}"


def tenths(number):
    return f"{number:,.1f}"


def hundredths(number):
    return f"{number:,.2f}"


def percent(number):
    return f"{number:.1f} %" if number < 9.95 else f"{number:.0f} %"


TEXTS = {f.__name__: f for f in (least, most, ratio, apart, without, spread, word, codes, whole, tenths, hundredths,
                                 percent)} | {"time": words.time}


def namespace(*sources):
    """(the names of facts, all names)"""
    found = {name: getattr(facts, name) for facts in sources for name in dir(facts) if not name.startswith("_")}
    return set(found), found | TEXTS
