# SPDX-License-Identifier: MIT
"""What the kernel measured, for a person: the BENCH and VERDICT lines of a run's serial output become one table, followed
by the ratios that the project promises. Usable alone: python3 tools/table.py < serial.log"""
import json
import sys

# Rows of the table: what a person calls it, the measurement's name, which of its runs, which of its numbers.
ALONE, ONE, ALL = {"others": 0}, {"others": 1}, {"others": "most"}
ROWS = [
    ("unmap 1 page and its tables, alone", "unmap_page", ALONE, "time"),
    ("  with 1 other CPU in the space", "unmap_page", ONE, "time"),
    ("  with all other CPUs in the space", "unmap_page", ALL, "time"),
    ("  IPIs per 1,000 of these", "unmap_page", ALL, "ipis"),
    ("unmap 512 pages, alone", "unmap_512", ALONE, "time"),
    ("  with all other CPUs in the space", "unmap_512", ALL, "time"),
    ("protect 1 page, all other CPUs", "protect_page", ALL, "time"),
    ("map, touch, unmap: all costs included", "map_touch_unmap", {}, "time"),
    ("  sustained, per second", "map_touch_unmap", {}, "rate"),
    ("most pages waiting to be freed", "pages_held", {}, "time"),
    ("lockless walk, undisturbed", "walk", {}, "time"),
    ("  of a space not loaded here", "walk_remote", {}, "time"),
    ("  against an unmapper", "walk_contended", {}, "time"),
    ("longest time with interrupts off", "irqs_off_max", {}, "time"),
    ("an uninvolved CPU's loss", "bystander", {}, "time"),
]
# Measurements that concern no policy.
COMMON = [
    ("a cross-CPU call that does nothing", "call_empty"),
    ("four dependent loads", "loads4"),
    ("grace period", "grace_period"),
    ("expedited grace period", "expedited"),
]
# Promises: what is measured over what, at most.
UNMAP_LIMIT, RCU_LIMIT, WALK_LIMIT = 1.5, 1.1, 3.5


def parse(lines, kind):
    """All objects of lines that begin with `kind`; a broken one is an error, not a gap."""
    found = []
    for line in lines:
        if line.startswith(kind + " "):
            try:
                found.append(json.loads(line[len(kind) + 1:]))
            except json.JSONDecodeError as error:
                raise ValueError(f"broken {kind} line ({error}): {line}") from None
    return found


def has_policy(item):
    return item.get("table_free") not in (None, "", "-")


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
    if what == "ipis":
        return f"{b.get('ipi_flush_per_1000', 0) + b.get('ipi_sync_per_1000', 0) + b.get('ipi_walker_per_1000', 0):,}"
    p99 = f" / {b['p99']:,}" if b.get("p99") is not None else ""
    return f"{b['median']:,}{p99}"


def grid(rows):
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [row[0].ljust(widths[0]) + "".join("  " + c.rjust(w) for c, w in zip(row[1:], widths[1:])) for row in rows]
    return [lines[0], "-" * len(lines[0])] + lines[1:]


def verdict_rows(verdicts, pairs):
    judged = {(v["table_free"], v["tlb_flush"]): v for v in verdicts}

    def row(title, cell):
        return [title] + [cell(judged[p]) if p in judged else "-" for p in pairs]

    return [
        row("claimed", lambda v: v["claimed"]),
        row("found", lambda v: v["found"] if v["found"] == "clean" else v["found"].upper()),
        row("  violations", lambda v: f"{v['violations']:,}"),
        row("  walks, of them fast", lambda v: f"{v['walks']:,}, {100 * v['fast'] // max(1, v['walks'])} %"),
        row("  tables freed, of them during walks",
            lambda v: f"{v['frees_l1'] + v['frees_l2'] + v['frees_l3']:,}, {v['frees_during_walk']:,}"),
    ] if verdicts else []


def report_rows(verdicts, bench):
    """Safe pairs last: the control is read first. A row that would repeat another or say nothing is left out."""
    pairs = list(dict.fromkeys((i["table_free"], i["tlb_flush"]) for i in verdicts + bench if has_policy(i)))
    rows = [["cycles: median / 99th percentile"] + [f"{p} + {f}" for p, f in pairs]] + verdict_rows(verdicts, pairs)
    most = max((b.get("others") or 0 for b in bench), default=0)
    for title, name, want, what in ROWS:
        if want is ALL and (not most or most == 1 and what == "time" and any(r[1:3] == (name, ONE) for r in ROWS)):
            continue
        cells = [number(select(bench, name, want, table_free=p, tlb_flush=f), what) for p, f in pairs]
        if any(c != "-" for c in cells):
            rows.append([title] + cells)
    return rows


def common_rows(bench):
    rows = [[title, number(select(bench, name, {}))] for title, name in COMMON]
    return [["whatever the policy", "cycles"]] + [row for row in rows if row[1] != "-"]


def median(bench, name, want, **more):
    b = select(bench, name, want, **more)
    return b["median"] if b else None


def ratios(bench):
    """(what, ratio, limit) for each promise that this run can judge."""
    found = []
    call, loads = median(bench, "call_empty", {}), median(bench, "loads4", {})
    policies = list(dict.fromkeys(b["table_free"] for b in bench if has_policy(b)))
    for policy in policies:
        alone = median(bench, "unmap_page", ALONE, table_free=policy)
        one = median(bench, "unmap_page", ONE, table_free=policy)
        if call and alone and one:
            what = f"unmap with 1 other CPU / (empty call + unmap alone), {policy}"
            found.append((what, one / (call + alone), UNMAP_LIMIT))
    for title, want in (("alone", ALONE), ("with 1 other CPU", ONE)):
        rcu = median(bench, "unmap_page", want, table_free="rcu")
        immediate = median(bench, "unmap_page", want, table_free="immediate")
        if rcu and immediate:
            found.append((f"unmap {title} under rcu / under immediate", rcu / immediate, RCU_LIMIT))
    for policy in policies:
        walk = median(bench, "walk", {}, table_free=policy)
        if walk and loads:
            found.append((f"undisturbed walk / four dependent loads, {policy}", walk / loads, WALK_LIMIT))
    return found


def print_report(lines):
    """Print it all; 0, or 1 when the verdicts contradict the claims or something is missing."""
    try:
        verdicts, bench = parse(lines, "VERDICT"), parse(lines, "BENCH")
    except ValueError as error:
        print(f"table: {error}")
        return 1
    if not verdicts or not bench:
        print(f"table: {len(verdicts)} VERDICT and {len(bench)} BENCH lines: nothing to compare")
        return 1
    print("\n".join(grid(report_rows(verdicts, bench))))
    print()
    print("\n".join(grid(common_rows(bench))))
    print("\nPromises")
    for what, ratio, limit in ratios(bench):
        print(f"  {ratio:6.2f}  {'within' if ratio <= limit else 'ABOVE '} {limit}  {what}")
    return judge(verdicts, bench)


def judge(verdicts, bench):
    """Say which verdicts contradict their claims. With one CPU no walk meets a free: inconclusive is right then."""
    alone = max(b.get("cpus", 2) for b in bench) == 1
    wrong = [v for v in verdicts if v["found"] != {"safe": "clean", "unsafe": "violated"}[v["claimed"]]]
    print()
    for v in wrong:
        print(f"{v['table_free']} + {v['tlb_flush']} is claimed {v['claimed']} and was found {v['found']}"
              + (": with one CPU nothing else can be said" if alone else ""))
    if not wrong:
        print("Every claim was confirmed: the safe pairs are clean, the unsafe ones were caught.")
    return 1 if wrong and not alone else 0


if __name__ == "__main__":
    sys.exit(print_report([line.rstrip("\r\n") for line in sys.stdin]))
