# SPDX-License-Identifier: MIT
"""What the kernel measured, for a person who wants all of it: a few tables, policies down and flush back-ends across.
`python3 tools/table.py < serial.log` prints them, and the last screen of make run (summary.py), from serial logs."""
import collections
import itertools
import sys

import results
import summary
from comparison import (ALL, ALONE, BY_PAIR, COUNTED, EXPECTED, FEW_MARK, FEWEST, Comparison, few, has_policy, pair_of,
                        select)

# What is measured for each policy under one back-end, the default.
BY_POLICY = [
    ("lockless walk, undisturbed", "walk", {}),
    ("  of a space that is not loaded on this CPU", "walk_remote", {}),
    ("  against an unmapper", "walk_contended", {"walkers": 1}),
    ("  against unmappers on all other CPUs", "walk_contended", {"walkers": "most"}),
    ("  of 16 pages at once", "walk_16", {}),
    ("  of 512 pages at once", "walk_512", {}),
    ("interrupts off, walking 64 pages", "irqs_off", {}),
    ("  the longest on any CPU", "irqs_off_max", {}),
    ("map 1 page and its tables", "map_page", {}),
    ("unmap 8 pages and their tables, alone", "unmap_8", ALONE),
    ("  64 pages", "unmap_64", ALONE),
    ("collapse 512 pages into one, alone", "collapse", ALONE),
    ("  all other CPUs in the space", "collapse", ALL),
    ("wait before a table is reused (as in a collapse), nobody walks", "table_wait", {"walkers": 0}),
    ("  all other CPUs walk the space", "table_wait", {"walkers": "most"}),
    ("end of a space of 64 pages", "space_exit", {}),
]
# What is measured for each back-end under one policy, the default.
BY_FLUSH = [
    ("unmap 1 page, not its tables, alone", "unmap_kept", ALONE | {"pages": 1}),
    ("  8 pages", "unmap_kept", ALONE | {"pages": 8}),
    ("  64 pages", "unmap_kept", ALONE | {"pages": 64}),
    ("  512 pages", "unmap_kept", ALONE | {"pages": 512}),
    ("unmap 1 page, not its tables, all other CPUs in the space", "unmap_kept", ALL | {"pages": 1}),
    ("  8 pages", "unmap_kept", ALL | {"pages": 8}),
    ("  64 pages", "unmap_kept", ALL | {"pages": 64}),
    ("  512 pages", "unmap_kept", ALL | {"pages": 512}),
    ("unmap 8 pages and their tables, all other CPUs in the space", "unmap_8", ALL),
    ("  64 pages", "unmap_64", ALL),
    ("collapse 512 pages into one, all other CPUs in the space", "collapse", ALL),
]
# Measurements that concern no policy.
COMMON = [
    ("a cross-CPU call that does nothing", "call_empty"),
    ("four dependent loads", "loads4"),
    ("grace period, the other CPUs idle", "grace_period"),
    ("expedited grace period", "expedited"),
    ("rcu_barrier() behind one callback", "rcu_barrier"),
]
VERDICTS = "Verdicts: tables freed under walkers, watched by the oracle"
STOLEN = """Stolen time: how long the first unmap takes while another CPU is preempted in the middle of its walks, and
the most pages held until that CPU runs again; medians"""
BYSTANDERS = """Bystanders: the share of its time that a CPU loses while another CPU unmaps (its tick and the host
included), and the IPIs that it receives for each unmap"""
AWAITED = """Walkers that the freeing side waits for by its own means, for each unmap while all other CPUs walk the
space; of these, how many the flush had proved to have ended; and IPIs of all kinds"""
LIVES = """From the begin of an unmap until its table is FREE, and how long the unmap itself takes, which is part of
that: while another CPU runs in the space or walks it, or is preempted there for so long from the begin on; medians"""
REUSES = """The wait before a table is reused, while another CPU is preempted for so long from its begin on; medians"""
HELD = """A table's life times its size, and the most bytes held in that time while one CPU unmaps in a loop"""
FEW_LEGEND = f"{FEW_MARK}: fewer than {FEWEST} samples"


def number(b, what="time"):
    if b is None or b.get("median") is None:
        return "-"
    if what == "rate":
        return f"{b['ops_per_sec']:,}{few(b)}" if b.get("ops_per_sec") else "-"
    p99 = f" / {b['p99']:,}" if b.get("p99") is not None else ""
    return f"{b['median']:,}{p99}{few(b)}"


def grid(rows):
    """Columns as wide as their widest cell; the first aligned to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [row[0].ljust(widths[0]) + "".join("  " + c.rjust(w) for c, w in zip(row[1:], widths[1:])) for row in rows]
    return [lines[0], "-" * len(lines[0])] + lines[1:]


def found_text(v):
    """In capitals if it is not clean; with an exclamation mark if it contradicts the claim."""
    text = v["found"] if v["found"] == "clean" else v["found"].upper()
    return f"{v['claimed']}: {text}" + ("" if v["found"] == EXPECTED[v["claimed"]] else " !")


def verdict_rows(c):
    judged = {pair_of(v): v for v in c.verdicts}
    policies, flushes = c.axes(c.verdicts)
    rows = [["claimed: found"] + flushes]
    for policy in policies:
        rows.append([policy] + [found_text(judged[policy, f]) if (policy, f) in judged else "-" for f in flushes])
    return rows


def verdict_sums(verdicts):
    """What the verdicts rest on, in one sentence for each claim."""
    sentences = []
    for claimed in ("unsafe", "safe"):
        some = [v for v in verdicts if v["claimed"] == claimed]
        total = {key: sum(v[key] for v in some) for key in ("violations", "walks", "fast", "frees_during_walk")}
        freed = sum(v["frees_l1"] + v["frees_l2"] + v["frees_l3"] for v in some)
        if some:
            sentences.append(f"{len(some)} {claimed} pairs: {total['violations']:,} violations in {total['walks']:,} walks, "
                             f"{100 * total['fast'] // max(1, total['walks'])} % fast; {freed:,} tables freed, "
                             f"{total['frees_during_walk']:,} of them during walks")
    return sentences


def pair_tables(c):
    """One table for each measurement of BY_PAIR; unsafe pairs are marked, and usually not timed."""
    policies, flushes = c.axes(c.bench + c.verdicts)
    for title, name, want, what in BY_PAIR:
        if want is ALL and not c.most:
            continue

        def cell(policy, flush):
            text = number(select(c.bench, name, want, table_free=policy, tlb_flush=flush), what)
            return text if (policy, flush) not in c.unsafe else "unsafe" if text == "-" else f"unsafe: {text}"

        rows = [[title] + flushes] + [[policy] + [cell(policy, flush) for flush in flushes] for policy in policies]
        if any(text not in ("-", "unsafe") for row in rows[1:] for text in row[1:]):
            yield rows


def most_common(bench, table, axis):
    """The value of this axis in most of the table's measurements: the default of that run."""
    counts = collections.Counter(b[axis] for b in bench if b["name"] in {name for _, name, _ in table} and has_policy(b))
    return counts.most_common(1)[0][0] if counts else None


def axis_rows(title, c, table, axis, others_axis):
    """One line for each measurement of the table, one column for each value of `axis`; the other axis at its
    default."""
    default = most_common(c.bench, table, others_axis)
    bench = [b for b in c.bench if b.get(others_axis) == default]
    columns = c.axes([b for b in bench if b["name"] in {name for _, name, _ in table}])[axis == "tlb_flush"]
    rows, seen = [[title] + columns], []
    alone = not any(b.get("others") for b in bench)
    for text, name, want in table:
        if alone and want.get("others") == "most":
            continue
        found = [select(bench, name, want, **{axis: column}) for column in columns]
        if any(found) and found not in seen:  # with two CPUs one other is all others
            rows.append([text] + [number(b) for b in found])
            seen.append(found)
    return rows


def price_row(c, bench, policies):
    """Of a walk: per cent over the cheapest one of a pair that is safe with the default back-end."""
    walks = {policy: select(bench, "walk", {}, table_free=policy) for policy in policies}
    costs = {policy: b.get("usual") or b["median"] for policy, b in walks.items()
             if b and (policy, summary.FLUSH) not in c.unsafe}
    return ["  over the cheapest safe one"] + [f"+{100 * costs[policy] / min(costs.values()) - 100:.1f} %"
                                               if policy in costs else "-" for policy in policies]


def policy_rows(c):
    rows = axis_rows(f"{c.unit}: median / 99th percentile", c, BY_POLICY, "table_free", "tlb_flush")
    return [rows[0]] + [more for row in rows[1:] for more in
                        ([row, price_row(c, c.bench, rows[0][1:])] if row[0] == BY_POLICY[0][0] else [row])]


def flush_rows(c):
    title = f"table_free={most_common(c.bench, BY_FLUSH, 'table_free')}"
    return axis_rows(title, c, BY_FLUSH, "tlb_flush", "table_free")


def time_text(ns):
    return f"{ns:,} ns" if ns < 1000 else f"{ns / 1e3:.0f} us" if ns < 1e6 else f"{ns / 1e6:.1f} ms"


def stolen_cell(c, policy, flush, us):
    want = {"stolen_us": us, "others": 1}
    took, held = (select(c.bench, name, want, table_free=policy, tlb_flush=flush)
                  for name in ("unmap_stolen", "pages_held"))
    text = time_text(took["median"]) + few(took) if took else "-"
    return text + (f", {held['median']:,}{few(held)}" if held else "")


def stolen_rows(c):
    """Latency of the first unmap and the most pages held, medians, by pair and by the length of the preemption."""
    stolen = [b for b in c.bench if b["name"] == "unmap_stolen"]
    lengths = sorted({b["stolen_us"] for b in stolen})
    rows = [["a CPU of the space is preempted for"] + [time_text(us * 1000) if us else "0" for us in lengths]]
    for policy, flush in itertools.product(*c.axes(stolen)):
        if select(stolen, "unmap_stolen", {}, table_free=policy, tlb_flush=flush):
            rows.append([f"{policy} + {flush}"] + [stolen_cell(c, policy, flush, us) for us in lengths])
    return rows if stolen else []


def by_pair(c, name, columns, cell, text):
    """A row for each pair with any such measurement: cell() of the cases that `columns` describe."""
    some = [b for b in c.bench if b["name"] == name]
    rows = [[text] + [title for title, _ in columns]]
    for policy, flush in itertools.product(*c.axes(some)):
        found = [select(some, name, want, table_free=policy, tlb_flush=flush) for _, want in columns]
        if any(found):
            rows.append([f"{policy} + {flush}"] + [cell(b) if b else "-" for b in found])
    return rows


def awaited_rows(c):
    """By pair, and by whether the walkers have the space loaded."""

    def cell(b):
        awaited, proved = b.get("walkers_awaited_per_1000", 0), b.get("walkers_proved_per_1000", 0)
        return f"{awaited / 1000:.2f}, {proved / 1000:.2f}; {b['ipis_per_1000'] / 1000:.2f}{few(b)}"

    columns = [("they have it loaded", {"remote": 0}), ("they do not", {"remote": 1})]
    return by_pair(c, "unmap_walked", columns, cell, "walkers")


def life_rows(c):
    """Of a table and of its unmap."""

    def cell(b):
        unmap = select(c.bench, "until_unmapped", {key: b[key] for key in ("walkers", "stolen_us")},
                       table_free=b["table_free"], tlb_flush=b["tlb_flush"])
        return time_text(b["median"]) + (f", {time_text(unmap['median'])}" if unmap else "") + few(b)

    lengths = sorted({b["stolen_us"] for b in c.bench if b["name"] == "until_free"})
    columns = [(f"{where}{f', {time_text(us * 1000)}' if us else ''}", {"walkers": walkers, "stolen_us": us})
               for us in lengths for where, walkers in (("runs", 0), ("walks", 1))]
    return by_pair(c, "until_free", columns, cell, "the other CPU")


def reuse_rows(c):
    lengths = sorted({b["stolen_us"] for b in c.bench if b["name"] == "wait_stolen"})
    columns = [(f"{where}, {time_text(us * 1000)}", {"walkers": walkers, "stolen_us": us})
               for us in lengths for where, walkers in (("outside a walk", 0), ("inside a walk", 1))]
    return by_pair(c, "wait_stolen", columns, lambda b: time_text(b["median"]) + few(b), "the other CPU")


def held_rows(c):
    """Bytes times milliseconds: of a single table, and of all that are held at most."""
    rows = [[f"with tlb_flush={summary.FLUSH}", "life of a table", "KiB x ms, a table", "most held", "KiB x ms, all"]]
    for policy in c.axes(c.bench)[0]:
        life, held = (select(c.bench, name, {"walkers": 0, "stolen_us": 0}, table_free=policy, tlb_flush=summary.FLUSH)
                      for name in ("until_free", "pages_held"))
        if life and held:
            ms = life["median"] / 1e6
            rows.append([policy, time_text(life["median"]) + few(life), f"{4 * ms:,.2f}",
                         f"{held['median']:,} pages{few(held)}", f"{4 * held['median'] * ms:,.0f}"])
    return rows


def bystander_rows(c):
    """By pair and kind of bystander: how much of its time it lost, and how many IPIs it received for each unmap."""
    kinds = [("in the space", "bystander"), ("in lazy TLB mode", "bystander_lazy"),
             ("elsewhere", "bystander_elsewhere")]
    bystanders = [b for b in c.bench if b["name"].startswith("bystander")]
    rows = [["a CPU that only reads its clock"] + [title for title, _ in kinds]]

    def cell(b):
        if not b:
            return "-"
        return f"{b['lost_ppm'] / 1e4:.1f} %" + (f", {b['ipis'] / b['ops']:.2f}{few(b, 'ops')}" if b["ops"] else "")

    pairs = [("-", "-")] + list(itertools.product(*c.axes(bystanders)))
    for policy, flush in pairs:
        found = [select(bystanders, name, {}, table_free=policy, tlb_flush=flush) for _, name in kinds]
        if any(found):
            rows.append(["nobody unmaps" if policy == "-" else f"{policy} + {flush}"]
                        + [cell(b) for b in found])
    return rows if bystanders else []


def scale_rows(bench):
    """Operations per second by the number of CPUs at work, for each policy."""
    names = [("each its own space", "scale_disjoint"), ("all one space", "scale_shared"),
             ("one unmaps, others walk", "scale_walkers"), ("  their walks", "scale_walk")]
    scale = [b for b in bench if b["name"].startswith("scale_")]
    sizes = sorted({b["others"] for b in scale})
    rows = [["operations per second; CPUs at work"] + [str(others + 1) for others in sizes]]
    for title, name in names:
        for policy in dict.fromkeys(b["table_free"] for b in scale if b["name"] == name):
            found = [select(scale, name, {"others": others}, table_free=policy) for others in sizes]
            rows.append([f"{title}: {policy}"] + [number(b, "rate") for b in found])
    return rows if scale else []


def common_rows(c):
    rows = [[title, number(select(c.bench, name, {}))] for title, name in COMMON]
    return [["independent of the policy", c.unit]] + [row for row in rows if row[1] != "-"]


def counted_rows(c):
    """What the boot with one CPU has counted: each policy's paths, exactly."""
    bench = [b for b in c.counted if b["tlb_flush"] == summary.FLUSH]
    policies, _ = c.axes(bench)
    rows = [["instructions, with one CPU"] + policies]
    for title, name, want in COUNTED:
        rows.append([title] + [number(select(bench, name, want, table_free=policy)) for policy in policies])
        rows += [price_row(c, bench, policies)] if name == "walk" else []
    return rows if bench else []


def section(rows, title="", notes=()):
    """The lines of one table."""
    lines = grid(rows)
    marked = any(text.endswith(FEW_MARK) or FEW_MARK + "," in text for row in rows[1:] for text in row[1:])
    return ([title, ""] if title else []) + lines + list(notes) + [FEW_LEGEND] * marked + [""]


def verdicts(c):
    return section(verdict_rows(c), VERDICTS, verdict_sums(c.verdicts))


def full(c):
    """The lines of all tables."""
    lines = verdicts(c)
    if c.bench:
        lines += [f"Times in {c.unit}, median / 99th percentile; policies down, flush back-ends across", ""]
    for rows in pair_tables(c):
        lines += section(rows)
    for title, rows in (("", policy_rows(c)), ("", flush_rows(c)), ("", counted_rows(c)), (STOLEN, stolen_rows(c)),
                        (AWAITED, awaited_rows(c)), (LIVES, life_rows(c)), (REUSES, reuse_rows(c)),
                        (HELD, held_rows(c)), (BYSTANDERS, bystander_rows(c)), ("", scale_rows(c.bench)), ("", common_rows(c))):
        if len(rows) > 1:
            lines += section(rows, title)
    return lines


def print_report(lines):
    """Print it all; 0, or 1 when the verdicts contradict the claims or something is missing."""
    try:
        c = Comparison(results.parse(lines))
    except results.Broken as error:
        print(f"table: {error}")
        return 1
    status, conclusion = c.conclusion()
    print("\n".join(full(c) + summary.lines(c) + [""] + conclusion))
    return status


if __name__ == "__main__":
    sys.exit(print_report([line.rstrip("\r\n") for line in sys.stdin]))
