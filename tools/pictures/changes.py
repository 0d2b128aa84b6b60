# SPDX-License-Identifier: MIT
"""What has changed since an earlier run, and whether by more than noise."""
import dataclasses
from html import escape

import stats
from pictures import style, words
from pictures.data import counted
from pictures.section import Section

NAME, TITLE = "changes", "Changed since the base"
SHOWN = 24  # in the picture


@dataclasses.dataclass
class Change:
    label: str
    old: float
    new: float
    unit: str
    ratio: float
    low: float = None   # of the confidence interval; None: a file has no histogram, or of too few samples
    high: float = None
    beyond: bool = False
    exact: bool = False  # instructions, counted: no noise, any change is one


def label_of(item):
    """A case in words: its name, the pair, and what else tells it from others."""
    pair = [item[k] for k in ("table_free", "tlb_flush") if item.get(k) not in (None, "", "-")]
    more = [words.plural(item[k], text) for k, text in (("others", "other CPU"), ("walkers", "walker")) if item.get(k)]
    if item.get("stolen_us"):
        more = [f"preempted for {words.time(item['stolen_us'] * 1000)}"]  # their company is always the same
    if item["name"] == "unmap_kept":
        more.append(words.plural(item["pages"], "page"))
    return ", ".join([" ".join(filter(None, (item["name"], "+".join(pair)))), *more])


def interval(change):
    return "exact" if change.exact else f"{change.low:.3g} to {change.high:.3g}"


def value(change, figure):
    return f"{figure:,} {change.unit}" if change.exact else words.value(figure, change.unit)


def noise_between(data, base):
    return stats.noise_of([run.header for run in data.runs + base.runs])


def exact_change(label, new, old):
    """Of counted instructions; None where one side has no count that most of its samples have."""
    now, then = new.get("usual"), old.get("usual")
    if not (counted(new) and now and then):
        return None
    return Change(label, then, now, "instructions", now / then, beyond=now != then, exact=True)


def compare(data, base):
    """The cases that both have, at all numbers of CPUs, the most changed first."""
    found, noise = [], noise_between(data, base)
    for key in data.bench:
        if key not in base.bench:
            continue
        new, old = data.middle(data.bench[key]), base.middle(base.bench[key])
        if not new.get("median") or not old.get("median"):
            continue
        name = label_of(new) + (f", {new['cpus']} CPUs" if len(data.cpu_counts()) > 1 else "")
        if exact := exact_change(name, new, old):
            found.append(exact)
            continue
        change = Change(name, old["median"], new["median"], new.get("unit") or "cycles", new["median"] / old["median"])
        seen = stats.changed(data.hist.get(key, []), base.hist.get(key, []), noise=noise)
        if seen:
            change = dataclasses.replace(change, ratio=seen.ratio, low=seen.low, high=seen.high,
                                         beyond=seen.beyond_noise)
        found.append(change)
    return sorted(found, key=lambda c: (not c.beyond, c.low is None and not c.exact, -max(c.ratio, 1 / c.ratio), c.label))


def draw(narrow, shown, noise):
    left = 20 if narrow else min(400, 20 + 7 * max(len(c.label) for c in shown))
    legend = [(style.lines.Line2D([], [], color=style.RED, marker="o", linestyle="-"), "beyond noise"),
              (style.lines.Line2D([], [], color=style.MUTED, marker="o", markerfacecolor=style.PAPER), "not")]
    if any(c.exact for c in shown):
        legend.append((style.lines.Line2D([], [], color=style.BLUE, marker="D", linestyle="none"), "exact count"))
    panels = style.Panels(narrow, [""], (1, 1), (38 if narrow else 24) * len(shown) + 10, legend, left=left)
    axes = panels.axes[0]
    low = min(c.low if c.low else c.ratio for c in shown)
    high = max(c.high if c.high else c.ratio for c in shown)
    axes.set_xscale("log")
    axes.set_xlim(min(low, 1 / 1.2) / 1.05, max(high, 1.2) * 1.05)
    axes.axvspan(1 / (1 + noise), 1 + noise, color=style.GRID, alpha=0.5, linewidth=0)
    for y, c in enumerate(shown):
        color = style.MUTED if not c.beyond else style.BLUE if c.exact else style.RED
        if c.low is not None:
            style.data(axes.plot([c.low, c.high], [y, y], color=color, linewidth=2)[0])
        inside = color if c.beyond else style.PAPER
        style.data(axes.plot([c.ratio], [y], marker="D" if c.exact else "o", color=color, markerfacecolor=inside)[0])
        if narrow:
            axes.text(0, y - 0.3, c.label, transform=axes.get_yaxis_transform(), fontsize=11, va="center")
    axes.set_yticks([] if narrow else range(len(shown)), [] if narrow else [c.label for c in shown])
    axes.set_ylim(len(shown) - 0.5, -0.7)
    axes.grid(axis="y", visible=False)
    style.readable_log(axes.xaxis, lambda v: f"{v:g}×")
    axes.set_xlabel("median now / median then (log scale)")
    return panels.figure


def table(changes):
    cells = [(value(c, c.old), value(c, c.new),
              f"{c.new - c.old:+,}" if c.exact else words.times(c.ratio), interval(c)) for c in changes]
    rows = "".join(f'<tr><th scope="row">{escape(c.label)}</th>'
                   + "".join(f'<td class="number">{text}</td>' for text in row) + "</tr>"
                   for c, row in zip(changes, cells))
    head = "".join(f'<th class="number">{text}</th>' for text in ("then", "now", "ratio", "95 % interval"))
    return ("<details><summary>All that changed, in figures</summary>"
            f'<table class="changes"><thead><tr><th>case</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
            "</details>")


def say_exact(changes):
    """What has become of the counted instructions."""
    changed = [c for c in changes if c.beyond]
    said = (f"Of {words.plural(len(changes), 'exact instruction count')} {len(changed) or 'none'} "
            f"{'have' if len(changed) > 1 else 'has'} changed")
    if changed:
        said += f", {changed[0].label} by most: {changed[0].old:,} became {changed[0].new:,}"
    return said + "."


def say(changes, noise):
    """Of what was timed, and of what was counted."""
    timed, exact = [c for c in changes if not c.exact], [c for c in changes if c.exact]
    parts = [say_timed(timed, noise)] if timed else []
    return " ".join(parts + ([say_exact(exact)] if exact else []))


def say_timed(changes, noise):
    beyond = [c for c in changes if c.beyond]
    said = f"Of {words.plural(len(changes), 'case')} that both have"
    if blind := sum(c.low is None for c in changes):
        said += f" ({blind} of them without histograms or with fewer than {stats.FEW} samples, so without an interval)"
    if not beyond:
        return f"{said}, none has changed beyond noise ({words.times(1 + noise)} and the 95 % interval of the bootstrap)."
    slower, faster = [c for c in beyond if c.ratio > 1], [c for c in beyond if c.ratio < 1]
    said += f", {len(beyond)} {'have' if len(beyond) > 1 else 'has'} changed beyond noise"
    for what, some in (("larger", slower), ("smaller", faster)):
        if some:
            said += (f"; {len(some)} {'are' if len(some) > 1 else 'is'} {what}, {some[0].label} by most: "
                     f"{words.value(some[0].old, some[0].unit)} became {words.value(some[0].new, some[0].unit)} "
                     f"({words.times(some[0].ratio)}, {interval(some[0])})")
    return said + "."


def section(data, base):
    changes = compare(data, base)
    if not changes:
        return Section(NAME, TITLE, gap="Not drawn: these runs and the base have no case in common (the same "
                       "benchmark, pair, number of CPUs and build).")
    beyond = [c for c in changes if c.beyond]
    shown = changes[:SHOWN]
    noise = noise_between(data, base)
    note = (f"Grey ground: up to {words.times(1 + noise)} more or less counts as noise between boots"
            + (", as the host was overcommitted" if noise > stats.NOISE else "")
            + ". Lines: 95 % intervals of the ratio, by bootstrap."
            + (" An exact count has no noise: any other is a change." if any(c.exact for c in changes) else ""))
    if len(shown) < len(changes):
        note += f" The {len(shown)} largest changes of {len(changes)}."
    return Section(NAME, TITLE, say(changes, noise), draw=lambda narrow: draw(narrow, shown, noise), note=note,
                   table=table(beyond) if beyond else "")
