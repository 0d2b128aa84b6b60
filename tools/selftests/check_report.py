# SPDX-License-Identifier: MIT
"""Tests of the report's page in a browser, at the widths of a screen and of a phone, light and dark: what
check_report.js finds, pixels of data in each panel, no request to anywhere. Reported as KTAP. The page is made of what
the configurations `verdicts`, `times`, `instructions` and `trace` have measured (their serial logs), or of the result
files that are named as arguments. Then the same with pages that are broken on purpose: each check must find its
breakage."""
import itertools
import os
import re
import sys

import chromium
import hist
import pictures
import results
from matplotlib import image
from pictures import words
from selftests import selftest

CONFIGURATIONS = ("verdicts", "times", "instructions", "trace")
LOGS = tuple(f"build/test/{name}.log" for name in CONFIGURATIONS)
FOLDER = "build/test/report"
SIZES = {"screen": (1280, 800), "phone": (390, 844)}
COLOURED = 20  # pixels at least in a panel that shows data
with open(os.path.join(os.path.dirname(__file__), "check_report.js"), encoding="utf-8") as script:
    SCRIPT = script.read()
suite = selftest.Suite("report")


class Shared:
    """One browser and one page for all tests."""
    browser, page, text = None, "", ""


def empty_panels(axes, screenshot):
    """Panels in which the browser has painted nothing that stands out from the paper, the grid and the text."""
    pixels = image.imread(screenshot)[:, :, :3]
    wrong = []
    for a in axes:
        x, y = int(a["x"]) + 2, int(a["y"]) + 2
        part = pixels[y:int(a["y"] + a["height"]) - 2, x:int(a["x"] + a["width"]) - 2]
        painted = int(((part.max(axis=2) - part.min(axis=2)) > 0.25).sum())
        if painted < COLOURED and a["marks"]:
            wrong.append(f"{a['name']}: {painted} coloured pixels")
    return wrong


def problems_of(path, size, dark, screenshot=None):
    """All that is wrong; of what is painted only with the name of a file for the picture."""
    urls = Shared.browser.open(path, *SIZES[size], dark)
    found = Shared.browser.evaluate(SCRIPT)
    problems = found["problems"] + [f"the page asks for {url}" for url in urls
                                    if not url.startswith("data:") and not url.endswith(path)]
    if screenshot:
        Shared.browser.screenshot(screenshot, whole=True)
        problems += empty_panels(found["axes"], screenshot)
    return problems


def test_view(size, dark):
    name = f"{size}_{'dark' if dark else 'light'}"

    def view():
        return problems_of(Shared.page, size, dark, f"{FOLDER}/{name}.png")
    view.__name__ = name
    suite.test(view)


for each in SIZES:
    test_view(each, False)
    test_view(each, True)


def slower(runs):
    """The same runs, but with everything under rcu a third slower, so that there is something to compare."""
    for run in runs:
        for item in run.bench + run.hist:
            if item.get("table_free") == "rcu":
                item.update({key: item[key] * 4 // 3 for key in ("median", "min", "max", "usual") if item.get(key)})
                if "buckets" in item:
                    item["buckets"] = moved(item["buckets"])
    return runs


def moved(buckets):
    counts = {}
    for index, count in buckets:
        index = hist.bucket_of(hist.bounds(index)[0] * 4 // 3)
        counts[index] = counts.get(index, 0) + count
    return sorted([index, count] for index, count in counts.items())


@suite.test
def comparison_with_a_base():
    load = lambda: results.load(Shared.files)  # noqa: E731
    page = pictures.build(slower(load()), load(), f"{FOLDER}/changed", pngs=False)
    with open(page, encoding="utf-8") as f:
        said = re.search(r'<section id="changes">.*?<figcaption><p>(.*?)</p>', f.read(), re.S)
    right = said and re.search(r"[1-9]\d* (have|has) changed beyond noise; [1-9]\d* (are|is) larger", said[1])
    exact = said and re.search(r"Of [1-9]\d* exact instruction counts [1-9]\d* have changed", said[1])
    wrong = [] if right and exact and "smaller" not in said[1] else [f"it says: {said and said[1]}"]
    for size in SIZES:
        wrong += problems_of(page, size, False, f"{FOLDER}/changed-{size}.png")
    return wrong


def in_first_plot(text, pattern, replacement):
    """Change the text of the pictures of the first section that has any."""
    start = text.index("<figure>")
    end = text.index("</figure>", start)
    changed, times = re.subn(pattern, replacement, text[start:end], flags=re.S)
    if not times:
        raise ValueError(f"nothing to break: {pattern}")
    return text[:start] + changed + text[end:]


# What is broken: how, and what must be said of it.
BREAKAGES = {
    "no_data": (lambda t: in_first_plot(t, r'class="data"', 'class="data" style="display:none"'),
                "nothing is drawn in panel 1"),
    "data_unpainted": (lambda t: in_first_plot(t, r"var\(--(red|green|blue|sky|pink|orange)\)", "var(--paper)"),
                       "coloured pixels"),
    "texts_overlap": (lambda t: in_first_plot(t, r'(<text [^>]*?)y="[\d.]+"', r'\1y="100"'), " lies on "),
    "text_outside": (lambda t: in_first_plot(t, r'(<text [^>]*?)x="[\d.]+"', r'\1x="-60"'), "reaches out of its"),
    "text_too_small": (lambda t: in_first_plot(t, r"font-size: 1\dpx", "font-size: 8px"), "8.0 px high"),
    "text_unreadable": (lambda t: t.replace("--ink: #e4e6e8", "--ink: #1b1d1f"), "is hardly seen"),
    "too_wide": (lambda t: t.replace("</h1>", "</h1><div style='width:500px'>wide</div>"), "px wide, its window 390"),
    "foreign": (lambda t: t.replace("</h1>", "</h1><img alt='' src='http://127.0.0.1:9/x.png'>"), "asks for http://"),
    "no_sentence": (lambda t: re.sub(r"<figcaption><p>.*?</p>", "<figcaption><p></p>", t, count=1), "no good sentence"),
    "both_shown": (lambda t: t.replace(".wide, .on-wide { display: none; }", ""), "2 of its 2 pictures are shown"),
    "long_head": (lambda t: t.replace("</h1>", "</h1>" + "<p>more</p>" * 40), "not wholly on the first screen"),
    "ids_twice": (lambda t: t.replace("<section ", "<p id=twice></p><p id=twice></p><section ", 1),
                  "ids are not unique"),
}


def test_breakage(name, change, complaint):
    def broken():
        text = change(Shared.text)
        if text == Shared.text:
            return ["nothing was changed"]
        path = f"{FOLDER}/broken.html"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        found = problems_of(path, "phone", True, f"{FOLDER}/broken.png" if "pixels" in complaint else None)
        return [] if any(complaint in problem for problem in found) else [f"no \"{complaint}\" in {found}"]
    broken.__name__ = f"finds_{name}"
    suite.test(broken)


for each, (how, what) in BREAKAGES.items():
    test_breakage(each, how, what)


@suite.test
def same_runs_same_page():
    again = pictures.build(results.load(Shared.files), None, f"{FOLDER}/again", pngs=False)
    with open(again, encoding="utf-8") as f:
        return [] if f.read() == Shared.text else ["the page differs from the one made before of the same files"]


@suite.test
def each_picture_is_a_file():
    drawn = re.findall(r'<section id="([\w-]+)">\n<h2>[^<]*</h2>\n<figure>', Shared.text)
    names = [f"{n}{suffix}.{kind}" for n in drawn for suffix in ("", "-narrow") for kind in ("svg", "png")]
    lost = [f"{name} is missing" for name in names if not os.path.exists(f"{FOLDER}/{name}")]
    return lost if names else ["no pictures"]


def cases_of_parts():
    """{what is missing: keep(kind, line)}"""
    names = sorted({item["name"] for run in results.load(Shared.files) for item in run.bench})
    return {
        "every other benchmark": lambda kind, item: item.get("name") not in names[::2],
        "the others": lambda kind, item: item.get("name") not in names[1::2],
        "instructions": lambda kind, item: item.get("unit") != "instructions",
        "all but instructions": lambda kind, item: item.get("unit") == "instructions",
        "histograms": lambda kind, item: kind != "hist",
        "verdicts": lambda kind, item: kind != "verdicts",
        "all but verdicts": lambda kind, item: kind == "verdicts",
        "all but what no policy concerns": lambda kind, item: item.get("table_free") == "-",
        "everything": lambda kind, item: False,
    }


@suite.test
def part_of_the_lines_makes_a_page():
    wrong = []
    for missing, keep in cases_of_parts().items():
        runs = results.load(Shared.files)
        for run, kind in itertools.product(runs, ("bench", "hist", "verdicts", "trace")):
            setattr(run, kind, [item for item in getattr(run, kind) if keep(kind, item)])
        try:
            pictures.build(runs, None, f"{FOLDER}/part", pngs=False)
        except Exception as error:  # whatever it is, it is the finding
            wrong.append(f"without {missing}: {error!r}")
    return wrong


def main():
    Shared.files = sys.argv[1:] or LOGS
    missing = [name for name in Shared.files if not os.path.exists(name)]
    if missing:
        print(f"Bail out! missing: {' and '.join(missing)}; run {words.listed(CONFIGURATIONS)} first")
        return 1
    os.makedirs(FOLDER, exist_ok=True)
    Shared.page = pictures.build(results.load(Shared.files), None, FOLDER)
    with open(Shared.page, encoding="utf-8") as f:
        Shared.text = f.read()
    try:
        with chromium.Browser() as Shared.browser:
            return selftest.main(suite)
    except chromium.Lacking as error:
        print(f"KTAP version 1\n1..1\nok 1 report.browser # SKIP {error}")
        return 0
    except chromium.Unavailable as error:
        print(f"KTAP version 1\n1..1\n# ERROR: {error}\nnot ok 1 report.browser")
        return 1


if __name__ == "__main__":
    sys.exit(main())
