# SPDX-License-Identifier: MIT
"""Two sides that write, execute a full barrier, and read: at least one of them sees what the other has written."""

WIDTH, HEIGHT, GAP, BARRIER = 300, 40, 10, 18


def side(d, x, top, title, color, writes, barrier, reads, then):
    d.text(x + WIDTH / 2, top, title, color, 14, "middle", bold=True)
    y = top + 18
    d.box(x, y, WIDTH, HEIGHT, writes, color)
    d.text(x + WIDTH / 2, y + HEIGHT + GAP + BARRIER / 2 - 5, barrier, "muted", 12, "middle")
    y += HEIGHT + GAP + BARRIER
    d.box(x, y, WIDTH, HEIGHT, reads, color)
    d.text(x + WIDTH / 2, y + HEIGHT + 26, then, "ink", 12, "middle")


def crossing(d, top, left, right):
    """`left`, `right`: title, colour, what it writes, its barrier, what it reads, what follows if it sees the other."""
    x, far = 40, d.width - 40 - WIDTH
    side(d, x, top, *left)
    side(d, far, top, *right)
    written, read = top + 18 + HEIGHT / 2, top + 18 + HEIGHT + GAP + BARRIER + HEIGHT / 2
    d.arrow((far - 2, written), (x + WIDTH + 3, read), color=right[1], width=2)
    d.arrow((x + WIDTH + 2, written), (far - 3, read), color=left[1], width=2)
    d.text(d.width / 2, written - 16, "at least one of the two\narrows is always taken", "muted", 12, "middle")
    return read + HEIGHT / 2 + 50  # what comes below may begin here
