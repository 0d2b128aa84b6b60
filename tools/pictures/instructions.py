# SPDX-License-Identifier: MIT
"""What paths cost in instructions, counted exactly at one CPU, beside the cycles that were measured."""
from html import escape

from pictures import style, words
from pictures.changes import label_of
from pictures.data import exactly
from pictures.section import Section, missing
from results import instructions_of

NAME, TITLE = "instructions", "Exact instruction counts at one CPU, beside the cycles"
# In the picture; the table has all.
OPERATIONS = {"walk": "Walk", "unmap_page": "Unmap, with its tables", "unmap_512": "Unmap 512 pages",
              "protect_page": "Protect", "map_page": "Map, with its tables", "map_touch_unmap": "Map, touch, unmap"}
COUNTED, TIMED = style.GREEN, style.ORANGE
DIGIT = 7.5  # pixels at most


class Operation:
    """Its instructions and its cycles by policy, alone in the space, under one back-end."""

    def __init__(self, data, name):
        self.name, self.title, self.unit = name, OPERATIONS[name], data.unit
        found = {p: data.instructions(name, table_free=p, tlb_flush=data.flush) for p in data.policies}
        self.counts = {p: one for p, one in found.items() if one[0] is not None}
        alone = {"tlb_flush": data.flush, "others": 0, "walkers": 0, "remote": 0}
        self.times = {p: m for p in self.counts if (m := data.median(name, table_free=p, **alone))}

    def panels(self):
        """(title, unit, values, texts, colour, hatch) of the two."""
        yield (self.title, "instructions", {p: count for p, (count, _) in self.counts.items()},
               {p: exactly(one) for p, one in self.counts.items()}, COUNTED, None)
        yield "", self.unit, self.times, {p: words.count(m) for p, m in self.times.items()}, TIMED, "///"

    def sentence(self):
        counts = {p: count for p, (count, _) in self.counts.items()}
        low, high = min(counts, key=counts.get), max(counts, key=counts.get)
        more = f" ({low}) to {counts[high]:,} ({high})" if counts[low] != counts[high] else ""
        return f"{self.title[0].lower()}{self.title[1:]} {counts[low]:,}{more}"


def draw_bars(axes, policies, values, texts, color, hatch):
    most = max(values.values())
    pixels = axes.get_window_extent().width
    for y, policy in enumerate(policies):
        if policy in values:
            style.data(axes.barh(y, values[policy], 0.62, color=color, hatch=hatch, edgecolor=style.PAPER,
                                 linewidth=0.8)[0])
            axes.annotate(texts[policy], (values[policy], y), (4, 0), textcoords="offset points", va="center",
                          fontsize=11)
    style.floor_line(axes, values)
    room = DIGIT * max(len(text) for text in texts.values()) + 6
    axes.set_xlim(0, most * pixels / max(pixels - room, pixels / 4))


def draw(narrow, operations, policies):
    panels = [panel for operation in operations for panel in operation.panels()]
    figure = style.Panels(narrow, [panel[0] for panel in panels], (4, 2), 20 * len(policies) + 6, left=70)
    for axes, (_, unit, values, texts, color, hatch) in zip(figure.axes, panels):
        if values:
            draw_bars(axes, policies, values, texts, color, hatch)
            axes.set_yticks(range(len(policies)), policies)
            axes.set_ylim(len(policies) - 0.4, -0.6)
            axes.grid(axis="y", visible=False)
            style.scaled(axes.xaxis, words.tick, 2 if narrow else 3)
            axes.set_xlabel(unit)
        else:
            style.nothing(axes, "not measured")
    return figure.figure


def cycles_of(data, item):
    """The median of the same case with nobody else in it, or None."""
    if item.get("others") or item.get("walkers"):
        return None
    keys = ("table_free", "tlb_flush", "others", "walkers", "pages", "remote")
    return data.median(item["name"], **{key: item.get(key) for key in keys})


def rows_of(data):
    """All that was counted under one back-end, and under others what differs from that."""
    def case(item):
        return tuple(item.get(key) for key in ("name", "table_free", "others", "walkers", "pages", "remote"))

    first = {case(i): instructions_of(i) for i in data.counted if i.get("tlb_flush") in (data.flush, "-", None)}
    some = [i for i in data.counted if i.get("tlb_flush") in (data.flush, "-", None)
            or instructions_of(i) != first.get(case(i))]
    return sorted(some, key=lambda i: (i["name"], i.get("pages") or 0, i.get("table_free"), i.get("tlb_flush")))


def table(data):
    rows = []
    for item in rows_of(data):
        found, cycles = instructions_of(item), cycles_of(data, item)
        cells = (exactly(found), words.count(cycles), f"{cycles / found[0]:.1f}" if cycles and found[0] else "–")
        rows.append(f'<tr><th scope="row">{escape(label_of(item))}</th>'
                    + "".join(f'<td class="number">{text}</td>' for text in cells) + "</tr>")
    head = "".join(f'<th class="number">{text}</th>' for text in ("instructions", "cycles", "cycles each"))
    return ("<details><summary>Every benchmark, in figures</summary>"
            f'<table class="changes"><thead><tr><th>case</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
            "</details>")


def note(data):
    said = (f"Under {data.flush}; the table has other back-ends where they differ. Counted in QEMU (-icount) at one CPU: "
            "the count that most samples have, exactly (≥: there is none such, so the least). They say what a path "
            "costs, not what a cache miss or a LOCK costs.")
    if data.unit == "cycles":
        said += f" Cycles: the median with {words.plural(data.cpus, 'CPU')}, alone in the space."
    return said


def section(data):
    command = "make bench SMP=1 ACCEL=icount"
    operations = [o for name in OPERATIONS if (o := Operation(data, name)).counts]
    if not operations:
        what = "no run here has counted the instructions of a path (one CPU, ACCEL=icount)"
        return missing(NAME, TITLE, what, command)
    policies = [p for p in data.policies if any(p in o.counts for o in operations)]
    said = f"Instructions, exactly: {'; '.join(o.sentence() for o in operations)}."
    return Section(NAME, TITLE, said, command, lambda narrow: draw(narrow, operations, policies), note=note(data),
                   table=table(data))
