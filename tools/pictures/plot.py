# SPDX-License-Identifier: MIT
"""Axes for a drawing of tools/diagrams/: what the figures of docs/findings.md are made of. Drawn by hand, not by
matplotlib, so that a file is the same byte for byte whatever version is installed. A figure is WIDTH pixels wide; with
letters of SIZE it can be read on a screen and, at little more than half the width, on a phone."""
import math

from diagrams.drawing import Drawing

WIDTH, SIZE, SMALL = 600, 16, 15
TITLE, AXIS = 30, 28  # pixels above and below a panel
DIGIT = 9             # of SMALL, at most


class Plot(Drawing):
    def label(self, x, y, text, color="ink", anchor="start", bold=False, size=SMALL):
        self.text(x, y, text, color, size, anchor, bold)

    def bar(self, x, y, width, height, color, hatched=False):
        place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}"'
        self.put(f'<rect {place} fill="{{{color}}}"/>')
        if hatched:
            self.put(f'<rect {place} fill="url(#hatch)"/>')

    def curve(self, points, color, width=2.5, dash=""):
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dash = f' stroke-dasharray="{dash}"' if dash else ""
        self.put(f'<polyline points="{where}" fill="none" stroke="{{{color}}}" stroke-width="{width:g}"{dash}/>')

    def dot(self, x, y, color, shape="circle", size=4.5):
        if shape == "circle":
            self.put(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" fill="{{{color}}}"/>')
        elif shape == "tick":
            self.put(f'<rect x="{x - 1.5:.1f}" y="{y - 8:.1f}" width="3" height="16" fill="{{{color}}}"/>')
        else:
            turn = f' transform="rotate(45 {x:.1f} {y:.1f})"' if shape == "diamond" else ""
            self.put(f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:g}" height="{2 * size:g}" '
                     f'fill="{{{color}}}"{turn}/>')


def linear(low, high):
    return lambda value: (value - low) / (high - low)


def log(low, high):
    return lambda value: math.log(max(value, low) / low) / math.log(high / low)


class Panel:
    """A rectangle of a plot with two scales: functions from a value to 0 … 1. `y` is None where rows have names."""

    def __init__(self, plot, box, x, y=None):
        self.plot, (self.left, self.top, self.width, self.height), self.x_scale, self.y_scale = plot, box, x, y

    def x(self, value):
        return self.left + self.width * self.x_scale(value)

    def y(self, value):
        return self.top + self.height * (1 - self.y_scale(value))

    def title(self, text, x=None):
        self.plot.label(self.left if x is None else x, self.top - 16, text, bold=True)

    def frame(self, x_ticks=(), y_ticks=(), x_title=""):
        """Ticks are pairs of a value and its text."""
        right, bottom = self.left + self.width, self.top + self.height
        for value, text in y_ticks:
            self.plot.line([(self.left, self.y(value)), (right, self.y(value))], "rule", 1)
            self.plot.label(self.left - 8, self.y(value), text, "muted", "end")
        for value, text in x_ticks:
            self.plot.line([(self.x(value), self.top), (self.x(value), bottom)], "rule", 1)
            self.plot.label(self.x(value), bottom + 15, text, "muted", "middle")
        self.plot.line([(self.left, self.top), (self.left, bottom), (right, bottom)], "muted", 1)
        if x_title:
            self.plot.label(right, bottom + 36, x_title, "muted", "end")

    def bars(self, rows, height, names=True):
        """`rows`: (name, [(value, colour, hatched) … that follow each other], text behind them)."""
        step = self.height / len(rows)
        for n, (name, parts, text) in enumerate(rows):
            middle, at = self.top + (n + 0.5) * step, 0
            if names:
                self.plot.label(self.left - 8, middle, name, anchor="end")
            for value, color, hatched in parts:
                self.plot.bar(self.x(at), middle - height / 2, self.x(at + value) - self.x(at), height, color, hatched)
                at += value
            self.plot.label(self.x(at) + 6, middle, text, "muted")
        self.plot.line([(self.left, self.top), (self.left, self.top + self.height)], "muted", 1)
