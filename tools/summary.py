# SPDX-License-Identifier: MIT
"""The last screen of make run: one table of at most 15 lines and 120 columns, a row for each policy.

Its figures are medians under the default back-end. A dash: not measured. A figure of few samples, or of an unsafe pair,
has a mark."""
import axes
import results
from comparison import ALL, ALONE, EXPECTED, FEW_MARK, FEWEST, INSTRUCTIONS, few, pair_of, select

FLUSH = "ipi"    # the back-end of all columns that name none
THEFT_US = 10_000
SYNC_MARK, UNSAFE_MARK = "*", "!"
NONE = "-"
SAFE_WIDTH = 14  # of the column of back-ends
# Who is interrupted, by which of bystander, bystander_lazy and bystander_elsewhere are. Sharers run in the space;
# holders are sharers and CPUs that hold it in lazy TLB mode.
INTERRUPTED = {(False, False, False): "nobody", (True, False, False): "sharers", (True, True, False): "holders",
               (False, True, False): "lazy CPUs", (True, True, True): "all CPUs"}


def digits(value):
    """A number with three digits."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def count(value):
    """At most six characters."""
    if value < 100_000:
        return f"{value:,.0f}"
    for limit, unit, factor in ((999.5e3, "k", 1e3), (999.5e6, "M", 1e6)):
        if value < limit:
            return digits(value / factor) + unit
    return f"{digits(value / 1e9)}G"


def time(ns):
    """Three digits and the unit."""
    for limit, unit, factor in ((999.5, "ns", 1), (999.5e3, "us", 1e3), (999.5e6, "ms", 1e6)):
        if ns < limit:
            return f"{digits(ns / factor)} {unit}"
    return f"{digits(ns / 1e9)} s"


def listed(flushes, of):
    """Some of the back-ends in few characters."""
    if not flushes or len(flushes) == len(of):
        return "all" if flushes else "none"
    texts = ", ".join(flushes), "all but " + ", ".join(flush for flush in of if flush not in flushes)
    return min(texts, key=len)


def safe_with(c, policy):
    """The back-ends with which the policy is claimed to be safe and was found clean. If a finding contradicts its
    claim, the cell says only that."""
    _, flushes = c.axes(c.verdicts)
    found = {v["tlb_flush"]: v for v in c.verdicts if v["table_free"] == policy}
    for kind, judged_so in (("WRONG", lambda v: v["found"] != "inconclusive"), ("UNPROVEN", lambda v: True)):
        wrong = [flush for flush, v in found.items() if v["found"] != EXPECTED[v["claimed"]] and judged_so(v)]
        if wrong:
            text = f"{kind}: {', '.join(wrong)}"
            return text if len(text) <= SAFE_WIDTH else f"{kind}: {len(wrong)}"
    clean = [flush for flush in flushes if flush in found and found[flush]["claimed"] == "safe"]
    return listed(clean, [flush for flush in flushes if flush in found]) if found else NONE


def figure(c, b, show):
    """One cell: show(b), with its marks."""
    if not b:
        return NONE
    return show(b) + (UNSAFE_MARK if pair_of(b) in c.unsafe else "") + few(b)


def in_unit(b, unit):
    return b if b and b.get("unit", "cycles") == unit else None


def cycles(name, want):
    """A column of medians: cycles are the only unit that it may have."""
    def cell(c, policy):
        b = select(c.bench, name, want, table_free=policy, tlb_flush=FLUSH)
        return figure(c, in_unit(b, "cycles"), lambda b: count(b["median"]))

    return cell


def exactly(b):
    """The count that most samples have, because a median comes from buckets; if there is none, the least."""
    number, usual = results.instructions_of(b)
    return count(number) if usual else f">={count(number)}"


def instructions(name, want):
    def cell(c, policy):
        b = select(c.counted, name, want, table_free=policy, tlb_flush=FLUSH)
        return figure(c, in_unit(b, INSTRUCTIONS), exactly)

    return cell


def shared(c, policy):
    return cycles("unmap_page", ALL)(c, policy) if c.most else NONE


def interrupted(c, policy):
    """Whom more than half of the unmaps interrupt, as bystanders have counted; and whether a collapse interrupts all
    CPUs, as its counters say."""
    found = [select(c.bench, name, {"others": 1}, table_free=policy, tlb_flush=FLUSH)
             for name in ("bystander", "bystander_lazy", "bystander_elsewhere")]
    if not all(b and b.get("ops") for b in found):
        return NONE
    hit = tuple(2 * b["ipis"] > b["ops"] for b in found)
    collapse = select(c.bench, "collapse", ALONE, table_free=policy, tlb_flush=FLUSH)
    syncs = collapse and collapse.get("ipi_sync_per_1000", 0) > 500
    return INTERRUPTED.get(hit, "see tables") + SYNC_MARK * bool(syncs) + max(few(b, "ops") for b in found)


def held(c, policy):
    b = select(c.bench, "pages_held", {"stolen_us": 0, "others": 0}, table_free=policy, tlb_flush=FLUSH)
    return figure(c, b, lambda b: count(b["median"]))


def preempted(flush):
    def cell(c, policy):
        b = select(c.bench, "unmap_stolen", {"stolen_us": THEFT_US, "others": 1}, table_free=policy, tlb_flush=flush)
        return figure(c, b, lambda b: time(b["median"]))

    return cell


def rate(c, policy):
    b = select(c.bench, "map_touch_unmap", {}, table_free=policy, tlb_flush=FLUSH)
    return figure(c, b if b and b.get("ops_per_sec") else None, lambda b: count(b["ops_per_sec"]))


# Groups of columns: the title above the group; the heading and the cell of each column.
GROUPS = [
    ("", [("policy", lambda c, policy: policy)]),
    ("found safe", [("with", safe_with)]),
    ("walk", [("cycles", cycles("walk", {})), ("instr", instructions("walk", {}))]),
    ("unmap alone", [("cycles", cycles("unmap_page", ALONE)), ("instr", instructions("unmap_page", ALONE))]),
    ("shared", [("cycles", shared)]),
    ("unmap", [("hits", interrupted)]),
    ("held", [("pages", held)]),
    ("reuse", [("waits", cycles("table_wait", {"walkers": "most"}))]),
    ("preempted 10 ms", [("ipi", preempted("ipi")), ("pv", preempted("pv"))]),
    ("map to", [("unmap/s", rate)]),
]
LEFT = 2  # groups that are aligned to the left; the others are aligned to the right


def level(cells):
    """If any cell has a mark, those without one get a space in its place, so that the digits are aligned."""
    marks = SYNC_MARK, FEW_MARK, UNSAFE_MARK
    if not any(text.endswith(marks) for text in cells):
        return cells
    return [text if text.endswith(marks) else text + " " for text in cells]


def block(c, policies, group):
    """The lines of one group, all of one width."""
    over, columns = GROUPS[group]
    align = str.ljust if group < LEFT else str.rjust
    cells = [[heading] + level([cell(c, policy) for policy in policies]) for heading, cell in columns]
    widths = [max(map(len, column)) for column in cells]
    rows = [" ".join(align(text, width) for text, width in zip(row, widths)) for row in zip(*cells)]
    width = max(len(over), len(rows[0]))
    return [align(text, width) for text in [over] + rows]


def legend(c, text):
    """The meaning of the marks that occur in the text."""
    marks = ((SYNC_MARK, "collapse: all CPUs"), (FEW_MARK, f"n < {FEWEST}"), (UNSAFE_MARK, "unsafe pair"),
             (f" {NONE}", "not measured"))
    floors = [policy for policy in c.axes(c.verdicts + c.bench)[0] if policy in axes.floors()]
    return "; ".join([f"tlb_flush={FLUSH}, SMP={c.cpus}, medians", "instr: exact, SMP=1"]
                     + [f"{policy}: the floor" for policy in floors]
                     + [f"{mark.strip()}: {meaning}" for mark, meaning in marks if mark in text])


def lines(c):
    """The table, a line each."""
    policies, _ = c.axes(c.verdicts + c.bench)
    rows = ["  ".join(parts).rstrip() for parts in zip(*(block(c, policies, group) for group in range(len(GROUPS))))]
    return rows[:2] + ["-" * max(map(len, rows))] + rows[2:] + [legend(c, "\n".join(rows[2:]))]
