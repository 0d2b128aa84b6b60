# SPDX-License-Identifier: MIT
"""Tests of docs/findings.md: it and its figures are what the committed measurements give, and nothing that is wrong on
purpose goes through. Reported as KTAP."""
import dataclasses
import gzip
import itertools
import os
import re
import sys
import tempfile
import unittest.mock

import findings
import hypervisors
import pictures
import results
from diagrams.drawing import THEMES
from pictures import article
from pictures.data import Data
from selftests import selftest

suite = selftest.Suite("findings")
RUNS, ASKED = results.load([findings.DATA]), results.load([findings.HYPERVISORS])
with open(findings.TEMPLATE, encoding="utf-8") as template:
    TEMPLATE = template.read()


def copied(keep=lambda item: True):
    """The runs, to be changed; without what neither the page nor a figure needs."""
    return [dataclasses.replace(run, hist=[], trace=[], bench=[dict(i) for i in run.bench if keep(i)],
                                verdicts=[dict(v) for v in run.verdicts if keep(v)]) for run in RUNS]


def asked():
    """The runs under hypervisors, to be changed."""
    return [dataclasses.replace(run, header=dict(run.header), bench=[dict(i) for i in run.bench]) for run in ASKED]


def different(found):
    """Files that are not on the disk as they should be."""
    wrong = []
    for path, text in found.items():
        if not os.path.exists(path):
            wrong.append(f"{path} is missing: make findings")
            continue
        with open(path, encoding="utf-8") as f:
            lines = f.read().split("\n")
        at = next((n for n, (a, b) in enumerate(itertools.zip_longest(lines, text.split("\n")), 1) if a != b), 0)
        if at:
            wrong.append(f"{path}:{at} is not what the data gives: make findings")
    return wrong


def refused(text, data=None, under=ASKED):
    """What is said against that template; \"\": nothing."""
    try:
        findings.rendered(text, data or Data(RUNS), under)
    except findings.Wrong as error:
        return str(error)
    return ""


@suite.test
def the_page_and_its_figures_are_what_the_data_gives():
    """A change of the data that no figure shows changes the digest in the page."""
    if wrong := refused(TEMPLATE):
        return [wrong]
    return different(findings.files(Data(RUNS), TEMPLATE, ASKED))


@suite.test
def a_number_changed_in_the_page_is_found():
    """Each of its figures in turn."""
    if refused(TEMPLATE):
        return ["there is no page"]
    path, text = next(iter(findings.files(Data(RUNS), TEMPLATE, ASKED).items()))
    with tempfile.TemporaryDirectory() as folder:
        copied, wrong = os.path.join(folder, "page.md"), []
        for match in re.finditer(r"\d+", text):
            with open(copied, "w", encoding="utf-8") as f:
                f.write(f"{text[:match.start()]}{int(match[0]) + 1}{text[match.end():]}")
            if not different({copied: text}):
                wrong.append(f"{path}: {match[0]} could be changed")
    return wrong


@suite.test
def data_that_changes_changes_the_page_and_a_figure():
    """Of each claim one measurement, by a little."""
    if refused(TEMPLATE):
        return ["there is no page"]

    def verdict(runs):
        return next(v for run in runs for v in run.verdicts if v["found"] == "clean"), "walks"

    def bench(name, key, **want):
        def find(runs):
            return next(i for run in runs for i in run.bench
                        if all(i.get(k) == v for k, v in ({"name": name, "tlb_flush": "ipi"} | want).items())), key
        return find

    cases = {"verdicts": verdict, "walks": bench("walk", "usual", table_free="rcu", cpus=1),
             "unmaps": bench("unmap_page", "median", table_free="hazard", cpus=2, others=1),
             "preempted": bench("pages_held", "median", table_free="rcu", tlb_flush="pv", stolen_us=10_000),
             "bystanders": bench("bystander", "lost_ppm", table_free="rcu", tlb_flush="nmi", cpus=2)}
    def prose(runs):
        return {path: text.split("-->")[-1] for path, text in findings.files(Data(runs), TEMPLATE, ASKED).items()}

    wrong, before = [], prose(copied())
    for name, find in cases.items():
        runs = copied()
        item, key = find(runs)
        item[key] = item[key] * 11 // 10 if name != "bystanders" else 950_000
        after = prose(runs)
        expected = [findings.PAGE] + [f"{findings.IMAGES}/{name}{theme}.svg" for theme in THEMES if name != "verdicts"]
        wrong += [f"{path} stays, though {key} of {name} is another one" for path in expected
                  if after[path] == before[path]]
    return wrong


@suite.test
def what_was_measured_under_hypervisors_is_in_the_page():
    """Each count of each row: another value changes the page, or a claim in words does not hold any more; so does a count
    of the hypervisor's. What no fact is made of is not kept."""
    if refused(TEMPLATE):
        return ["there is no page"]
    data, section, wrong = Data(RUNS), re.search(r"## 6\..*?\n(?=@if |## )", TEMPLATE, re.S)[0], []

    def lines(runs):
        return list(findings.Page(data, runs).lines(section))

    def unnoticed(change):
        runs = asked()
        change(runs)
        try:
            return lines(runs) == before
        except findings.Wrong:
            return False

    before = lines(ASKED)

    def one_more(runs, place, flush, key):
        for item in hypervisors.Asked(runs).cases(place, flush):
            item[key] += 1000

    def unseen(runs, number, key):
        runs[number].header[key] += 1

    rows = re.findall(r'\{row\("([\w-]+)", "(\w+)"\)\}', TEMPLATE)
    for row, count in itertools.product(rows, hypervisors.COUNTS):
        if unnoticed(lambda runs, row=row, count=count: one_more(runs, *row, f"{count}_per_1000")):
            wrong.append(f"{count} of {row} could be changed")
    for number, run in enumerate(ASKED):
        wrong += [f"{key} of {run.header['accel']} could be changed" for key in run.header if key.startswith(("asked_", "seen_"))
                  and unnoticed(lambda runs, number=number, key=key: unseen(runs, number, key))]
    wrong += [] if len(rows) == 6 else [f"rows: {rows}"]
    again = findings.serialised(hypervisors.kept(ASKED))
    return wrong + ([] if again == findings.serialised(ASKED) and b'"median":null' in again else ["more is kept than the facts need"])


@suite.test
def no_figure_is_written_out():
    """In the template there is none, and each of these would be found."""
    wrong = [f"{findings.TEMPLATE}:{number}: {what}" for number, what in findings.literals(TEMPLATE)]
    figures = ("It takes 1,083 cycles.", "up to 71 %", "seven policies", "Half of them", "twice as long",
               "`8,016` pages", "x 2.1 times", "a [link of 3](x.md)", "- 12 of them", "`8,016 pages`", "SMP 2")
    others = ("Linux 2.6.27", "in 2012", "L1 and x86", "`SMP=2`", "## 1. Safe", "1. An item", "[x](a.md#2-b)",
              "`267239116987`", "    make report SECONDS=720", "{len(backends)}", "@ held(1) == 2", "@if held(1) == 2")
    wrong += [f"not found: {text}" for text in figures if not findings.literals(f"One.\n{text}\nMore.")]
    return wrong + [f"found: {text}" for text in others if findings.literals(f"One.\n{text}\nMore.")]


@suite.test
def what_does_not_hold_is_not_written():
    """A condition, an expression without a fact, a fact that was not measured, a line that would become an item."""
    cases = {"@ len(backends) == 99": "does not hold of the data", "{max([12])}": "no fact in it",
             "{instructions('walk', 'nonesuch')}": "no exact instructions of walk under nonesuch",
             "{backends[}": findings.TEMPLATE, "@if backends": "@if without @end", "@end": "@end without one",
             "@if backends\n@if backends\n@end\n@end": "within @if",
             "Some {header('commit')[:0]}" + "x" * 115 + " - y": "begins like an item"}
    return [f"{text}: {said!r}" for text, what in cases.items() if what not in (said := refused(text))]


@suite.test
def what_was_not_measured_is_left_out():
    """Whether it stands alone or among other text; what was measured is not."""
    part = "Before.\n@if measured('{}')\nOf {{instructions('walk', '{}')}} instructions.\n@end\nBehind."

    def lines(name, policy):
        return list(findings.Page(Data(RUNS), ASKED).lines(part.format(name, policy)))

    wrong = [] if lines("nonesuch", "nonesuch") == ["Before.", "Behind."] else ["what was not measured is in the page"]
    return wrong + ([] if len(lines("walk", "rcu")) == 3 else ["what was measured is not in the page"])


@suite.test
def claims_in_words_are_conditions():
    """An unsafe pair that was found clean: no page."""
    runs = copied()
    next(v for run in runs for v in run.verdicts if v["found"] == "violated")["found"] = "clean"
    said = refused(TEMPLATE, Data(runs))
    return [] if "does not hold of the data" in said else [f"it says: {said!r}"]


DRAWN = re.compile(r'<text x="([\d.]+)" y="([\d.]+)" .*?font-size="(\d+)" text-anchor="(\w+)"( font-weight="600")?.*?>'
                   r"(.*?)</text>")


def boxes(svg):
    """(text, left, top, right, bottom) of each, as wide letters would take it."""
    for x, y, size, anchor, weight, text in DRAWN.findall(svg):
        width = len(text) * int(size) * (0.6 if weight else 0.53)
        left = float(x) - {"start": 0, "middle": width / 2, "end": width}[anchor]
        yield text, left, float(y) - 0.75 * int(size), left + width, float(y) + 0.2 * int(size)


@suite.test
def texts_are_legible():
    """None below 15 pixels of 600, so that a phone shows 9; none outside, none on another."""
    wrong = []
    for name, svg in article.files(Data(RUNS)).items():
        width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
        wrong += [f"{name}: {size} pixels" for size in re.findall(r'font-size="(\d+)"', svg) if int(size) < width / 40]
        found = list(boxes(svg))
        wrong += [f"{name}: {text} reaches outside" for text, left, top, right, bottom in found
                  if min(left, top) < 0 or right > width or bottom > height]
        wrong += [f"{name}: {a[0]} lies on {b[0]}" for a, b in itertools.combinations(found, 2)
                  if a[1] < b[3] and b[1] < a[3] and a[2] < b[4] and b[2] < a[4]]
        if len(found) < 10:
            wrong.append(f"{name}: only {len(found)} texts")
    return wrong


@suite.test
def the_report_draws_them_too():
    """Whatever part of the lines there is."""
    wrong = []
    with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.object(pictures, "SECTIONS", ()):
        pictures.build(RUNS, None, folder, pngs=False)
        for name, text in article.files(Data(RUNS)).items():
            with open(f"{folder}/findings/{name}", encoding="utf-8") as f:
                wrong += [] if f.read() == text else [f"{name} is another one"]
    whole = article.files(Data(RUNS))
    lost = {"clean": 0, "instructions": 0, "unmap_kept": 0, "cycles": 1, "ns": 2, "walk_512": 1, "pages": 1}
    for absent, figures in lost.items():
        left = article.files(Data(copied(lambda i, absent=absent: absent not in i.values())))
        if not whole.keys() >= left.keys() or len(whole) - len(left) < 2 * figures:
            wrong.append(f"without {absent}: {', '.join(left)}")
    return wrong


@suite.test
def packed_runs_are_the_same_runs():
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/again.jsonl.gz"
        with open(path, "wb") as f:
            f.write(gzip.compress(findings.serialised(RUNS)))
        again = results.load([path])
        broken = f"{folder}/broken.jsonl.gz"
        with open(path, "rb") as whole, open(broken, "wb") as part:
            part.write(whole.read()[:1000])
        try:
            results.load([broken])
            said = ""
        except results.Broken as error:
            said = str(error)
    same = [vars(run) | {"path": ""} for run in again] == [vars(run) | {"path": ""} for run in RUNS]
    wrong = [] if same else ["packing changes them"]
    return wrong if broken in said else [*wrong, f"of a broken file it says: {said!r}"]


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
