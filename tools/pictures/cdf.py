# SPDX-License-Identifier: MIT
"""How long something takes, as a whole distribution: unmapping a page and its tables, by policy and by flush back-end;
and the wait before a table is reused, by policy."""
import numpy

import stats
from pictures import style, words
from pictures.section import Section, missing

UNMAP, REUSE = "unmap_page", "table_wait"
MARKED = (0.5, 0.99)
FEW = 100  # samples: below, a 99th percentile means little


class Scene:
    """The cases of a benchmark that differ by what a curve stands for: one panel."""

    def __init__(self, data, bench, title, case, curves):
        self.title, self.unit = title, data.unit
        self.curves = {name: found for name, want in curves.items()
                       if (found := data.distribution(bench, pages=1, **case, **want))}

    def percentiles(self, p):
        return {name: stats.percentile(d, p) for name, d in self.curves.items()}

    def draw(self, axes, looks):
        ends = [stats.percentile(d, p) for d in self.curves.values() for p in (0, 99)]
        for name, d in self.curves.items():
            x, y = stats.cumulative(d)
            x, y = numpy.append(d.low[:1], x), numpy.append(0, y)
            kind = style.look(name, looks)
            marker = kind.pop("marker")
            style.data(axes.plot(x, y, **kind)[0])
            style.data(axes.plot(numpy.interp(MARKED, y, x), MARKED, linestyle="none", color=kind["color"],
                                 marker=marker)[0])
        axes.set_xscale("log")
        axes.set_xlim(max(1, min(ends)) / 1.1, max(ends) * 1.2)
        axes.set_ylim(0, 1.03)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        style.readable_log(axes.xaxis, words.tick)
        axes.set_xlabel(f"{self.unit} (log scale)")

    def sentence(self):
        where = self.title[0].lower() + self.title[1:]
        tails = self.percentiles(99)
        slowest = max(tails, key=tails.get)
        few = [name for name, d in self.curves.items() if d.n < FEW]
        weak = f" (fewer than {FEW} samples of {words.listed(few)})" if few else ""
        return (f"{where}{weak}, the median is {words.ranking(self.percentiles(50), self.unit)}, and 99 % are done "
                f"within {words.count(tails[slowest])} under the slowest ({slowest})")


def build(data, name, title, bench, what, cases, looks, curves):
    """A figure with a panel for each of these cases of the benchmark: {its title: the case}."""
    command = data.command(bench)
    scenes = [Scene(data, bench, title, case, curves) for title, case in cases.items()]
    scenes = [scene for scene in scenes if scene.curves]
    if not scenes:
        timed = any(data.one(bench, **want) for want in curves.values())
        why = ("these runs have its medians, but no histograms (HIST lines), like logs of kernels before they sent them"
               if timed else f"no run here has measured {what}")
        return missing(name, title, why, command)
    names = [n for n in curves if any(n in scene.curves for scene in scenes)]

    def draw(narrow):
        panels = style.Panels(narrow, [s.title for s in scenes], (2, 1), 200 if narrow else 250,
                              [style.handle(n, looks) for n in names])
        for axes, scene in zip(panels.axes, scenes):
            scene.draw(axes, looks)
        return panels.figure

    return Section(name, title, f"{words.upper(what)}: "
                   + "; ".join(scene.sentence() for scene in scenes) + ".", command, draw,
                   note="Markers: median and 99th percentile. The axis ends a little beyond the largest of these.")


def unmap(data, name, title, looks, curves):
    """Alone, and with all other CPUs."""
    cases = {f"With {words.plural(others, 'other CPU')} in the space" if others else "Alone in the space":
             {"others": others} for others in sorted({0, data.most_others(UNMAP)})}
    return build(data, name, title, UNMAP, "unmapping one page with its tables", cases, looks, curves)


def of_policies(data):
    return {p: {"table_free": p, "tlb_flush": data.flush} for p in data.policies}


def by_policy(data):
    return unmap(data, "unmap-by-policy", f"Unmap latency by policy, under {data.flush}", None, of_policies(data))


def reuse(data):
    """What a collapse waits for between the flush and the copy, without either."""
    most = max((i["walkers"] for i in data.select(REUSE)), default=0)
    cases = {f"While {words.plural(n, 'other CPU')} {'walks' if n == 1 else 'walk'} the space" if n else
             "While nobody walks": {"walkers": n} for n in sorted({0, most})}
    return build(data, "reuse", "The wait before a table is reused, by policy", REUSE,
                 "the wait before a table is reused", cases, None, of_policies(data))


def by_backend(data):
    policy = "rcu" if "rcu" in data.policies else next(iter(data.policies), "rcu")
    curves = {b: {"table_free": policy, "tlb_flush": b} for b in data.backends}
    return unmap(data, "unmap-by-backend", f"Unmap latency by flush back-end, under {policy}", style.BACKEND_LOOKS,
                 curves)
