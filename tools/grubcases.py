# SPDX-License-Identifier: MIT
"""Boots that GRUB prepares: GRUB's own commands, before and after it loads the kernel, bring the machine into a state
that some firmware leaves behind and QEMU's does not. They are on a second disk, whose quiesce.cfg the ISO's grub.cfg
sources."""
import io
import os
import tarfile

# "$multiboot2" becomes the line that loads the kernel; the commands behind it run after the loading and before the
# start. Without it all commands run first, and the menu entry loads the kernel.
LOAD = "$multiboot2"

# What the test matrix boots with: name -> commands.
CASES = {
    # The page that the trampoline would use otherwise is not in the memory map, nor are most others.
    "trampoline-moves": """
        insmod mmap
        cutmem 0x1000 0x57000
    """,
    # No page is left for a trampoline, except some bytes that GRUB needs itself; and the image lies outside the memory
    # map.
    "image-not-in-map": f"""
        insmod mmap
        {LOAD}
        cutmem 0x1800 0x9f000
        cutmem 0x100000 0x400000
    """,
    # Interrupts that earlier software has left. In the local APIC: two in service, because the BIOS's handler does not
    # acknowledge such vectors; then some requested, held back by a task priority of 255: on a vector that nobody uses,
    # on an exception's vector, and on those of the kernel's timer, calls, errors and spurious interrupts. In the 8259:
    # the timer's interrupt, put in service by polling, and then requested once more (in mode 0 its counter runs out
    # only once, and immediately).
    "interrupts-left": f"""
        insmod memrw
        insmod iorw
        write_dword 0xfee00300 0x44069
        ls (hd0)/
        write_dword 0xfee00300 0x44073
        ls (hd0)/
        write_dword 0xfee00080 0xff
        for vector in 68 13 d1 f1 fe ff; do write_dword 0xfee00300 0x440$vector; done
        {LOAD}
        outb 0x43 0x30
        outb 0x40 0x10
        outb 0x40 0x00
        outb 0x20 0x0c
        inb 0x20
        outb 0x43 0x30
        outb 0x40 0x10
        outb 0x40 0x00
    """,
}


def disk(folder, text, files=None):
    """A disk image in `folder` with that quiesce.cfg, and with `files`, {name: bytes}; its path. GRUB reads a tar archive
    as it does a file system."""
    os.makedirs(folder, exist_ok=True)
    image = f"{folder}/disk.img"
    with tarfile.open(image, "w") as archive:
        for name, contents in {"quiesce.cfg": text.encode("ascii"), **(files or {})}.items():
            item = tarfile.TarInfo(name)
            item.size = len(contents)
            archive.addfile(item, io.BytesIO(contents))
    return image


def disk_arguments(folder, text, files=None):
    """QEMU's arguments for that disk as the first hard disk, and to boot from the ISO."""
    return ["-drive", f"file={disk(folder, text, files)},format=raw,snapshot=on", "-boot", "d"]


def qemu_arguments(case, folder):
    """The same for one of the cases."""
    commands = CASES[case].replace(LOAD, "multiboot2 /boot/quiesce.elf")
    return disk_arguments(folder, commands + ("\nboot\n" if LOAD in CASES[case] else ""))
