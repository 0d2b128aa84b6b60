# SPDX-License-Identifier: MIT
"""The report: what runs have measured as one page with pictures in it, and each picture as a file of its own.
docs/report.md says how to read it."""
import os
from html import escape

from pictures import (article, awaited, bystander, cdf, changes, instructions, lifetime, machines, page, scaling, stolen,
                      style, svg, target_table, timeline, walkcost)
from pictures.data import Data

SECTIONS = (cdf.by_policy, cdf.by_backend, cdf.reuse, awaited.section, lifetime.section, bystander.section,
            stolen.section, scaling.section, walkcost.section, instructions.section, timeline.section, target_table.section)
PNG_DPI = 144  # two dots for each pixel of the page


def save(figure, path, pngs):
    """As SVG, whose text is returned, and as PNG."""
    text = svg.text_of(figure)
    with open(f"{path}.svg", "w", encoding="utf-8") as f:
        f.write(text)
    if pngs:
        figure.savefig(f"{path}.png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})
    return text


def draw(section, out, pngs):
    """The picture in both widths, as the page has it."""
    inlined = []
    for narrow, suffix in ((False, ""), (True, "-narrow")):
        figure = section.draw(narrow)
        style.uncrowd(figure)
        text = save(figure, os.path.join(out, section.name + suffix), pngs)
        inlined.append(svg.inline(text, section.name + ("-n" if narrow else "-w"), escape(section.sentence)))
    return inlined


def write_article(data, out):
    """The figures of docs/findings.md, from this data."""
    os.makedirs(out, exist_ok=True)
    for name, text in article.files(data).items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as f:
            f.write(text)


def build(runs, base, out, pngs=True):
    """Write OUT/index.html and the pictures, and in a folder below the article's; the path of the page. `base`: runs to
    compare with, or none."""
    data = Data(runs)
    sections = [section(data) for section in SECTIONS]
    if base:
        sections.insert(0, changes.section(data, Data(base)))
    sections.append(machines.section(data))
    os.makedirs(out, exist_ok=True)
    svgs = {s.name: draw(s, out, pngs) for s in sections if s.draw}
    write_article(data, os.path.join(out, "findings"))
    path = os.path.join(out, "index.html")
    with open(path, "w", encoding="utf-8") as f:
        f.write(page.html(data, sections, svgs))
    return path
