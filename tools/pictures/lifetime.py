# SPDX-License-Identifier: MIT
"""How long a table lives on after its unmap has begun: until the unmap returns, and until it is FREE."""
from html import escape

import stats
from pictures import style, words
from pictures.section import Section, missing

NAME, TITLE = "lifetime", "From unmap to free, and what is held meanwhile"
FREE, UNMAPPED, HELD = "until_free", "until_unmapped", "pages_held"
UNMAP, REST = style.SKY, style.ORANGE
PAGE_KIB = 4


def cases(data):
    """{title: {policy: (ns until the unmap has returned, ns until the table is FREE, few samples)}}"""
    lengths = sorted({i["stolen_us"] for i in data.select(FREE, tlb_flush=data.flush)})
    found = {}
    for us in lengths:
        title = f"Another CPU walks, preempted for {words.time(us * 1000)}" if us else "Another CPU walks"
        some = {}
        for policy in data.policies:
            case = {"table_free": policy, "tlb_flush": data.flush, "walkers": 1, "stolen_us": us}
            free, unmap = data.one(FREE, **case), data.median(UNMAPPED, **case)
            if free and unmap is not None:
                some[policy] = min(unmap, free["median"]), free["median"], stats.few(free)
        if some:
            found[title] = some
    return found


def draw(narrow, found):
    from matplotlib import patches
    rows = max(map(len, found.values()))
    legend = [(patches.Patch(facecolor=UNMAP), "the unmap, its flush in it"),
              (patches.Patch(facecolor=REST, hatch="///", edgecolor=style.PAPER), "then, until the table is FREE")]
    panels = style.Panels(narrow, list(found), (2, 1), 24 * rows + 8, legend, left=110)
    for axes, some in zip(panels.axes, found.values()):
        for y, (unmap, free, _) in enumerate(some.values()):
            style.data(axes.barh(y, unmap / 1e6, 0.62, color=UNMAP)[0])
            style.data(axes.barh(y, (free - unmap) / 1e6, 0.62, unmap / 1e6, color=REST, hatch="///",
                                 edgecolor=style.PAPER)[0])
        style.floor_line(axes, {policy: free / 1e6 for policy, (_, free, _) in some.items()})
        axes.set_yticks(range(len(some)), [style.called(policy) for policy in some])
        axes.set_ylim(rows - 0.4, -0.6)
        axes.set_xlim(0, max(free for _, free, _ in some.values()) / 1e6 * 1.08)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("ms")
    return panels.figure


def table(data, found):
    """Bytes held times the time for which they are: of a table, and of all that is held at most."""
    rows = []
    for policy, (_, free, few) in next(iter(found.values())).items():
        pair = {"table_free": policy, "tlb_flush": data.flush}
        held = data.one(HELD, stolen_us=0, others=0, walkers=0, **pair)
        ms, star = free / 1e6, "*" if few else ""
        most = (words.count(held["median"]), words.count(PAGE_KIB * held["median"] * ms)) if held else ("–", "–")
        cells = (words.time(free) + star, f"{PAGE_KIB * ms:,.2f}{star}", *most)
        rows.append(f'<tr><th scope="row">{escape(style.called(policy))}</th>'
                    + "".join(f'<td class="number">{text}</td>' for text in cells) + "</tr>")
    titles = "life of a table", "KiB × ms, a table", "tables held at most", "KiB × ms, all"
    head = "".join(f'<th class="number">{text}</th>' for text in titles)
    return ("<details><summary>Bytes held × time, in figures</summary>"
            f'<table class="changes"><thead><tr><th>policy</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
            "</table></details>")


def section(data):
    command = data.command(FREE, HELD)
    if not (found := cases(data)):
        return missing(NAME, TITLE, "no run here has measured how long tables live on (it needs two CPUs)", command)
    parts = []
    for title, some in found.items():
        low, high = (which(some, key=lambda policy: some[policy][1]) for which in (min, max))
        weak = words.weak(policy for policy, (_, _, few) in some.items() if few)
        parts.append(f"{title[0].lower()}{title[1:]}{weak}: {words.time(some[low][1])} ({low}) to "
                     f"{words.time(some[high][1])} ({high})")
    return Section(NAME, TITLE, f"From the begin of an unmap until its table is FREE, {'; '.join(parts)}.", command,
                   lambda narrow: draw(narrow, found), table=table(data, found),
                   note=f"Medians under {data.flush}. A policy that begins its wait before the flush hides one behind the "
                        "other. * fewer than 5 samples.")
