# SPDX-License-Identifier: MIT
"""What the kernel measured, for a person: the BENCH and VERDICT lines of a run's serial output become one table, followed by
the ratios that the project promises. Usable alone: python3 tools/table.py < serial.log"""
import json
import sys

# Rows of the table: what a person calls it, the measurement's name, which of its runs (None: whatever there is).
ROWS = [
    ("unmap 1 page and its tables, alone", "unmap_page", {"others": 0}),
    ("  with 1 other CPU in the space", "unmap_page", {"others": 1}),
    ("  with all other CPUs in the space", "unmap_page", {"others": "most"}),
    ("unmap 512 pages, alone", "unmap_512", {"others": 0}),
    ("  with all other CPUs in the space", "unmap_512", {"others": "most"}),
    ("protect 1 page, all other CPUs", "protect_page", {"others": "most"}),
    ("map, touch, unmap: sustained", "map_touch_unmap", {}),
    ("lockless walk, undisturbed", "walk", {}),
    ("lockless walk against an unmapper", "walk_contended", {}),
    ("grace period", "grace_period", {}),
    ("expedited grace period", "expedited", {}),
    ("longest time with interrupts off", "irqs_off_max", {}),
    ("most pages waiting to be freed", "pages_held", {}),
    ("an uninvolved CPU's loss", "bystander", {}),
]
# Promises: what, measurement / base, limit.
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


def select(bench, name, want, **more):
    """The median of the one measurement that fits, with its unit; None if there is none."""
    fitting = [b for b in bench if b["name"] == name and all(b.get(k) == v for k, v in more.items())]
    for key, value in want.items():
        if value == "most":
            value = max((b.get(key) or 0 for b in fitting), default=0)
        fitting = [b for b in fitting if b.get(key) == value]
    return fitting[0] if fitting else None


def number(b):
    if b is None or b.get("median") is None:
        return "-"
    unit = "" if b.get("unit", "cycles") == "cycles" else " " + b["unit"]
    p99 = f" / {b['p99']:,}" if b.get("p99") is not None else ""
    return f"{b['median']:,}{p99}{unit}"


def grid(rows):
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))) for row in rows]
    return [lines[0], "-" * len(lines[0])] + lines[1:]


def ordered(items, key):
    return list(dict.fromkeys(i[key] for i in items if i.get(key)))


def report_rows(verdicts, bench):
    pairs = [(v["table_free"], v["tlb_flush"]) for v in verdicts]
    pairs += [(b["table_free"], b["tlb_flush"]) for b in bench if b.get("table_free")]
    pairs = list(dict.fromkeys(pairs))
    rows = [["cycles: median / p99"] + [f"{p} + {f}" for p, f in pairs]]
    judged = {(v["table_free"], v["tlb_flush"]): v for v in verdicts}

    def per_pair(title, cell):
        rows.append([title] + [cell(judged[p]) if p in judged else "-" for p in pairs])

    if verdicts:
        per_pair("claimed", lambda v: v["claimed"])
        per_pair("found", lambda v: v["found"].upper() if v["found"] != "clean" else "clean")
        per_pair("  violations", lambda v: f"{v['violations']:,}")
        per_pair("  walks, of them fast", lambda v: f"{v['walks']:,}, {100 * v['fast'] // max(1, v['walks'])} %")
        per_pair("  tables freed, while walked", lambda v: f"{v['frees_l1'] + v['frees_l2'] + v['frees_l3']:,}, "
                                                           f"{v['frees_during_walk']:,}")
    for title, name, want in ROWS:
        cells = [number(select(bench, name, want, table_free=p, tlb_flush=f)) for p, f in pairs]
        if any(c != "-" for c in cells):
            rows.append([title] + cells)
    return rows


def median(b):
    return b["median"] if b else None


def ratios(bench):
    """(what, ratio, limit) for each promise that this run can judge."""
    found = []
    call, loads = median(select(bench, "call_empty", {})), median(select(bench, "loads4", {}))
    for policy in ordered(bench, "table_free"):
        alone = median(select(bench, "unmap_page", {"others": 0}, table_free=policy))
        one = median(select(bench, "unmap_page", {"others": 1}, table_free=policy))
        if call and alone and one:
            found.append((f"{policy}: unmap with 1 other CPU / (empty call + unmap alone)", one / (call + alone), UNMAP_LIMIT))
    rcu = median(select(bench, "unmap_page", {"others": "most"}, table_free="rcu"))
    immediate = median(select(bench, "unmap_page", {"others": "most"}, table_free="immediate"))
    if rcu and immediate:
        found.append(("unmap under rcu / under immediate", rcu / immediate, RCU_LIMIT))
    for policy in ordered(bench, "table_free"):
        walk = median(select(bench, "walk", {}, table_free=policy))
        if walk and loads:
            found.append((f"{policy}: undisturbed walk / four dependent loads", walk / loads, WALK_LIMIT))
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
    for what, ratio, limit in ratios(bench):
        print(f"  {ratio:5.2f}  {'within' if ratio <= limit else 'ABOVE '} {limit}  {what}")
    wrong = [v for v in verdicts if v["found"] != {"safe": "clean", "unsafe": "violated"}[v["claimed"]]]
    for v in wrong:
        print(f"table: {v['table_free']} + {v['tlb_flush']} is claimed {v['claimed']} but was found {v['found']}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(print_report([line.rstrip("\r\n") for line in sys.stdin]))
