#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tables of the documents that are made from kept measurements: the last screen of `make run` in README.md, and the exact
counts in docs/measuring.md. python3 tools/sample.py LOG… takes the serial logs of a run (build/run/*.log), keeps in
docs/data/run.jsonl what the screen is made of, and writes it. Without arguments both tables are made again of what was
kept; make test compares."""
import json
import os
import re
import sys

import results
import summary
from comparison import BY_PAIR, Comparison

DATA, README = "docs/data/run.jsonl", "README.md"
REPORT, MEASURING = "docs/data/report.gz", "docs/measuring.md"
SHOWN = re.compile(r"(?ms)^```\n( +found safe .*?)^```\n")
COUNTS = re.compile(r"(?ms)^(\| \| `[^\n]*\n\| ---[^\n]*\n\| `walk`.*?\n)\n")
COUNTED = ("walk", "unmap_page", "protect_page", "map_touch_unmap")
NAMES = {"walk", "bystander", "bystander_lazy", "bystander_elsewhere", "collapse", "table_wait", "unmap_stolen",
         *(name for _, name, _, _ in BY_PAIR)}


def screen(runs):
    c = Comparison(runs)
    status, conclusion = c.conclusion()
    if status:
        raise SystemExit("sample: this run failed: " + " ".join(conclusion))
    return "\n".join(summary.lines(c) + [""] + conclusion) + "\n"


def reduced(run):
    """The lines of one boot that the screen needs."""
    yield {"kind": "HEADER"} | run.header
    for item in run.verdicts:
        yield {"kind": "VERDICT"} | item
    for item in run.bench:
        if item["name"] in NAMES:
            yield {"kind": "BENCH"} | item


def keep(runs):
    os.makedirs(os.path.dirname(DATA), exist_ok=True)
    with open(DATA, "w", encoding="utf-8") as f:
        for run in runs:
            f.writelines(json.dumps(item) + "\n" for item in reduced(run))
    if screen(results.read(DATA)) != screen(runs):
        raise SystemExit(f"sample: {DATA} lacks something that the screen shows")


def counts():
    """Instructions by policy, under the back-end `ipi`, as rows of Markdown."""
    c = Comparison(results.read(REPORT))
    bench = [b for b in c.counted if b["tlb_flush"] == summary.FLUSH and not b["others"]]
    found = {(b["name"], b["table_free"]): summary.exactly(b) for b in bench}
    policies = [policy for policy in c.axes(bench)[0] if (policy, summary.FLUSH) not in c.unsafe]
    rows = [["", *(f"`{policy}`" for policy in policies)], ["---"] * (len(policies) + 1)]
    rows += [[f"`{name}`", *(found[name, policy] for policy in policies)] for name in COUNTED]
    return "".join(f"| {' | '.join(row)} |\n".replace("|  |", "| |") for row in rows)


# What each table is, and where it stands.
TABLES = {README: (SHOWN, lambda: screen(results.read(DATA))), MEASURING: (COUNTS, counts)}


def text_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def stale():
    """The documents whose tables are not those of the measurements."""
    return [path for path, (where, make) in TABLES.items() if where.search(text_of(path))[1] != make()]


def main(logs):
    if logs:
        keep([run for path in logs for run in results.read(path)])
    for path in stale():
        where, make = TABLES[path]
        text = text_of(path)
        begin, end = where.search(text).span(1)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text[:begin] + make() + text[end:])
        print(f"{path}: its table is written anew")


if __name__ == "__main__":
    main(sys.argv[1:])
