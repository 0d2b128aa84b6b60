# SPDX-License-Identifier: MIT
"""The five states of a page-table page, and what each step waits for (mm/table.h)."""
from diagrams.drawing import Drawing

WIDTH, HEIGHT, STEP, TOP = 116, 44, 181, 34
STATES = [("LIVE", "green", "part of the tree"), ("UNLINKED", "blue", "no entry names it"),
          ("FLUSHED", "orange", "no CPU's TLB or paging-\nstructure cache leads to it"),
          ("QUIESCED", "green", "no lockless walk\ncan still read it"), ("FREE", "grey", "may be reused\nas anything")]
STEPS = ["entry = 0", "flush\nback-end", "table-free\npolicy", "free"]


def drawing():
    d = Drawing("table-states", 860, 132, "A page-table page is LIVE, then UNLINKED when its entry is cleared, FLUSHED when the "
                "flush back-end has finished, QUIESCED when the table-free policy knows that no lockless walk can read it, and "
                "then FREE.")
    for n, (name, color, means) in enumerate(STATES):
        x = 8 + n * STEP
        d.box(x, TOP, WIDTH, HEIGHT, name, color, bold=True, size=13)
        d.text(x + WIDTH / 2, TOP + HEIGHT + 22, means, "muted", 12, "middle")
    for n, what in enumerate(STEPS):
        x = 8 + n * STEP + WIDTH
        d.arrow((x + 3, TOP + HEIGHT / 2), (x + STEP - WIDTH - 3, TOP + HEIGHT / 2))
        d.text(x + (STEP - WIDTH) / 2, TOP - 12, what, "ink", 12, "middle")
    return d
