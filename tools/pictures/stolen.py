# SPDX-License-Identifier: MIT
"""What an unmapper pays while another CPU of the space is preempted: it waits, or pages pile up."""
import stats
from pictures import style, words
from pictures.section import Section, missing

NAME, TITLE = "stolen", "While a CPU is preempted"
WAIT, HELD = "unmap_stolen", "pages_held"


class Curves:
    """{back-end: {policy: [(µs, median, few samples)]}} of a benchmark."""

    def __init__(self, data, name):
        self.points = {}
        for flush in data.backends:
            for policy in data.policies:
                some = data.select(name, table_free=policy, tlb_flush=flush)
                # The case without a preemption is one of several: the one with the same company.
                company = {(i.get("others"), i.get("walkers")) for i in some if i["stolen_us"]}
                by_length = {i["stolen_us"]: i for i in some if (i.get("others"), i.get("walkers")) in company}
                if any(by_length):
                    self.points.setdefault(flush, {})[policy] = [(us, i["median"], stats.few(i))
                                                                 for us, i in sorted(by_length.items())]

    def lengths(self):
        return sorted({us for some in self.points.values() for curve in some.values() for us, _, _ in curve})

    def few(self, us=None):
        """The pairs with a point, of preemptions of that length, that too few samples stand for."""
        return [f"{policy} with {flush}" for flush, some in self.points.items() for policy, curve in some.items()
                if any(few and us in (None, length) for length, _, few in curve)]

    def at(self, us, flush):
        return {policy: point[1] for policy, curve in self.points.get(flush, {}).items() for point in curve
                if point[0] == us}


def x_of(us, lengths):
    """Zero has its place left of the shortest preemption."""
    return us / 1000 if us else min(length for length in lengths if length) / 3000


def beside(policy, names):
    """Curves that coincide are drawn a little beside each other, so that each is seen."""
    return 1.06 ** (names.index(policy) - (len(names) - 1) / 2)


def draw_panel(axes, curves, flush, lengths, floor, ceiling, names):
    waits = curves.name == WAIT
    if waits:
        some = [us for us in lengths if us]
        axes.plot([us / 1000 for us in some], [us * 1000 for us in some], color=style.MUTED, linewidth=5, alpha=0.25)
    for policy, points in curves.points.get(flush, {}).items():
        aside = beside(policy, names)
        xy = [(x_of(us, lengths) * aside, median) for us, median, _ in points]
        style.data(axes.plot(*zip(*xy), **style.look(policy))[0])
        style.ring(axes, [at for at, (_, _, few) in zip(xy, points) if few])
    axes.set_xscale("log")
    if waits:
        axes.set_yscale("log")
        axes.set_ylim(floor / 2, ceiling * 2)
        style.plain_log(axes.yaxis, style.short_time)
    else:
        axes.set_yscale("symlog", linthresh=10, linscale=0.6)
        axes.set_ylim(-0.8, max(20, ceiling * 1.6))
        axes.yaxis.set_major_formatter(lambda v, _: words.tick(v))
        axes.yaxis.set_minor_locator(style.ticker.NullLocator())
    shown = [us for us in lengths if us in (0, 1000, 10_000, 100_000)] + [us for us in lengths if us > 250_000]
    axes.set_xticks([x_of(us, lengths) for us in shown], [f"{us // 1000:,}" for us in shown])
    axes.xaxis.set_minor_locator(style.ticker.NullLocator())
    axes.set_xlabel("ms preempted")


def draw(narrow, kinds, lengths, names):
    titles = [f"{'Wait' if c.name == WAIT else 'Pages held'}, {flush}" for c in kinds for flush in c.points]
    legend = [style.handle(name) for name in names]
    if kinds[0].name == WAIT:
        legend.append((style.lines.Line2D([], [], color=style.MUTED, linewidth=5, alpha=0.25), "as long as the preemption"))
    if any(c.few() for c in kinds):
        legend.append(style.ring_handle())
    panels = style.Panels(narrow, titles, (max(len(c.points) for c in kinds), 2), 130 if narrow else 170, legend)
    axes = iter(panels.axes)
    for c in kinds:
        medians = [median for some in c.points.values() for curve in some.values() for _, median, _ in curve]
        for flush in c.points:
            draw_panel(next(axes), c, flush, lengths, max(1, min(medians)), max(medians), names)
    return panels.figure


def say_waits(waits, longest):
    """Which pairs wait for a preempted CPU, and which do not."""
    through = longest * 1000 / 3  # a third of the preemption, at least
    parts = []
    for flush in waits.points:
        medians = waits.at(longest, flush)
        waiting = [policy for policy, median in medians.items() if median >= through]
        free = [policy for policy in medians if policy not in waiting]
        if not medians:
            parts.append(f"under {flush} that was not measured")
        elif waiting and free:
            wait, do = "wait" if len(waiting) > 1 else "waits", "do" if len(free) > 1 else "does"
            parts.append(f"under {flush} {words.listed(waiting)} {wait} and {words.listed(free)} {do} not")
        else:
            some = f" ({words.listed(medians)})" if len(medians) < len(waits.points[flush]) else ""
            at_most = f", {words.time(max(medians.values()))} at most"
            parts.append(f"under {flush} all that were measured{some} wait" if waiting else
                         f"under {flush} none of those measured{some} waits{at_most}")
    preempted = words.time(longest * 1000)
    return (f"while a CPU is preempted for {preempted}, in the median of the first unmap{words.weak(waits.few(longest))}, "
            f"{'; '.join(parts)}")


def say_held(held, longest):
    most = {(policy, flush): pages for flush in held.points for policy, pages in held.at(longest, flush).items()}
    if not most:
        return "how many pages are held was not measured"
    (policy, flush), pages = max(most.items(), key=lambda item: item[1])
    if not pages:
        return "no table page is held back"
    return (f"meanwhile up to {words.value(pages, 'pages')} wait to be freed ({policy} with {flush})"
            + words.weak(held.few(longest)))


def section(data):
    command = data.command(WAIT, HELD, seconds=60)
    kinds = []
    for name in (WAIT, HELD):
        curves = Curves(data, name)
        curves.name = name
        if curves.points:
            kinds.append(curves)
    if not kinds:
        return missing(NAME, TITLE, "no run here has measured unmap_stolen or pages_held with a preemption (it needs two "
                       "CPUs and steal=thief)", command)
    lengths = sorted(set().union(*(c.lengths() for c in kinds)))
    names = [p for p in data.policies if any(p in some for c in kinds for some in c.points.values())]
    said = [say_waits(c, lengths[-1]) if c.name == WAIT else say_held(c, lengths[-1]) for c in kinds]
    if len(kinds) == 1:
        said.append(f"the runs here say nothing of {HELD if kinds[0].name == WAIT else WAIT}")
    return Section(NAME, TITLE, words.upper("; ".join(said)) + ".", command,
                   lambda narrow: draw(narrow, kinds, lengths, names),
                   note="Medians of how long the first unmap takes, and of the most table pages that wait to be freed "
                        "until the CPU is back; one panel for each flush back-end. Both axes are logarithmic; 0 is the "
                        "same without a preemption; curves that coincide are drawn side by side.")
