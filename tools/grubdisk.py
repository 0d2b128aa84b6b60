# SPDX-License-Identifier: MIT
"""A small disk beside the ISO: grub.cfg sources its quiesce.cfg, if it is the first."""
import os
import subprocess

from machine import Unavailable


def make(folder, text):
    """The image's path. `text`: GRUB's commands, read before the menu."""
    os.mkdir(f"{folder}/disk")
    with open(f"{folder}/disk/quiesce.cfg", "w", encoding="ascii") as f:
        f.write(text)
    made = subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", f"{folder}/disk.img", f"{folder}/disk"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        raise Unavailable(f"xorriso failed: {made.stdout}")
    return f"{folder}/disk.img"


def qemu_arguments(folder, text):
    """The ISO stays what is booted from."""
    return ["-boot", "d", "-drive", f"file={make(folder, text)},format=raw,if=ide"]
