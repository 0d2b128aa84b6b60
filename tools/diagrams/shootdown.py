# SPDX-License-Identifier: MIT
"""Which CPUs a flush goes to (mm/tlb.h): the order of writing and reading, and the three words that CPUs write for it."""
from diagrams.crossing import crossing
from diagrams.drawing import Drawing

COLUMNS = [40, 128, 330, 532]
WORDS = [("cpus", "this CPU, before it\nloads the space's root", "this CPU, when it has\nloaded another root", "at each flush"),
         ("lazy", "this CPU, when a kernel\nthread keeps the root", "this CPU, before it uses\na user address again",
          "if no table is freed: lazy CPUs are\nskipped. Otherwise they are flushed, too"),
         ("walkers", "a walker under ipi whose CPU\nhas not loaded the space", "the walker, after\nits last read",
          "if a table is freed: the flush\ngoes to these CPUs, too")]


def drawing():
    d = Drawing("shootdown", 860, 362, "The freeing side clears the entries, executes a full barrier by incrementing gen, and reads "
                "the mask cpus. A CPU that loads the space sets its bit in cpus, executes a full barrier, then reads gen and loads "
                "the root. Either the freeing side sees the bit and flushes that CPU, or the CPU sees the cleared entries.")
    y = crossing(d, 20,
                 ("freeing side", "blue", "clears the entries (xchg)", "full barrier: gen++", "reads cpus, lazy, walkers",
                  "sees the bit: flushes that CPU"),
                 ("CPU that loads the space", "green", "sets its bit in cpus", "full barrier", "reads gen; loads the root; walks",
                  "sees the cleared entries: nothing stale to flush"))
    for x, head in zip(COLUMNS, ["word", "set by", "cleared by", "read by the freeing side"]):
        d.text(x, y + 14, head, "muted", 12, bold=True)
    for n, (word, *cells) in enumerate(WORDS):
        top = y + 28 + n * 42
        d.line([(COLUMNS[0], top), (820, top)], "rule", 1)
        d.text(COLUMNS[0], top + 21, word, size=13, bold=True, mono=True)
        for x, cell in zip(COLUMNS[1:], cells):
            d.text(x, top + 21, cell, size=12)
    return d
