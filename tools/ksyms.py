#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ksyms.py NM ELF: the functions of ELF as a NASM file: sorted offsets from __text_start, and their names.

Linked in by a second link. Its section lies behind .text, so no function moves between the two links.
"""
import re
import subprocess
import sys

# NASM calls a local label "function.label"; a suffix that the compiler appends is part of the function's name.
LOCAL_LABEL = re.compile(r"\.(?!isra|constprop|part|cold|\d)\w")


def functions(nm, elf):
    text = {}
    start = None
    for line in subprocess.check_output([nm, "-n", elf], text=True).splitlines():
        fields = line.split()
        if len(fields) != 3:
            continue
        address, kind, name = int(fields[0], 16), fields[1], fields[2]
        if name == "__text_start":
            start = address
        elif name == "__rodata_start":
            text[address] = "(end of text)"
        elif kind in "tTwW" and start is not None and address >= start and not LOCAL_LABEL.search(name):
            text.setdefault(address, name)
    return start or 0, sorted(text.items())


def main():
    start, symbols = functions(*sys.argv[1:3])
    names = 0
    print("; SPDX-License-Identifier: MIT\nsection .ksyms progbits alloc noexec nowrite align=8")
    print("global ksyms_count, ksyms_offsets, ksyms_names")
    print(f"ksyms_count: dd {len(symbols)}\nksyms_offsets:")
    for address, name in symbols:  # offset in text, offset of the name
        print(f"dd {address - start:#x}, {names}")
        names += len(name) + 1
    print("ksyms_names:")
    for _, name in symbols:
        print(f"db `{name}`, 0")


if __name__ == "__main__":
    main()
