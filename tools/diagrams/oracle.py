# SPDX-License-Identifier: MIT
"""The oracle and the quarantine (lab/oracle.h, lab/quarantine.c): who publishes, who looks, and where a freed table waits."""
from diagrams.crossing import crossing
from diagrams.drawing import Drawing

HEIGHT = 44
STAGES = [(40, 140, "table becomes FREE,\nfilled with poison", "blue"), (220, 180, "quarantine: the last 64,\nnobody may write to them", "grey"),
          (440, 190, "a grace period: no walker\ncan still be about to publish", "grey"), (670, 150, "poison intact?\nframe may be reused", "green")]


def drawing():
    d = Drawing("oracle", 860, 292, "A walker publishes the table in its slot, executes a full barrier, and checks that the table is "
                "not FREE. The freeing side marks the table FREE, executes a full barrier, and reads all slots. If a walker is in a "
                "freed table, at least one of them sees it. A freed table is poisoned, stays in quarantine, waits for a grace period, "
                "and only then may be reused.")
    y = crossing(d, 20,
                 ("walker", "green", "publishes the table in its slot", "full barrier", "is the table FREE?",
                  "yes: a violation. Otherwise it reads the table"),
                 ("freeing side", "blue", "marks the table FREE", "full barrier", "does any slot name the table?", "yes: a violation"))
    for n, (x, width, what, color) in enumerate(STAGES):
        d.box(x, y + 16, width, HEIGHT, what, color)
        if n:
            left = STAGES[n - 1]
            d.arrow((left[0] + left[1] + 3, y + 16 + HEIGHT / 2), (x - 3, y + 16 + HEIGHT / 2))
    d.text(40, y + 84, "A table in which a walker was found, and one that was written to, are never reused: a run counts violations "
           "and does not crash.", "muted", 12)
    return d
