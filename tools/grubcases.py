# SPDX-License-Identifier: MIT
"""Boots that GRUB prepares: commands of its own before and after it loads the kernel, to hand over a machine in a state
that firmware may leave, and QEMU's does not. They travel on a second disk, whose quiesce.cfg the ISO's grub.cfg sources."""
import os
import subprocess

from machine import Unavailable

# "$multiboot2" becomes the line that loads the kernel, and what follows it comes between that and the start. Without it
# the commands come before, and the menu entry loads.
LOAD = "$multiboot2"

# What the test matrix boots with: name -> commands.
CASES = {
    # The page that would serve otherwise is not in the memory map, nor most others.
    "trampoline-moves": """
        insmod mmap
        cutmem 0x1000 0x57000
    """,
    # No page for a trampoline, though GRUB needs some bytes there itself; and the image lies in what the map has not.
    "image-not-in-map": f"""
        insmod mmap
        {LOAD}
        cutmem 0x1800 0x9f000
        cutmem 0x100000 0x400000
    """,
}


def disk(folder, text):
    """A disk image in `folder` with that quiesce.cfg; its path."""
    os.makedirs(f"{folder}/disk", exist_ok=True)
    with open(f"{folder}/disk/quiesce.cfg", "w", encoding="ascii") as f:
        f.write(text)
    made = subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", f"{folder}/disk.img", f"{folder}/disk"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        raise Unavailable(f"the disk with GRUB's commands: xorriso failed: {made.stdout}")
    return f"{folder}/disk.img"


def qemu_arguments(case, folder):
    """Write the case's disk into `folder`; the arguments that make QEMU have it as its first hard disk."""
    commands = CASES[case].replace(LOAD, "multiboot2 /boot/quiesce.elf")
    path = disk(folder, commands + ("\nboot\n" if LOAD in CASES[case] else ""))
    return ("-drive", f"file={path},format=raw,snapshot=on", "-boot", "d")
