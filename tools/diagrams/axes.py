# SPDX-License-Identifier: MIT
"""The two axes, and the verdict on each pair, computed as mm/policy/verdict.c does."""
import axes
from diagrams.drawing import Drawing

NAMES, LEFT, TOP, WIDTH, HEIGHT, GAP = 166, 262, 112, 93, 34, 6
BACKENDS = ["ipi", "lazy", "pv", "nmi", "hyperv", "xen"]
PROVING = 2  # the first ones
POLICIES = ["immediate", "ipi", "auto", "targeted", "rcu", "rcu-sync", "rcu-page", "rcu-proxy", "epoch", "hazard", "keep"]
WAITS = [(0, 1, "waits for nobody"), (1, 1, "waits for the flush,\nfor nothing else"),
         (2, 1, "… then for walks that\nit has not proved over"),
         (3, 8, "waits by its own\nmeans: IPI to walkers,\ngrace period, poll of\nwalks in progress,\nnamed tables, or the\nend of the space")]
NOTES = {("ipi", "pv"): "unsafe:\nbug of 2012", ("ipi", "nmi"): "unsafe: as\nINVLPGB, 2025"}


def column(n):
    return LEFT + n * (WIDTH + GAP)


def row(n):
    return TOP + n * (HEIGHT + GAP)


def bracket(d, first, last, what, color):
    left, right = column(first), column(last) + WIDTH
    d.text((left + right) / 2, 48, what, color, 12, "middle")
    d.line([(left, 72), (left, 68), (right, 68), (right, 72)], color)


def back_ends(d):
    d.text((LEFT + column(len(BACKENDS) - 1) + WIDTH) / 2, 16, "flush back-end (tlb_flush=): how other CPUs' hardware forgets a table", size=14,
           anchor="middle", bold=True)
    bracket(d, 0, PROVING - 1, "completes only when every walk\nwith interrupts off has ended", "green")
    bracket(d, PROVING, len(BACKENDS) - 1, "completes while a walk with interrupts off\nmay still be under way", "red")
    for n, name in enumerate(BACKENDS):
        d.text(column(n) + WIDTH / 2, 92, name, size=13, anchor="middle", bold=True, mono=True)


def policies(d):
    d.text(14, 74, "table-free policy\n(table_free=): how it\nwaits for walks", size=14, bold=True)
    for first, rows, what in WAITS:
        top, bottom = row(first), row(first + rows) - GAP
        d.text(14, (top + bottom) / 2, what, "muted", 12)
        d.line([(NAMES - 8, top), (NAMES - 12, top), (NAMES - 12, bottom), (NAMES - 8, bottom)])
    for n, name in enumerate(POLICIES):
        d.text(NAMES, row(n) + HEIGHT / 2, name, size=13, bold=True, mono=True)


def drawing():
    d = Drawing("axes", 860, row(len(POLICIES)) + 8, "A table: eleven table-free policies by six flush back-ends. immediate is "
                "unsafe with each of them; ipi is safe with ipi and lazy, and unsafe with pv (the bug of 2012), nmi (which stands "
                "for INVLPGB), hyperv and xen; all others are safe with each.")
    back_ends(d)
    policies(d)
    waiting, flushing = axes.policies(), axes.backends()
    for y, policy in enumerate(POLICIES):
        for x, backend in enumerate(BACKENDS):
            safe = axes.is_safe(waiting[policy], flushing[backend])
            d.box(column(x), row(y), WIDTH, HEIGHT, NOTES.get((policy, backend), "safe" if safe else "unsafe"),
                  "green" if safe else "red", size=11 if (policy, backend) in NOTES else 12)
    return d
