# SPDX-License-Identifier: MIT
"""One grace period on the timer tick (kernel/rcu/rcu.c)."""
from diagrams.drawing import Drawing

LABELS, START, END = 14, 132, 846
LANE, GAP, TOP = 36, 24, 50
BEGIN, OVER = 300, 672
LANES = [("CPU 0", "frees"), ("CPU 1", "walks"), ("CPU 2", "runs a thread"), ("CPU 3", "idles")]


def lane(n):
    return TOP + n * (LANE + GAP)


def quiescent(d, x, n):
    y = lane(n) + LANE + 10
    d.text(x, y, "\u25cf", "green", 14, "middle")


def tick(d, x, n, label=""):
    d.line([(x, lane(n) - 9), (x, lane(n) - 1)], "ink", 2)
    if label:
        d.text(x + 5, lane(n) - 9, label, "muted", 11)


def drawing():
    d = Drawing("grace-period", 860, 330, "CPU 0 unlinks a table and queues a callback. The grace period begins. CPU 1 is in a walk "
                "that began before; its tick does not count; it is quiescent when the walk is over. CPU 2 is quiescent at its tick. "
                "CPU 3 idles and is counted without being woken. When all have been quiescent the grace period ends, and the callback "
                "frees the table.")
    for x, what, anchor in ((BEGIN, "grace period begins", "middle"), (OVER, "ends: each CPU was quiescent", "middle")):
        d.text(x, 14, what, "orange", 12, anchor, bold=True)
        d.line([(x, 26), (x, lane(4) - 6)], "orange", 1.5, dashed=True)
    for n, (name, what) in enumerate(LANES):
        d.text(LABELS, lane(n) + LANE / 2 - 8, name, bold=True)
        d.text(LABELS, lane(n) + LANE / 2 + 8, what, "muted", 12)
        d.line([(START, lane(n) + LANE / 2), (END, lane(n) + LANE / 2)], "rule", 1)
    d.box(140, lane(0), 70, LANE, "unlink,\nflush", "blue")
    d.box(214, lane(0), 74, LANE, "call_rcu()", "blue")
    d.box(304, lane(0), 364, LANE, "goes on: nobody waits; the table is held", "grey")
    d.box(690, lane(0), 156, LANE, "callback: FREE", "blue", bold=True)
    tick(d, 350, 0, "tick")
    quiescent(d, 350, 0)
    d.box(172, lane(1), 428, LANE, "a walk that began before: it may have read the old entry", "green")
    tick(d, 420, 1, "tick in a reader: does not count")
    d.box(604, lane(1), 52, LANE, "resched", "grey", size=11)
    quiescent(d, 630, 1)
    d.box(140, lane(2), 216, LANE, "preemptible", "grey")
    tick(d, 346, 2, "tick")
    quiescent(d, 346, 2)
    d.box(376, lane(2), 330, LANE, "a walk that began later: cannot find the table", "green")
    d.box(140, lane(3), 706, LANE, "idle, no tick: its counter is even, so the grace-period thread reports it without waking it", "grey",
          dashed=True)
    quiescent(d, 326, 3)
    d.text(LABELS, 312, "\u25cf", "green", 14)
    d.text(LABELS + 16, 312, "quiescent: no reader is under way on this CPU, at its first such instant in the grace period", "muted", 12)
    return d
