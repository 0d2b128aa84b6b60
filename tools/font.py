#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The screen's letters: reads a font in GRUB's format (PF2), GNU Unifont by default, as GRUB itself installs it. Run as
a program, it prints them as C (arch/x86_64/screen_font.h)."""
import os
import struct
import sys

WIDTH, HEIGHT = 8, 16
FILES = ("/usr/share/grub/unicode.pf2", "/usr/share/grub2/unicode.pf2", "/boot/grub2/fonts/unicode.pf2",
         "/boot/grub/fonts/unicode.pf2")
# By character code: blanks below 0x20; at 0x7f the letter that replaces all others, at 0x80 the ellipsis.
CODES = [0x20] * 0x20 + list(range(0x20, 0x7F)) + [0xFFFD, 0x2026]
INDEX_ENTRY = struct.Struct(">IBI")  # code point, flags, offset
GLYPH = struct.Struct(">HHhhh")  # width, height, x, y of its lowest row above the base line, advance


class Missing(Exception):
    """There is no font."""


class Font:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.sections = dict(self.read_sections())
        self.descent = struct.unpack(">H", self.sections[b"DESC"])[0]
        self.offsets = {code: offset for code, _, offset in INDEX_ENTRY.iter_unpack(self.sections[b"CHIX"])}

    def read_sections(self):
        at = 0
        while at + 8 <= len(self.data):
            name, length = struct.unpack_from(">4sI", self.data, at)
            if name == b"DATA":  # to the end; the offsets count from the file's beginning
                return
            yield name, self.data[at + 8:at + 8 + length]
            at += 8 + length

    def rows(self, code):
        """A letter as HEIGHT bytes, the leftmost pixel the highest bit."""
        at = self.offsets[code]
        width, height, x, y, _ = GLYPH.unpack_from(self.data, at)
        bits = int.from_bytes(self.data[at + GLYPH.size:at + GLYPH.size + (width * height + 7) // 8], "big")
        left = (width * height + 7) // 8 * 8
        rows = [0] * HEIGHT
        for row in range(height):
            left -= width
            where = HEIGHT - self.descent - y - height + row
            if not 0 <= where < HEIGHT or x < 0 or x + width > WIDTH:
                raise ValueError(f"U+{code:04X} is larger than {WIDTH} by {HEIGHT}")
            rows[where] = (bits >> left & (1 << width) - 1) << WIDTH - x - width
        return bytes(rows)


def letters():
    """The rows of all, by character code."""
    path = next((path for path in FILES if os.path.exists(path)), None)
    if not path:
        raise Missing(f"no font: none of {', '.join(FILES)}: make deps")
    font = Font(path)
    return [font.rows(code) for code in CODES]


def main():
    try:
        found = letters()
    except (Missing, ValueError, KeyError, struct.error) as error:
        print(f"font.py: {error}", file=sys.stderr)
        return 1
    print('#include "arch/x86_64/screen_font.h"\n\nconst u8 screen_font[FONT_CHARACTERS][FONT_HEIGHT] = {')
    for rows in found:
        print("\t{ " + ", ".join(f"0x{row:02x}" for row in rows) + " },")
    print("};")
    return 0


if __name__ == "__main__":
    sys.exit(main())
