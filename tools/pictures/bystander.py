# SPDX-License-Identifier: MIT
"""What other CPUs' unmapping takes from one that only reads its clock."""
import numpy

import stats
from pictures import style, words
from pictures.section import Section, missing

NAME, TITLE = "bystander", "Bystander noise: what unmapping takes from a CPU that only runs in the space"
BASELINE = "nobody unmaps"


def exceedance(d, per_second):
    """(lengths, rates): so many gaps a second are at least so long."""
    longer = d.n - numpy.append(0, d.count.cumsum()[:-1])
    return d.low, longer / d.n * per_second


def draw_curve(axes, d, item, **kind):
    x, y = exceedance(d, item["gaps_per_sec"])
    marker = kind.pop("marker", None)
    line = style.data(axes.plot(numpy.append(x, d.high[-1]), numpy.append(y, y[-1]), drawstyle="steps-post", **kind)[0])
    if marker:
        line.set_marker(marker)
        line.set_markevery([int(numpy.searchsorted(d.count.cumsum(), d.n / 2))])


class Noise:
    """The distributions and rates, by pair."""

    def __init__(self, data):
        self.items, self.gaps = {}, {}
        for i in data.select(NAME):
            pair = i["table_free"], i["tlb_flush"]
            d = data.distribution(NAME, table_free=pair[0], tlb_flush=pair[1], others=i.get("others"))
            if i.get("gaps_per_sec") is not None:
                self.items[pair] = i
                if d and i["gaps_per_sec"]:
                    self.gaps[pair] = d
        self.baseline = next((p for p in self.items if p[0] in ("-", "", None)), None)
        self.flushes = [b for b in data.backends if any(p[1] == b for p in self.gaps if p != self.baseline)]
        self.policies = [n for n in data.policies if any(p[0] == n for p in self.gaps)]

    def few(self):
        return [BASELINE if pair == self.baseline else " with ".join(pair) for pair, d in self.gaps.items()
                if d.n < stats.FEW]

    def of(self, flush):
        return {p: i for p, i in self.items.items() if p[1] == flush and p != self.baseline}


def draw(narrow, noise):
    legend = [style.handle(name) for name in noise.policies]
    quiet = {"color": style.MUTED, "linewidth": 4, "alpha": 0.45}
    if noise.baseline in noise.gaps:
        legend.append((style.lines.Line2D([], [], **quiet), BASELINE))
    panels = style.Panels(narrow, [f"Flush by {flush}" for flush in noise.flushes], (len(noise.flushes), 2),
                          150 if narrow else 210, legend)
    rates = [noise.items[p]["gaps_per_sec"] for p in noise.gaps]
    least = min(rate / d.n for rate, d in zip(rates, noise.gaps.values()))
    ends = [d.low[0] for d in noise.gaps.values()] + [d.high[-1] for d in noise.gaps.values()]
    for axes, flush in zip(panels.axes, noise.flushes):
        if noise.baseline in noise.gaps:
            draw_curve(axes, noise.gaps[noise.baseline], noise.items[noise.baseline], **quiet)
        for pair in noise.of(flush):
            if pair in noise.gaps:
                draw_curve(axes, noise.gaps[pair], noise.items[pair], **style.look(pair[0]))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(max(1, min(ends)) / 1.2, max(ends) * 1.2)
        axes.set_ylim(least / 1.5, max(rates) * 2)
        style.plain_log(axes.xaxis, style.short_time, 5 if narrow or len(noise.flushes) > 2 else 7)
        style.plain_log(axes.yaxis, words.tick)
        axes.set_xlabel("gap at least so long")
    return panels.figure


def percent(ppm):
    return f"{ppm / 1e4:.2g} %"


def say(noise):
    key, per = ("ipis_per_sec", "interrupts other than its tick's") if all(
        "ipis_per_sec" in i for i in noise.items.values()) else ("gaps_per_sec", "gaps")
    base = noise.items.get(noise.baseline)
    parts = []
    for flush in noise.flushes:
        rates = {p[0]: i[key] for p, i in noise.of(flush).items()}
        low, high = min(rates, key=rates.get), max(rates, key=rates.get)
        parts.append(f"{words.count(rates[low])} to {words.count(rates[high])} a second with {flush} ({low}, {high})"
                     if rates[low] != rates[high] else f"{words.count(rates[low])} a second with {flush}")
    lost = {p: i["lost_ppm"] for p, i in noise.items.items() if p != noise.baseline and i.get("lost_ppm") is not None}
    said = f"While another CPU unmaps as fast as it can, the bystander takes {per}: {', '.join(parts)}"
    if lost:
        most, least = max(lost, key=lost.get), min(lost, key=lost.get)
        said += (f"; of its time it loses {percent(lost[least])} ({least[0]} with {least[1]}) to {percent(lost[most])} "
                 f"({most[0]} with {most[1]})")
    if base:
        said += f", and while nobody unmaps: {words.count(base[key])} a second"
        if base.get("lost_ppm") is not None:
            said += f", {percent(base['lost_ppm'])} lost"
    else:
        said += "; without anybody unmapping it was not measured, so the tick's and the host's share is in these"
    return said + words.weak(noise.few(), "gaps") + "."


def section(data):
    command = data.command("bystander")
    noise = Noise(data)
    if not noise.flushes:
        why = "there are no histograms (HIST lines) of bystander here" if noise.items else "no run here has measured " \
            "bystander (it needs two CPUs)"
        return missing(NAME, TITLE, why, command)
    return Section(NAME, TITLE, say(noise), command, lambda narrow: draw(narrow, noise),
                   note="A point says how many gaps a second are at least so long; lower and further left is quieter. "
                        "Grey: nobody unmaps, so that is the tick's and the host's share.")
