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


# Per cent of a fast walk that an early form of `targeted` cost in Linux, which was dropped for it (20260202074557.16544-1).
DROPPED_FOR = 3
SYNC_IPI, GRACE_PERIOD, POLL = "ipi_sync_per_1000", "rcu_waits_per_1000", "free_polled_per_1000"


class Facts:
    """`policies` are those that free tables, but for the unsafe control, which nobody would choose; `floors` keep them.
    Where no back-end is named it is `ipi`."""

    def __init__(self, data):
        self.data = data
        self.floors = [p for p in article.safe(data) if p in axes.floors()]
        self.policies = [p for p in article.safe(data) if p not in self.floors]
        self.backends = data.backends
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
        """Those that do not rely on the flush, or only as far as it has proved something."""
        return [p for p in self.data.policies if axes.policies()[p].fields["waits"] != "WAIT_FLUSH"]

    def waiting_for_the_rest(self):
        return [p for p in self.data.policies if axes.policies()[p].fields["waits"] == "WAIT_REST"]

    def flush_at_once(self):
        """Those that act before the flush, so that none is deferred."""
        return [p for p in self.data.policies if "begin" in axes.policies()[p].fields]

    def interrupts_on(self):
        return [p for p in self.policies if axes.policies()[p].fields["walker"] != "WALKER_IRQS_OFF"]

    def price(self, by_policy):
        """{policy: per cent over the cheapest of these}"""
        return {p: 100 * (n / min(by_policy.values()) - 1) for p, n in by_policy.items()}

    def dropped_for(self):
        return f"{DROPPED_FOR} %"

    def priced(self, counts, times):
        """As text: of each such policy, in instructions and in cycles."""
        more = self.price(counts), self.price(times)
        return words.listed([f"{more[0][p]:.0f} % of its instructions and {more[1][p]:.0f} % of its cycles under `{p}`"
                             for p in self.saying_where()])

    def saying_where(self):
        """Policies whose walkers publish where they are, and so pay for each walk: they do something on entry and are no
        part of the flush's targets."""
        return [p for p in self.policies if axes.policies()[p].fields.get("enter", "NULL") != "NULL"
                and axes.policies()[p].fields.get("walkers_are_targets") != "true"]

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

    # ---- Reuse, and what is waited for ------------------------------------------------------------------------------

    def measured(self, *names):
        return all(self.data.select(name) for name in names)

    def reuses(self, walkers=True):
        """{policy: the case}: the wait before a table is reused while all other CPUs walk, or nobody does."""
        some = self.data.select("table_wait", tlb_flush="ipi")
        most = max((i["walkers"] for i in some), default=0) if walkers else 0
        return {i["table_free"]: i for i in some if i["walkers"] == most and i["table_free"] in self.policies + self.floors}

    def waiting_by(self, means):
        """Those that wait by this means before a reuse, by its counter; what they do most is what they are called by."""
        def of(item):
            return max((SYNC_IPI, GRACE_PERIOD, POLL), key=lambda key: item.get(key, 0))

        cases = self.reuses()
        return [p for p in self.policies + self.floors if p in cases and cases[p].get(means) and of(cases[p]) == means]

    def by_sync_ipi(self):
        return self.waiting_by(SYNC_IPI)

    def by_grace_period(self):
        return self.waiting_by(GRACE_PERIOD)

    def by_poll(self):
        return self.waiting_by(POLL)

    def reuse(self, policies, walkers=True, key="median"):
        """{policy: cycles}"""
        found = self.reuses(walkers)
        return {p: found[p][key] for p in policies if found[p].get(key) is not None}

    def collapse(self, policies):
        most = self.data.most_others("collapse")
        return {p: self.cycles("collapse", p, others=most) for p in policies}

    def reuse_while_away(self, walks):
        """{policy: ns} while a vCPU is preempted, in a walk or outside any."""
        return {i["table_free"]: i["median"] for i in self.data.select("wait_stolen", walkers=int(walks))
                if i["table_free"] in self.policies + self.floors}

    def absence(self):
        return max(i["stolen_us"] for i in self.data.select("wait_stolen")) * 1000

    def sitting_out(self, walks):
        """Those that wait until it is back."""
        times = self.reuse_while_away(walks)
        return [p for p in self.policies + self.floors if times.get(p, 0) > self.absence() / 2]

    def walked(self, policy, flush, remote=0):
        """The unmap while all other CPUs walk."""
        if not (item := self.data.one("unmap_walked", table_free=policy, tlb_flush=flush, remote=remote)):
            raise Lacking(f"no unmap_walked of {policy} with {flush}")
        return item

    def awaited(self, policy, flush, remote=0):
        """Walkers waited for by the policy's own means, for an unmap."""
        return self.walked(policy, flush, remote)["walkers_awaited_per_1000"] / 1000

    def redundant(self, policy, flush):
        """Per cent of them that the flush had proved; None where nobody is waited for."""
        item = self.walked(policy, flush)
        awaited = item["walkers_awaited_per_1000"]
        return 100 * item["walkers_proved_per_1000"] / awaited if awaited else None

    def waits_row(self, flush, remote=0):
        """Of the table: how many `targeted` waits for, which share of them in vain, how many `auto`; IPIs of each."""
        vain = self.redundant("targeted", flush) if not remote else None
        ipis = [self.walked(p, flush, remote) for p in ("targeted", "auto", "rcu")]
        cells = [f"{self.awaited('targeted', flush, remote):.2f}", "–" if vain is None else f"{vain:.0f} %",
                 f"{self.awaited('auto', flush, remote):.2f}", *(f"{i['ipis_per_1000'] / 1000:.2f}" for i in ipis)]
        return " | ".join(cells)

    def waits_table(self):
        """A row for each back-end and kind of walker."""
        rows = [f"| `{flush}`, {where} | {self.waits_row(flush, remote)} |" for flush in self.backends
                for where, remote in (("loaded", 0), ("not loaded", 1))]
        return "\n".join(rows)

    def awaited_away(self, policy, flush, walks):
        """The same for a single unmap while a vCPU is preempted, in a walk or outside any."""
        some = [i for i in self.data.select("until_unmapped", table_free=policy, tlb_flush=flush, walkers=int(walks))
                if i["stolen_us"]]
        if not some:
            raise Lacking(f"no until_unmapped of {policy} with {flush} while a vCPU is preempted")
        return some[0]["walkers_awaited_per_1000"] / 1000

    # ---- A table's life ---------------------------------------------------------------------------------------------

    def life(self, policy, away=False, name="until_free"):
        """Nanoseconds from the begin of an unmap until its table is FREE while another CPU walks, or is preempted in its
        walk."""
        some = [i for i in self.data.select(name, table_free=policy, tlb_flush="ipi", walkers=1)
                if bool(i["stolen_us"]) == away]
        if not some:
            raise Lacking(f"no {name} of {policy}")
        return some[0]["median"]

    def lives(self, away=False):
        return {p: self.life(p, away) for p in self.policies}

    def after_unmap(self, policy, away=False):
        """What is left of it when the unmap returns."""
        return max(0, self.life(policy, away) - self.life(policy, away, "until_unmapped"))

    def in_flush(self, policy, away=False):
        """Per cent of it that pass in the unmap."""
        return 100 * self.life(policy, away, "until_unmapped") / self.life(policy, away)

    def most_held_in_loop(self, policy):
        return self.data.median("pages_held", table_free=policy, tlb_flush="ipi", stolen_us=0, others=0, walkers=0)

    def held_table(self):
        """Bytes times time for each policy: of a table, and of all that it holds at most."""
        rows = []
        for p in self.policies:
            ms, pages = self.life(p) / 1e6, self.most_held_in_loop(p)
            rows.append(f"| `{p}` | {words.time(self.life(p))} | {4 * ms:,.1f} | {pages:,} | {4 * ms * pages:,.0f} |")
        return "\n".join(rows)

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
        return [max(0, i["ipis"] - i["resched"] - i["called"]) / i["ops"] for i in self.bystanders(*flushes)
                if i.get("ops")]

    def bystanders(self, *flushes):
        """Without those under which a back-end that defers cannot do so."""
        return [i for flush in flushes for i in self.data.select("bystander", tlb_flush=flush)
                if "defer" not in axes.backends()[flush].fields or i["table_free"] not in self.flush_at_once()]

    def lost(self, *flushes):
        """Per cent of its time: [of each policy]."""
        return [i["lost_ppm"] / 1e4 for i in self.bystanders(*flushes)]

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


def but(names):
    """An exception in a sentence, if there is one."""
    return f", except under {codes(names)}" if names else ""


def whole(number):
    return f"{number:,.0f}"


def tenths(number):
    return f"{number:,.1f}"


def hundredths(number):
    return f"{number:,.2f}"


def percent(number):
    return f"{number:.1f} %" if number < 9.95 else f"{number:.0f} %"


TEXTS = {f.__name__: f for f in (but, least, most, ratio, apart, without, spread, word, codes, whole, tenths, hundredths,
                                 percent)} | {"time": words.time}


def namespace(*sources):
    """(the names of facts, all names)"""
    found = {name: getattr(facts, name) for facts in sources for name in dir(facts) if not name.startswith("_")}
    return set(found), found | TEXTS
