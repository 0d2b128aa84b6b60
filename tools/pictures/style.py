# SPDX-License-Identifier: MIT
"""How all plots look: one palette that the colour-blind can tell apart, a second cue beside each colour, one grid of
panels in a wide and a narrow form. A point of matplotlib is a pixel of the page."""
import itertools
import math

import matplotlib
matplotlib.use("svg")
from matplotlib import figure, lines, ticker  # noqa: E402
from matplotlib.backends import backend_agg  # noqa: E402

import axes  # noqa: E402
import stats  # noqa: E402
from pictures import words  # noqa: E402

# Of Okabe and Ito, without yellow. svg.py makes style sheet variables of them; so it does of what is not data.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PINK = "#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
INK, MUTED, GRID, PAPER = "#101112", "#606162", "#d8d9da", "#fefefe"
SOLID, DASHED, DOTTED, DASHDOT, LONG = "-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)), (0, (9, 2.5))
# Colour, line, marker, in the order of the page. What is new gets one of SPARE and comes last.
LOOKS = {
    "immediate": (BLACK, DOTTED, "x"), "ipi": (RED, SOLID, "o"), "targeted": (BLUE, DASHED, "s"),
    "rcu-sync": (SKY, DASHDOT, "^"), "rcu-page": (PINK, LONG, "v"), "rcu": (GREEN, SOLID, "D"),
    "hazard": (ORANGE, DASHED, "P"), "auto": (BLACK, DASHDOT, "p"), "epoch": (RED, DOTTED, "*"),
    "rcu-proxy": (BLUE, LONG, "X"),
}
BACKEND_LOOKS = {
    "ipi": (RED, SOLID, "o"), "lazy": (BLUE, DASHED, "s"), "pv": (GREEN, DASHDOT, "^"), "nmi": (ORANGE, LONG, "v"),
    "hyperv": (PINK, DOTTED, "D"), "xen": (SKY, LONG, "P"),
}
given = {}  # {what is new: its look}
SPARE = list(itertools.product((SKY, PINK, BLUE, ORANGE, BLACK), (DASHDOT, DOTTED, LONG), "*h<>"))
WIDE, NARROW = 920, 358  # pixels; a screen shows the wide ones somewhat larger, paper smaller
TEXT, SMALL = 13, 12
FLOOR = {"color": MUTED, "linestyle": SOLID, "marker": "|", "linewidth": 5, "alpha": 0.45}  # behind the others
RING = {"linestyle": "none", "marker": "o", "markersize": 11, "markerfacecolor": "none", "color": MUTED,
        "markeredgewidth": 1.2}

matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "quiesce", "font.size": TEXT, "axes.titlesize": TEXT,
    "axes.labelsize": SMALL, "xtick.labelsize": SMALL, "ytick.labelsize": SMALL, "legend.fontsize": SMALL,
    "axes.edgecolor": MUTED, "axes.labelcolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED, "text.color": INK,
    "axes.titlecolor": INK, "axes.titlelocation": "left", "axes.titlepad": 8, "axes.spines.top": False,
    "axes.spines.right": False, "axes.linewidth": 0.8, "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID,
    "grid.linewidth": 0.7, "xtick.minor.size": 0, "ytick.minor.size": 0, "xtick.major.size": 3.5,
    "ytick.major.size": 0, "lines.linewidth": 1.8, "lines.markersize": 5, "legend.frameon": False,
    "legend.handlelength": 2.6, "legend.columnspacing": 1.6, "legend.borderpad": 0, "legend.borderaxespad": 0,
    "axes.facecolor": "none", "figure.facecolor": "none",
})


def in_order(names, looks=None):
    """Those that have a look, in its order, then any others; a policy that frees nothing (the floor) comes last."""
    known, floors = LOOKS if looks is None else looks, axes.floors()
    found = [n for n in known if n in names] + sorted(n for n in names if n not in known)
    return sorted(found, key=lambda name: name in floors)


def spare(name):
    """By the name, so that it is mostly the same in all reports; the next one where another new name has that."""
    start = sum(name.encode()) % len(SPARE)
    free = [look for look in SPARE[start:] + SPARE[:start] if look not in given.values()]
    return given.setdefault(name, given.get(name) or (free or SPARE[start:])[0])


def look(name, looks=None):
    """Keywords for plot()."""
    known = LOOKS if looks is None else looks
    if name in axes.floors():
        return dict(FLOOR)
    color, line, marker = known.get(name) or spare(name)
    return {"color": color, "linestyle": line, "marker": marker}


class Panels:
    """A figure of equal panels, row by row, with room for a legend above."""
    LEFT, RIGHT, TOP, BOTTOM, ROW = 54, 24, 30, 46, 19

    def __init__(self, narrow, titles, across, height, legend=(), left=None, bottom=None):
        self.width = NARROW if narrow else WIDE
        columns = min(across[1] if narrow else across[0], len(titles))
        rows = math.ceil(len(titles) / columns)
        left = left or self.LEFT
        per_row = self.legend_columns(legend)
        legend_height = self.ROW * math.ceil(len(legend) / per_row) + 10 if legend else 0
        row_height = self.TOP + height + (bottom or self.BOTTOM)
        self.height = legend_height + rows * row_height
        self.figure = figure.Figure(figsize=(self.width / 72, self.height / 72), dpi=72)
        panel = (self.width - columns * (left + self.RIGHT)) / columns
        self.axes = []
        for i, title in enumerate(titles):
            row, column = divmod(i, columns)
            x = left + column * (panel + self.RIGHT + left)
            y = self.height - legend_height - row * row_height - self.TOP - height
            axes = self.figure.add_axes((x / self.width, y / self.height, panel / self.width, height / self.height))
            if title:
                axes.set_title(title, fontweight="bold", x=(4 - left) / panel)
            self.axes.append(axes)
        if legend:
            handles, labels = zip(*legend)
            self.figure.legend(handles, labels, loc="upper left", ncol=per_row, labelspacing=0.35,
                               bbox_to_anchor=(4 / self.width, 1 - 4 / self.height))

    def legend_columns(self, legend):
        """As many entries in a row as surely fit."""
        widths = [58 + 7.5 * len(label) for _, label in legend]
        if sum(widths) <= self.width:
            return max(1, len(legend))
        return max(1, min(len(legend), int(self.width // max(widths))))


def handle(name, looks=None, label=None):
    return lines.Line2D([], [], **look(name, looks)), label or called(name)


def called(name):
    return f"{name} (floor)" if name in axes.floors() else name


def floor_line(where, by_name):
    """Across bars: the floor's value, which all others are measured against."""
    for name in axes.floors():
        if name in by_name:
            where.axvline(by_name[name], color=MUTED, linestyle=DASHED, linewidth=1.2)


def data(artist):
    """Mark what stands for measurements: the test of the page counts it."""
    artist.set_gid("data")
    return artist


def ring(axes, points):
    """Around each of these points: fewer than stats.FEW samples stand for it."""
    if points:
        axes.plot(*zip(*points), **RING)


def ring_handle():
    return lines.Line2D([], [], **RING), f"fewer than {stats.FEW} samples"


def nothing(axes, text):
    """Say in a panel why it is empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED, gid="gap")
    axes.set_xticks([])
    axes.set_yticks([])


def plain_log(axis, text, numticks=7):
    """Powers of ten as a person writes them."""
    axis.set_major_locator(ticker.LogLocator(10, numticks=numticks))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: text(v)))


def scaled(axis, text, most=6):
    axis.set_major_locator(ticker.MaxNLocator(most, integer=True))
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: text(v)))


def short_time(ns):
    return words.time(ns).replace(" ", "\N{NO-BREAK SPACE}")


def readable_log(axis, text):
    """A log axis of few decades needs more than powers of ten."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    subs = (1, 2, 5) if decades < 2.2 else (1, 3) if decades < 3 else (1,)
    axis.set_major_locator(ticker.LogLocator(10, subs=subs, numticks=12))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: text(v)))


def uncrowd(fig):
    """Hide labels of ticks that would touch the next one; the last ones stay, because the axis ends there."""
    fig.draw_without_rendering()
    renderer = backend_agg.FigureCanvasAgg(fig).get_renderer()
    for axis, along in [(axis, along) for axes in fig.axes for axis, along in ((axes.xaxis, 0), (axes.yaxis, 1))]:
        low, high = sorted(axis.get_view_interval())
        labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        ends = [(label.get_window_extent(renderer).get_points()[:, along], label) for label in labels
                if label.get_text()]
        free = math.inf
        for (start, end), label in sorted(ends, key=lambda item: -item[0][0]):
            if end > free:
                label.set_visible(False)
            else:
                free = start - (6 if along == 0 else 0)
