# SPDX-License-Identifier: MIT
"""Tests of the screen, as KTAP: QEMU pauses the machine when it switches itself off, and the text that is read from a
picture of its screen is compared with the serial line's. Pictures and logs stay in build/test/screen-*."""
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import font
import grubcases
import machine
import patience
import qemu
from selftests import selftest

suite = selftest.Suite("screen")
BUDGET = 240  # seconds of processor time of a boot
BRIGHT = 0x60  # of 255: lighter pixels belong to a letter
UNREADABLE = "\N{REPLACEMENT CHARACTER}"
TEXT_CELL = (9, 16)  # of the text mode's picture
TEXT_GRID = (80, 25)
TEXT_MEMORY = 0xB8000
SCROLLS = "mode=test test=smoke,kmap"  # more lines than any of these screens has rows
CRASHES = "mode=crash"


class Picture:
    """A screen dump (PPM), as cells."""

    def __init__(self, path, cell):
        with open(path, "rb") as f:
            _, size, _, self.pixels = f.read().split(b"\n", 3)
        self.width, self.height = map(int, size.split())
        self.cell = cell
        self.columns, self.rows = self.width // cell[0], self.height // cell[1]

    def shape(self, column, row):
        """A cell's rows of pixels, as numbers: the leftmost pixel is the highest bit."""
        wide, high = self.cell
        for y in range(row * high, (row + 1) * high):
            at = 3 * (y * self.width + column * wide)
            line = self.pixels[at:at + 3 * wide:3]
            yield sum((value > BRIGHT) << wide - 1 - x for x, value in enumerate(line))

    def cells(self):
        """All of them, row by row."""
        return [[tuple(self.shape(column, row)) for column in range(self.columns)] for row in range(self.rows)]


def changed(arguments, option, value):
    """The command with another value of an option."""
    at = arguments.index(option)
    return [*arguments[:at], option, value, *arguments[at + 2:]]


def arguments_of(config, folder, serial, text_mode):
    """A machine that QEMU pauses when it switches itself off."""
    found = changed(qemu.command(config, folder), "-serial", f"file:{serial}" if serial else "none") + ["-no-shutdown", "-qmp", "stdio"]
    return found + (grubcases.disk_arguments(folder, "set quiesce_screen=text\n") if text_mode else [])


def boot(name, cmdline, serial=True, text_mode=False, **options):
    """Boot such a machine: (the paths of its picture, its serial log and its text memory, what is wrong)."""
    picture, log, cells = files = [f"build/test/screen-{name}.{kind}" for kind in ("ppm", "log", "cells")]
    for each in files:  # of an earlier run
        pathlib.Path(each).unlink(missing_ok=True)
    config = machine.Config(smp=2, cmdline=cmdline, attended=True, **options)
    with tempfile.TemporaryDirectory(prefix="quiesce-screen-") as folder:
        process = subprocess.Popen(arguments_of(config, folder, serial and log, text_mode), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        asked, said = [qemu.protocol("qmp_capabilities")], []
        when_off = [qemu.protocol("screendump", filename=os.path.abspath(picture)), qemu.protocol("quit")]
        if text_mode:
            when_off.insert(0, qemu.protocol("pmemsave", val=TEXT_MEMORY, size=2 * TEXT_GRID[0] * TEXT_GRID[1],
                                       filename=os.path.abspath(cells)))
        with patience.Watch(process, budget=BUDGET) as watch:
            for line in process.stdout:
                said.append(line.strip())
                asked += when_off if '"event": "SHUTDOWN"' in line and '"guest": true' in line else []
                for each in asked:
                    process.stdin.write(json.dumps(each) + "\n")
                process.stdin.flush()
                asked = []
            process.wait()
    off = any('"SHUTDOWN"' in line for line in said)
    return *files, [] if off and not watch.why else [f"{watch.why or 'QEMU ended'}; it last said {said[-1:]}"]


def lines_of(log):
    """The kernel's, from its first one on."""
    with open(log, "rb") as f:
        lines = [machine.clean(line) for line in f]
    return lines[next((i for i, line in enumerate(lines) if line.startswith("quiesce ")), len(lines)):]


def folded(lines, columns):
    """The lines as they are on a screen of that width."""
    return [line[at:at + columns].rstrip() for line in lines for at in range(0, max(len(line), 1), columns)]


def by_font(cells):
    """The text of cells that show the font's letters."""
    signs = {tuple(rows): chr(code) for code, rows in zip(font.CODES, font.letters())}
    return ["".join(signs.get(cell, UNREADABLE) for cell in row).rstrip() for row in cells]


def in_memory(path):
    """The text of a text mode."""
    with open(path, "rb") as f:
        codes = f.read()[::2].decode("cp437")
    return [codes[at:at + TEXT_GRID[0]].rstrip() for at in range(0, len(codes), TEXT_GRID[0])]


def by_place(cells, expected):
    """The text of cells whose letters are not known: each letter is learned where it first occurs, and must look the
    same wherever that character is expected, and nowhere else."""
    characters, blank, text = {}, (0,) * TEXT_CELL[1], []
    for row, line in itertools.zip_longest(cells, expected, fillvalue=""):
        for cell, character in zip(row, line.ljust(len(row))):
            if character not in characters.values() and (character == " ") == (cell == blank):
                characters.setdefault(cell, character)
        text.append("".join(characters.get(cell, UNREADABLE) for cell in row).rstrip())
    return text


def without_end(rows):
    """The rows without the blank ones at the end."""
    return rows[:max((i for i, row in enumerate(rows, 1) if row), default=0)]


def differences(shown, expected, rows):
    """A screen that scrolls makes room by an eighth of its rows at a time."""
    least = min(len(expected), rows - max(rows // 8, 1))
    if not least <= len(shown) <= rows:
        return [f"{len(shown)} rows of text; {len(expected)} lines were written to {rows} rows"]
    return [f"the screen says \"{is_there}\", the serial line \"{should_be}\""
            for is_there, should_be in zip(shown, expected[-len(shown):]) if is_there != should_be][:5]


def ends_so(shown, last, *parts):
    wrong = [] if shown and shown[-1] == last else [f"the last row is {shown[-1:]}"]
    return wrong + selftest.lacking(shown, *parts)


@suite.test
def bios_pixels_scroll_and_say_what_the_serial_line_says():
    path, log, _, wrong = boot("bios-pixels", SCROLLS)
    if wrong:
        return wrong
    picture = Picture(path, (font.WIDTH, font.HEIGHT))
    shown, expected = without_end(by_font(picture.cells())), folded(lines_of(log), picture.columns)
    wrong = [] if len(expected) > picture.rows else [f"{len(expected)} lines do not scroll {picture.rows} rows"]
    return wrong + differences(shown, expected, picture.rows) + ends_so(shown, "quiesce: exit 0")


@suite.test
def bios_text_scrolls_and_says_what_the_serial_line_says():
    path, log, memory, wrong = boot("bios-text", CRASHES, text_mode=True)
    if wrong:
        return wrong
    picture = Picture(path, TEXT_CELL)
    if (picture.columns, picture.rows) != TEXT_GRID:
        return [f"no text mode: {picture.width} by {picture.height} pixels"]
    written, expected = without_end(in_memory(memory)), folded(lines_of(log), picture.columns)
    wrong = [] if len(expected) > picture.rows else [f"{len(expected)} lines do not scroll {picture.rows} rows"]
    wrong += [] if without_end(by_place(picture.cells(), written)) == written else ["the picture does not show what is in memory"]
    return wrong + differences(written, expected, picture.rows) + ends_so(written, "quiesce: exit 3", " crash_bystander+")


@suite.test
def uefi_pixels_show_a_panic_without_a_serial_port():
    try:
        path, *_, wrong = boot("uefi-pixels", CRASHES, serial=False, firmware="uefi")
    except machine.Unavailable as error:
        raise machine.Lacking(f"{machine.LACKS}UEFI firmware: {error}") from None
    if wrong:
        return wrong
    return ends_so(without_end(by_font(Picture(path, (font.WIDTH, font.HEIGHT)).cells())), "quiesce: exit 3", "quiesce ",
                   "# PANIC: page fault", " crash_here", " crash_bystander+")


@suite.test
def neither_screen_nor_serial_port_and_the_status_is_right():
    with tempfile.TemporaryDirectory(prefix="quiesce-screen-") as folder:
        arguments = changed(qemu.command(machine.Config(smp=2, cmdline=CRASHES), folder), "-serial", "none")
        status, text, why = patience.run(arguments, BUDGET)
    return [] if qemu.exit_of(status) == 3 else [f"status {status} {why}: {text}"]


if __name__ == "__main__":
    os.makedirs("build/test", exist_ok=True)
    sys.exit(selftest.main(suite))
