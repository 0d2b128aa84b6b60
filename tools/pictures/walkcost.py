# SPDX-License-Identifier: MIT
"""What a lockless walk costs beside the four loads that it cannot do without."""
import stats
from pictures import style, words
from pictures.section import Section, missing

NAME, TITLE = "walk", "What a walk costs: its loads, and its read side"
# The pieces that a read side is made of (tests/bench/primitives.c), as a person calls them.
PIECES = {"preempt_off_on": "preemption off, on", "irqs_off_on": "interrupts off, on", "cmpxchg": "LOCKed cmpxchg",
          "indirect_call": "indirect call"}
LOADS, REST, CONTENDED = style.SKY, style.ORANGE, style.BLACK


def bar(axes, y, left, width, color, hatch=None):
    style.data(axes.barh(y, width, 0.62, left, color=color, hatch=hatch, edgecolor=style.PAPER, linewidth=0.8)[0])


def draw(narrow, walks, loads, pieces, contended, unit):
    from matplotlib import lines, patches
    rows = len(walks) + len(pieces)
    legend = [(patches.Patch(facecolor=LOADS), f"four dependent loads ({words.count(loads)})"),
              (patches.Patch(facecolor=REST, hatch="///", edgecolor=style.PAPER), "read side, pin and checks")]
    if contended:
        legend.append((lines.Line2D([], [], linestyle="none", color=CONTENDED, marker="|", markersize=11),
                       "against an unmapper"))
    titles = ["Walk of one page, by policy"] + (["Pieces of a read side, alone"] if pieces else [])
    height = 26 * (max(len(walks), len(pieces)) if not narrow else len(walks)) + 8
    panels = style.Panels(narrow, titles, (2, 1), height, legend, left=126)
    axes = panels.axes[0]
    for y, (policy, cycles) in enumerate(walks.items()):
        bar(axes, y, 0, min(loads, cycles), LOADS)
        bar(axes, y, min(loads, cycles), max(0, cycles - loads), REST, "///")
        if policy in contended:
            style.data(axes.plot([contended[policy]], [y], color=CONTENDED, marker="|", markersize=13,
                                 markeredgewidth=2)[0])
    if pieces:
        for y, cycles in enumerate(pieces.values()):
            bar(panels.axes[1], y, 0, cycles, style.GREEN)
    style.floor_line(panels.axes[0], walks)
    most = max([*walks.values(), *contended.values(), *pieces.values()]) * 1.12
    for axes, names in zip(panels.axes, (walks, pieces)):
        axes.set_yticks(range(len(names)), [PIECES.get(name, style.called(name)) for name in names])
        axes.set_ylim(max(len(walks), len(pieces)) - 0.4 if not narrow else len(names) - 0.4, -0.6)
        axes.set_xlim(0, most)
        axes.grid(axis="y", visible=False)
        style.scaled(axes.xaxis, words.tick, 4 if narrow else 6)
        axes.set_xlabel(unit)
    assert rows
    return panels.figure


def section(data):
    command = data.command("walk", "walk_contended")
    walks = {p: m for p in data.policies if (m := data.median("walk", table_free=p, walkers=0, remote=0))}
    loads = data.median("loads4")
    if not walks or not loads:
        absent = words.listed([n for n, have in (("walk", walks), ("loads4", loads)) if not have])
        return missing(NAME, TITLE, f"no run here has measured {absent}", command)
    contended = {p: m for p in walks if (m := data.median("walk_contended", table_free=p, walkers=1))}
    pieces = {n: m for n in PIECES if (m := data.median(n))}
    low, high = min(walks, key=walks.get), max(walks, key=walks.get)
    said = (f"Four dependent loads take {words.value(loads, data.unit)} in the median, a whole walk "
            f"{words.ranking(walks, data.unit)}: {words.times(walks[low] / loads)} to "
            f"{words.times(walks[high] / loads)} the loads")
    dearer = [f"{100 * cycles / walks[low] - 100:.0f} % ({p})" for p, cycles in walks.items() if p != low]
    said += f"; over the cheapest ({low}) the others take {words.listed(dearer)} more" if dearer else ""
    if {"preempt_off_on", "irqs_off_on"} <= set(pieces):
        said += (f"; turning interrupts off and on costs {words.count(pieces['irqs_off_on'])}, preemption "
                 f"{words.count(pieces['preempt_off_on'])}")
    if contended:
        worst = max(contended, key=lambda p: contended[p] / walks[p])
        ratio = contended[worst] / walks[worst]
        said += (f"; an unmapper beside it makes it up to {words.times(ratio)} as long ({worst})"
                 if ratio > 1 + words.ALIKE else "; an unmapper beside it makes no difference beyond noise")
    names = ("walk", "walk_contended", "loads4", *PIECES)
    said += words.weak(name for name in names if any(stats.few(i) for i in data.select(name)))
    return Section(NAME, TITLE, said + ".", command, lambda narrow: draw(narrow, walks, loads, pieces, contended,
                                                                              data.unit),
                   note="Medians. The put is not in it. The pieces on their own are measured in turn with the walks; "
                        "they need not add up, because a processor overlaps them.")
