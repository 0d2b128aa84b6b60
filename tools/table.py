# SPDX-License-Identifier: MIT
"""What the kernel measured, for a person: the VERDICT and BENCH lines of a run's serial output become a few tables, policies
down and flush back-ends across, followed by the speed targets (targets.py). Usable alone:
python3 tools/table.py < serial.log"""
import collections
import itertools
import sys

import results
import targets

ALONE, ALL = {"others": 0}, {"others": "most"}
# What depends on both axes: title, the measurement's name, which of its runs, which of its numbers.
BY_PAIR = [
    ("unmap 1 page and its tables, alone", "unmap_page", ALONE, "time"),
    ("unmap 1 page and its tables, all other CPUs in the space", "unmap_page", ALL, "time"),
    ("unmap 512 pages, all other CPUs in the space", "unmap_512", ALL, "time"),
    ("protect 1 page, all other CPUs in the space", "protect_page", ALL, "time"),
    ("map, touch, unmap, sustained, all costs included: per second", "map_touch_unmap", {}, "rate"),
    ("most table pages waiting to be freed, meanwhile", "pages_held", {"stolen_us": 0, "others": 0}, "time"),
]
# What is measured for each policy under one back-end, the default.
BY_POLICY = [
    ("lockless walk, undisturbed", "walk", {}),
    ("  of a space not loaded here", "walk_remote", {}),
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
    ("barrier behind one callback", "rcu_barrier"),
]
EXPECTED = {"safe": "clean", "unsafe": "violated"}


def has_policy(item):
    return item.get("table_free") not in (None, "", "-")


def axes(items, unsafe):
    """Policies, those with the most unsafe pairs (the control) first; back-ends, those with the fewest first."""
    policies = dict.fromkeys(i["table_free"] for i in items if has_policy(i))
    flushes = dict.fromkeys(i["tlb_flush"] for i in items if has_policy(i))
    return (sorted(policies, key=lambda policy: -sum(policy == p for p, _ in unsafe)),
            sorted(flushes, key=lambda flush: sum(flush == f for _, f in unsafe)))


def select(bench, name, want, **more):
    """The one measurement that fits; None if there is none. "most" is the most that was measured."""
    fitting = [b for b in bench if b["name"] == name and all(b.get(k) == v for k, v in more.items())]
    for key, value in want.items():
        if value == "most":
            value = max((b.get(key) or 0 for b in fitting), default=0)
        fitting = [b for b in fitting if b.get(key) == value]
    return fitting[0] if fitting else None


def number(b, what="time"):
    if b is None or b.get("median") is None:
        return "-"
    if what == "rate":
        return f"{b['ops_per_sec']:,}" if b.get("ops_per_sec") else "-"
    p99 = f" / {b['p99']:,}" if b.get("p99") is not None else ""
    return f"{b['median']:,}{p99}"


def grid(rows):
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [row[0].ljust(widths[0]) + "".join("  " + c.rjust(w) for c, w in zip(row[1:], widths[1:])) for row in rows]
    return [lines[0], "-" * len(lines[0])] + lines[1:]


def found_text(v):
    """Capitals where there is something to see; a contradiction stands out."""
    text = v["found"] if v["found"] == "clean" else v["found"].upper()
    return f"{v['claimed']}: {text}" + ("" if v["found"] == EXPECTED[v["claimed"]] else " !")


def verdict_rows(verdicts, unsafe):
    judged = {(v["table_free"], v["tlb_flush"]): v for v in verdicts}
    policies, flushes = axes(verdicts, unsafe)
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


def pair_tables(verdicts, bench, unsafe):
    """One table for each measurement of BY_PAIR; unsafe pairs are marked, and usually not timed."""
    policies, flushes = axes(bench + verdicts, unsafe)
    most = max((b.get("others") or 0 for b in bench), default=0)
    for title, name, want, what in BY_PAIR:
        if want is ALL and not most:
            continue

        def cell(policy, flush):
            text = number(select(bench, name, want, table_free=policy, tlb_flush=flush), what)
            return text if (policy, flush) not in unsafe else "unsafe" if text == "-" else f"unsafe: {text}"

        rows = [[title] + flushes] + [[policy] + [cell(policy, flush) for flush in flushes] for policy in policies]
        if any(c not in ("-", "unsafe") for row in rows[1:] for c in row[1:]):
            yield rows


def most_common(bench, table, axis):
    """The value of this axis in most of the table's measurements: the default of that run."""
    counts = collections.Counter(b[axis] for b in bench if b["name"] in {name for _, name, _ in table} and has_policy(b))
    return counts.most_common(1)[0][0] if counts else None


def axis_rows(title, bench, table, axis, others_axis, unsafe):
    """One line for each measurement of the table, one column for each value of `axis`; the other axis at its default."""
    default = most_common(bench, table, others_axis)
    bench = [b for b in bench if b.get(others_axis) == default]
    columns = axes([b for b in bench if b["name"] in {name for _, name, _ in table}], unsafe)[axis == "tlb_flush"]
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


def policy_rows(bench, unsafe):
    return axis_rows("cycles: median / 99th percentile", bench, BY_POLICY, "table_free", "tlb_flush", unsafe)


def flush_rows(bench, unsafe):
    return axis_rows(f"table_free={most_common(bench, BY_FLUSH, 'table_free')}", bench, BY_FLUSH, "tlb_flush",
                     "table_free", unsafe)


def time_text(ns):
    return f"{ns:,} ns" if ns < 1000 else f"{ns / 1e3:.0f} us" if ns < 1e6 else f"{ns / 1e6:.1f} ms"


def stolen_rows(bench, unsafe):
    """Latency of the first unmap and the most pages held, medians, by pair and by the length of the theft."""
    stolen = [b for b in bench if b["name"] == "unmap_stolen"]
    lengths = sorted({b["stolen_us"] for b in stolen})
    rows = [["a CPU of the space is robbed for"] + [time_text(us * 1000) if us else "0" for us in lengths]]
    for policy, flush in itertools.product(*axes(stolen, unsafe)):
        if not select(stolen, "unmap_stolen", {}, table_free=policy, tlb_flush=flush):
            continue
        cells = []
        for us in lengths:
            want = {"stolen_us": us, "others": 1}
            b = select(stolen, "unmap_stolen", want, table_free=policy, tlb_flush=flush)
            held = select(bench, "pages_held", want, table_free=policy, tlb_flush=flush)
            cells.append((time_text(b["median"]) if b else "-") + (f", {held['median']:,}" if held else ""))
        rows.append([f"{policy} + {flush}"] + cells)
    return rows if stolen else []


def bystander_rows(bench, unsafe):
    """By pair and kind of bystander: how much of its time was taken, and how many IPIs it received for each unmap."""
    kinds = [("in the space", "bystander"), ("holding it lazily", "bystander_lazy"), ("elsewhere", "bystander_elsewhere")]
    bystanders = [b for b in bench if b["name"].startswith("bystander")]
    rows = [["a CPU that only reads its clock"] + [title for title, _ in kinds]]

    def cell(b):
        if not b:
            return "-"
        return f"{b['lost_ppm'] / 1e4:.1f} %" + (f", {b['ipis'] / b['ops']:.2f}" if b["ops"] else "")

    pairs = [("-", "-")] + list(itertools.product(*axes(bystanders, unsafe)))
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


def common_rows(bench):
    rows = [[title, number(select(bench, name, {}))] for title, name in COMMON]
    return [["whatever the policy", "cycles"]] + [row for row in rows if row[1] != "-"]


def print_grid(rows, *notes):
    print("\n".join(grid(rows)))
    for note in notes:
        print(note)
    print()


def print_tables(runs, verdicts, bench):
    unsafe = [(v["table_free"], v["tlb_flush"]) for v in verdicts if v["claimed"] == "unsafe"]
    print("Verdicts: tables freed under walkers, watched by the oracle\n")
    print_grid(verdict_rows(verdicts, unsafe), *verdict_sums(verdicts))
    print("Times in cycles, median / 99th percentile; policies down, flush back-ends across\n")
    for rows in pair_tables(verdicts, bench, unsafe):
        print_grid(rows)
    print_grid(policy_rows(bench, unsafe))
    if len(rows := flush_rows(bench, unsafe)) > 1:
        print_grid(rows)
    if stolen := stolen_rows(bench, unsafe):
        print("Stolen time: the first unmap while another CPU, in the middle of its walks, is robbed of its processor, "
              "and\nthe most pages that waited to be freed until it was back; medians\n")
        print_grid(stolen)
    if bystanders := bystander_rows(bench, unsafe):
        print("Bystanders: how much of its time a CPU loses while another unmaps, tick and host included, and the IPIs "
              "that it\nreceives for each unmap\n")
        print_grid(bystanders)
    if scale := scale_rows(bench):
        print_grid(scale)
    print_grid(common_rows(bench))
    print_targets(runs)


def print_targets(runs):
    judged = targets.judge(runs)
    cpus = sorted({target.cpus for target in judged} - {targets.CPUS})
    print("Speed targets" + (f" (they are meant for SMP={targets.CPUS}; this is SMP={cpus[0]})" if cpus else ""))
    for target in judged:
        print(targets.sentence(target))


def print_report(lines):
    """Print it all; 0, or 1 when the verdicts contradict the claims or something is missing."""
    try:
        runs = results.parse(lines)
    except results.Broken as error:
        print(f"table: {error}")
        return 1
    verdicts, bench = [v for run in runs for v in run.verdicts], [b for run in runs for b in run.bench]
    if not verdicts or not bench:
        print(f"table: {len(verdicts)} VERDICT and {len(bench)} BENCH lines: nothing to compare")
        return 1
    print_tables(runs, verdicts, bench)
    if gaps := missing(verdicts, bench):
        print("".join(f"\ntable: incomplete: {gap}" for gap in gaps))
        return 1
    return judge(verdicts, bench)


def names(pairs):
    return ", ".join(" + ".join(pair) for pair in pairs)


def missing(verdicts, bench):
    """What the comparison lacks: each policy that occurs anywhere is judged with each back-end that does, the unsafe
    control among them; each safe pair is timed as the others are."""
    judged = {(v["table_free"], v["tlb_flush"]): v["claimed"] for v in verdicts}
    policies, flushes = axes(verdicts + [b for b in bench if b.get("tlb_flush") != "-"], [])
    unjudged = [pair for pair in itertools.product(policies, flushes) if pair not in judged]
    safe = [pair for pair, claimed in judged.items() if claimed == "safe"]
    gaps = [f"no verdict on {names(unjudged)}"] if unjudged else []
    if not safe:
        gaps.append("no safe pair was judged")
    if not any(all(judged.get((policy, flush)) == "unsafe" for flush in flushes) for policy in policies):
        gaps.append("no policy is unsafe with each back-end: \"clean\" means nothing without that control")
    most = max((b.get("others") or 0 for b in bench), default=0)
    for title, name, want, _ in BY_PAIR:
        untimed = [pair for pair in safe if not select(bench, name, want, table_free=pair[0], tlb_flush=pair[1])]
        if untimed and (most or want is not ALL):
            gaps.append(f"no figure of {names(untimed)}: {title}")
    return gaps


def judge(verdicts, bench):
    """Say which verdicts contradict their claims. With one CPU no walk meets a free: inconclusive is right then."""
    alone = max(b.get("cpus", 2) for b in bench) == 1
    wrong = [v for v in verdicts if v["found"] != EXPECTED[v["claimed"]]]
    print()
    for v in wrong:
        print(f"{v['table_free']} + {v['tlb_flush']} is claimed {v['claimed']} and was found {v['found']}"
              + (": with one CPU nothing else can be said" if alone else ""))
    if not wrong:
        print("Every claim was confirmed: the safe pairs are clean, the unsafe ones were caught.")
    return 1 if wrong and not alone else 0


if __name__ == "__main__":
    sys.exit(print_report([line.rstrip("\r\n") for line in sys.stdin]))
