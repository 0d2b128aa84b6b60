# SPDX-License-Identifier: MIT
"""One unmap, CPU by CPU, under each policy: from the events of the kernel's trace."""
import dataclasses

from pictures import style, words
from pictures.section import Section

NAME, TITLE = "timeline", "One unmap, drawn as it happened"
# The kernel's events (lab/trace.h) look the same in every report; others get what is left.
SPANS = {"unmap": style.BLUE, "flush": style.SKY, "ipi": style.ORANGE, "nmi": style.ORANGE, "walk": style.GREEN,
         "grace_period": style.PINK, "expedited": style.PINK, "theft": style.RED, "switch": style.BLACK}
INSTANTS = {"ipi_sent": (style.ORANGE, 5), "nmi_sent": (style.ORANGE, 5), "ipi_acked": (style.ORANGE, 4),
            "pv_flagged": (style.RED, "s"), "sweep": (style.BLUE, "P"), "quiescent": (style.PINK, "v"),
            "table_kept": (style.MUTED, "."), "table_unlinked": (style.RED, "+"), "table_flushed": (style.BLACK, "1"),
            "table_quiesced": (style.BLACK, "x"), "table_freed": (style.GREEN, "D")}
COLORS = (style.BLUE, style.ORANGE, style.GREEN, style.PINK, style.SKY, style.RED, style.BLACK)
MARKERS = "|xv^sD*"


@dataclasses.dataclass
class Span:
    event: str
    cpu: int
    start: int
    end: int
    depth: int  # how many spans of its CPU it lies in


class Scene:
    """The events of one boot's scene under one policy."""

    def __init__(self, policy, flush, events):
        self.policy, self.flush = policy, flush
        self.cpus = sorted({e["cpu"] for e in events})
        self.last = max(e["ns"] for e in events)
        self.instants = [(e["event"], e["cpu"], e["ns"]) for e in events if e["ph"] == "i"]
        self.spans = []
        for cpu in self.cpus:
            self.pair(cpu, [e for e in events if e["cpu"] == cpu and e["ph"] in "BE"])

    def pair(self, cpu, events):
        """Begins with their ends. What began before the scene, or goes on after it, is cut at its edge."""
        open_spans = []
        for e in sorted(events, key=lambda e: e["ns"]):
            if e["ph"] == "B":
                open_spans.append(e)
                continue
            at = next((i for i in reversed(range(len(open_spans))) if open_spans[i]["event"] == e["event"]), None)
            start = open_spans.pop(at)["ns"] if at is not None else 0
            self.spans.append(Span(e["event"], cpu, start, e["ns"], len(open_spans)))
        for depth, e in enumerate(open_spans):
            self.spans.append(Span(e["event"], cpu, e["ns"], self.last, depth))

    def names(self):
        return [s.event for s in self.spans], [event for event, _, _ in self.instants]

    def length_of(self, event):
        return max((s.end - s.start for s in self.spans if s.event == event), default=None)


def scenes(data):
    """One for each policy that was traced, under the flush back-end that most of them share."""
    found = {}
    for run in data.runs:
        of_run = {}
        for e in run.trace:
            if e.get("scene") == "unmap" and e.get("table_free") and "cpu" in e:
                of_run.setdefault((e["table_free"], e.get("tlb_flush", "-"), run.header.get("cpus")), []).append(e)
        found = of_run | found  # of several traces of the same thing the first one
    by_flush = {}
    for policy, flush, cpus in found:
        by_flush.setdefault((flush, cpus), set()).add(policy)
    if not by_flush:
        return []
    flush, cpus = max(by_flush, key=lambda k: (len(by_flush[k]), k[1] == data.cpus, k[0] == "ipi", str(k)))
    return [Scene(p, flush, found[p, flush, cpus]) for p in style.in_order(by_flush[flush, cpus])]


def looks_of(some):
    """The same colour and mark for an event in all panels."""
    spans = list(dict.fromkeys(name for s in some for name in s.names()[0]))
    instants = list(dict.fromkeys(name for s in some for name in s.names()[1]))
    return ({name: SPANS.get(name, COLORS[i % len(COLORS)]) for i, name in enumerate(spans)},
            {name: INSTANTS.get(name, (COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]))
             for i, name in enumerate(instants)})


def draw_scene(axes, scene, spans, instants, last):
    place = {cpu: i for i, cpu in enumerate(scene.cpus)}
    bars, marks = {}, {}
    for s in scene.spans:
        width = max(s.end - s.start, last / 500)
        bars.setdefault((s.depth, s.event, s.cpu, width > last / 60), []).append((s.start, width))
    for event, cpu, ns in scene.instants:
        marks.setdefault((event, cpu), []).append(ns)
    for (depth, event, cpu, wide), where in sorted(bars.items()):
        height = max(0.12, 0.5 - 0.16 * depth)
        style.data(axes.broken_barh(where, (place[cpu] - 0.12 - height / 2, height), facecolor=spans[event],
                                    edgecolor=style.PAPER, linewidth=0.4 if wide else 0))
    for (event, cpu), where in marks.items():
        color, marker = instants[event]
        style.data(axes.plot(where, [place[cpu] + 0.32] * len(where), color=color, marker=marker, markersize=6,
                             markeredgewidth=1.4, linestyle="none")[0])
    axes.set_yticks(range(len(scene.cpus)), [f"CPU {cpu}" for cpu in scene.cpus])
    axes.set_ylim(len(scene.cpus) - 0.5, -0.5)
    axes.set_xlim(-last / 60, last * 1.02)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(style.ticker.MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda v, _: style.short_time(v) if v else "0")


def draw(narrow, some):
    from matplotlib import patches
    spans, instants = looks_of(some)
    legend = [(patches.Patch(facecolor=color), name.replace("_", " ")) for name, color in spans.items()]
    legend += [(style.lines.Line2D([], [], color=color, marker=marker, linestyle="none", markersize=7),
                name.replace("_", " "))
               for name, (color, marker) in instants.items()]
    height = 38 * max(len(s.cpus) for s in some)
    panels = style.Panels(narrow, [s.policy for s in some], (2, 1), height, legend, left=58, bottom=28)
    for axes, scene in zip(panels.axes, some):
        draw_scene(axes, scene, spans, instants, scene.last)
    return panels.figure


def spread(times):
    """The shortest and the longest, and whose they are."""
    low, high = min(times, key=times.get), max(times, key=times.get)
    more = f" to {words.time(times[high])} ({high})" if low != high else ""
    return f"{words.time(times[low])} ({low}){more}"


def say(some):
    lengths = {s.policy: n for s in some if (n := s.length_of("unmap"))}
    freed = {s.policy: max(ends) for s in some
             if (ends := [ns for event, _, ns in s.instants if "free" in event]
                 + [x.end for x in s.spans if "free" in x.event])}
    said = (f"One unmap of a page with its tables under {words.plural(len(some), 'policy', 'policies')}, flushed by "
            f"{some[0].flush}")
    if lengths:
        said += f": it took {spread(lengths)}"
    if freed:
        said += f"; its last table was free after {spread(freed)}"
    return said + "."


def section(data):
    command = f"make trace SMP={data.cpus}"
    some = scenes(data)
    if not some:
        return Section(NAME, TITLE, gap="Not drawn: no run here has TRACE lines of the scene unmap. This makes them:",
                       command=command)
    return Section(NAME, TITLE, say(some), command, lambda narrow: draw(narrow, some),
                   note="A single unmap each, not a statistic. Time runs from the start of the scene; each panel has "
                        "its own scale. Bars are spans of time, thinner ones lie within others; the marks below them are "
                        "instants.")
