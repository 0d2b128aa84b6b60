# SPDX-License-Identifier: MIT
"""Whom the freeing side waits for by its own means while other CPUs walk the space, and for how many of these walkers
the flush had done so already."""
from pictures import style, words
from pictures.section import Section, missing

NAME, TITLE, BENCH = "awaited", "Walkers waited for, and how many in vain", "unmap_walked"
NEEDED, REDUNDANT = style.BLUE, style.ORANGE
CASES = {"They have the space loaded": 0, "They do not": 1}


def found(data):
    """{title: {pair: (waited for, of these proved) for each unmap}}, the pairs that wait for somebody anywhere."""
    def of_unmap(item):
        return tuple(item.get(f"walkers_{what}_per_1000", 0) / 1000 for what in ("awaited", "proved"))

    all_of = {title: {(i["table_free"], i["tlb_flush"]): of_unmap(i) for i in data.select(BENCH, remote=remote)}
              for title, remote in CASES.items()}
    policies = {policy for some in all_of.values() for (policy, _), (awaited, _) in some.items() if awaited}
    order = [(policy, flush) for policy in data.policies for flush in data.backends if policy in policies]
    return {title: {pair: some[pair] for pair in order if pair in some} for title, some in all_of.items() if some}


def draw(narrow, cases):
    from matplotlib import patches
    rows = max(map(len, cases.values()))
    redundant = patches.Patch(facecolor=REDUNDANT, hatch="///", edgecolor=style.PAPER)
    legend = [(patches.Patch(facecolor=NEEDED), "waited for"), (redundant, "… and the flush had proved its end")]
    panels = style.Panels(narrow, list(cases), (2, 1), 22 * rows + 8, legend, left=130)
    most = max(awaited for some in cases.values() for awaited, _ in some.values())
    for axes, some in zip(panels.axes, cases.values()):
        for y, (awaited, proved) in enumerate(some.values()):
            style.data(axes.barh(y, proved, 0.62, color=REDUNDANT, hatch="///", edgecolor=style.PAPER)[0])
            style.data(axes.barh(y, awaited - proved, 0.62, proved, color=NEEDED)[0])
        axes.set_yticks(range(len(some)), [" + ".join(pair) for pair in some])
        axes.set_ylim(rows - 0.4, -0.6)
        axes.set_xlim(0, most * 1.05)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("walkers for each unmap")
    return panels.figure


def sentence(cases):
    """Of the walkers that have the space loaded: for each policy how many it waits for under which back-end, and, where
    it counts that, which share in vain."""
    loaded, parts = next(iter(cases.values())), []
    for policy in dict.fromkeys(policy for policy, _ in loaded):
        own = {flush: both for (p, flush), both in loaded.items() if p == policy}
        counts = any(proved for _, proved in own.values())
        waits = [f"{awaited:.2f} under {flush}" + (f" ({100 * proved / awaited:.0f} % proved)" if counts and awaited else "")
                 for flush, (awaited, proved) in own.items()]
        parts.append(f"{policy} waits for {words.listed(waits)}")
    return f"Walkers for each unmap, where they have the space loaded: {'; '.join(parts)}."


def section(data):
    command = data.command(BENCH)
    cases = found(data)
    if not any(some for some in cases.values()):
        why = "no run here has counted the walkers that unmaps wait for (it needs two CPUs)"
        return missing(NAME, TITLE, why, command)
    return Section(NAME, TITLE, sentence(cases), command, lambda narrow: draw(narrow, cases),
                   note="All other CPUs walk the space, 64 pages at a time, and one of them is inside a walk when an "
                        "unmap begins. Policies that interrupt no walker are not shown: they wait for the flush alone, for "
                        "a grace period, or by looking.")
