# SPDX-License-Identifier: MIT
"""The bug of 2012 as a timeline, below the same unmap as it was meant (docs/stolen-time.md)."""
from diagrams.drawing import Drawing

LABELS, START, END = 14, 122, 846
LANE, GAP = 40, 18


def lanes(d, top, names):
    """The lanes' names; the top of each lane's bar."""
    tops = [top + n * (LANE + GAP) for n in range(len(names))]
    for y, (name, what) in zip(tops, names):
        d.text(LABELS, y + LANE / 2 - 8, name, bold=True)
        d.text(LABELS, y + LANE / 2 + 8, what, "muted", 12)
        d.line([(START, y + LANE / 2), (END, y + LANE / 2)], "rule", 1)
    return tops


def as_meant(d, top):
    d.text(LABELS, top, "Flush by IPI: the answer is the wait. Safe.", "green", 15, bold=True)
    walker, freer, table = lanes(d, top + 18, [("CPU 1", "walks"), ("CPU 0", "unmaps"), ("table T", "is")])
    d.box(130, walker, 330, LANE, "lockless walk, interrupts off: has read the\nentry that names T, will read T next", "green")
    d.box(464, walker, 128, LANE, "takes the IPI,\nflushes, answers", "orange")
    d.box(170, freer, 100, LANE, "clears the\nentry \u2192 T", "blue")
    d.box(274, freer, 318, LANE, "waits for CPU 1's answer", "grey", hatched=True)
    d.box(596, freer, 80, LANE, "frees T", "blue")
    d.arrow((282, freer), (282, walker + LANE + 1), color="orange")
    d.arrow((584, walker + LANE), (584, freer - 1), color="orange")
    d.text(291, walker + LANE + GAP / 2, "IPI, held off until interrupts are on again", "orange", 12)
    d.box(130, table, 90, LANE, "LIVE", "green", bold=True)
    d.box(224, table, 412, LANE, "UNLINKED: no new walk finds T, an older one may still read it", "blue")
    d.box(640, table, 206, LANE, "FREE: no walk can hold it", "grey", bold=True)


def as_it_was(d, top):
    d.text(LABELS, top, "Paravirtual flush as proposed in 2012: nobody waits. Use after free of a page table.", "red", 15, bold=True)
    walker, freer, table = lanes(d, top + 18, [("CPU 1", "walks (a vCPU)"), ("CPU 0", "unmaps"), ("table T", "is")])
    d.box(130, walker, 132, LANE, "walk: has read\nthe entry \u2192 T", "green")
    d.box(266, walker, 396, LANE, "preempted by the hypervisor: the vCPU does not run", "grey", hatched=True)
    d.box(666, walker, 180, LANE, "walk goes on: reads T\nas a page table", "red", bold=True)
    d.box(290, freer, 90, LANE, "clears the\nentry \u2192 T", "blue")
    d.box(384, freer, 150, LANE, "sends no IPI: marks\nCPU 1 \u201cflush later\u201d", "orange")
    d.box(538, freer, 60, LANE, "frees T", "blue")
    d.box(130, table, 202, LANE, "LIVE", "green", bold=True)
    d.box(336, table, 228, LANE, "UNLINKED, then \u201cflushed\u201d", "blue")
    d.box(568, table, 58, LANE, "FREE", "grey", bold=True)
    d.box(630, table, 216, LANE, "somebody else's data", "red", bold=True)
    d.arrow((756, walker + LANE), (756, table), color="red", width=2.5)
    d.text(748, freer + LANE / 2, "use after free", "red", 13, "end", bold=True)
    d.text(END, table + LANE + 16, "time \u2192", "muted", 12, "end")


def drawing():
    d = Drawing("bug-2012", 860, 438, "Two timelines. Flush by IPI: CPU 0 clears the entry of table T and waits until CPU 1, "
                "which walks with interrupts off, has answered the IPI; only then it frees T. Paravirtual flush: CPU 1 is "
                "preempted in the middle of its walk, CPU 0 marks it instead of waiting, frees T, T is reused, and CPU 1 goes "
                "on to read T.")
    as_meant(d, 22)
    as_it_was(d, 238)
    return d
