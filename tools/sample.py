#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The last screen of `make run` as README.md shows it: python3 tools/sample.py LOG… takes the serial logs of a run
(build/run/*.log), keeps in docs/data/run.jsonl what the screen is made of, and puts the screen into README.md. Without
arguments it makes the screen again of what was kept; make test compares."""
import json
import os
import re
import sys

import results
import summary
from comparison import BY_PAIR, Comparison

DATA, README = "docs/data/run.jsonl", "README.md"
SHOWN = re.compile(r"(?ms)^```\n( +found safe .*?)^```\n")
NAMES = {"walk", "bystander", "bystander_lazy", "bystander_elsewhere", "collapse", "unmap_stolen",
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


def shown():
    """README.md's screen."""
    with open(README, encoding="utf-8") as f:
        return SHOWN.search(f.read())[1]


def expected():
    return screen(results.read(DATA))


def main(logs):
    if logs:
        keep([run for path in logs for run in results.read(path)])
    with open(README, encoding="utf-8") as f:
        text = f.read()
    with open(README, "w", encoding="utf-8") as f:
        f.write(SHOWN.sub(lambda _: f"```\n{expected()}```\n", text, count=1))


if __name__ == "__main__":
    main(sys.argv[1:])
