# SPDX-License-Identifier: MIT
"""The walk against an unmap (mm/walk_body.h): what keeps alive what it reads, and how it learns of a change."""
from diagrams.drawing import Drawing

LABELS, START, END, LANE = 14, 122, 846, 40
PATH = [("root", "green"), ("L3 table", "green"), ("L2 table", "green"), ("L1 table", "green"), ("frame", "blue")]


def path(d, top):
    d.text(LABELS, top - 26, "What a walk reads, and what keeps it alive", size=14, bold=True)
    for n, (name, color) in enumerate(PATH):
        x = 40 + n * 166
        d.box(x, top, 104, 34, name, color, bold=True)
        if n:
            d.arrow((x - 60, top + 17), (x - 3, top + 17))
            d.text(x - 31, top + 6, f"e{5 - n}", "muted", 12, "middle", mono=True)
    y = top + 58
    d.text(40 + 52, y, "the caller's count\nof the space", "muted", 12, "middle")
    d.line([(206, y - 14), (206, y - 10), (642, y - 10), (642, y - 14)])
    d.text(424, y + 6, "the policy's read side: no table is FREE before this walk has left", "muted", 12, "middle")
    d.text(704 + 52, y, "nothing, until the\nreference is taken", "muted", 12, "middle")


def lanes(d, top, title, color):
    d.text(LABELS, top, title, color, 14, bold=True)
    for n, (name, what) in enumerate((("walker", "walk_pin()"), ("freeing side", "unmaps"))):
        y = top + 18 + n * (LANE + 16)
        d.text(LABELS, y + LANE / 2 - 8, name, bold=True)
        d.text(LABELS, y + LANE / 2 + 8, what, "muted", 12)
        d.line([(START, y + LANE / 2), (END, y + LANE / 2)], "rule", 1)
    return top + 18, top + 18 + LANE + 16


def in_time(d, top):
    walker, freer = lanes(d, top, "Both looks agree: the mapping's own reference still stood when the walker took its own.", "green")
    d.box(130, walker, 130, LANE, "descends: reads\ne4, e3, e2, e1", "green")
    d.box(264, walker, 130, LANE, "takes a reference\nto the frame", "green")
    d.box(398, walker, 140, LANE, "looks again: e1, e2\nand space.moves", "green")
    d.box(542, walker, 180, LANE, "the same:\nthe page is pinned", "green", bold=True)
    d.box(556, freer, 80, LANE, "clears e1", "blue")
    d.box(640, freer, 70, LANE, "flushes", "orange")
    d.box(714, freer, 132, LANE, "drops its reference:\nthe pin is left", "blue")


def too_late(d, top):
    walker, freer = lanes(d, top, "The second look differs: the walker gives back what it took and takes the slow path.", "red")
    d.box(130, walker, 130, LANE, "descends: reads\ne4, e3, e2, e1", "green")
    d.box(420, walker, 130, LANE, "takes a reference\nto the frame", "green")
    d.box(554, walker, 140, LANE, "looks again: e1, e2\nand space.moves", "green")
    d.box(698, walker, 148, LANE, "changed: puts it,\ntakes the slow path", "red", bold=True)
    d.box(270, freer, 80, LANE, "clears e1", "blue")
    d.box(354, freer, 70, LANE, "flushes", "orange")
    d.box(428, freer, 132, LANE, "drops its reference", "blue")
    d.arrow((310, freer), (620, walker + LANE + 1), color="red")


def drawing():
    d = Drawing("walk", 860, 420, "The walk reads root, L3, L2 and L1 table and takes a reference to the frame, then reads the leaf, "
                "its parent and the count of moves again. If they are the same, the mapping's own reference still stood when it took "
                "its own. If not, it gives the reference back and takes the locked slow path.")
    path(d, 48)
    in_time(d, 156)
    too_late(d, 296)
    return d
