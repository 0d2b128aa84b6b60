# SPDX-License-Identifier: MIT
"""Boots that GRUB prepares: commands of its own before and after it loads the kernel, to hand over a machine in a state
that firmware may leave, and QEMU's does not. They travel on a second disk, whose quiesce.cfg the ISO's grub.cfg sources."""
import io
import os
import tarfile

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
    # Interrupts that whoever ran before has left. In the local APIC: two in service, since the BIOS's handler acknowledges
    # none of their kind; then some requested, with priority 255 against them: one on a vector nobody uses, one on an
    # exception's, and those of the kernel's timer, calls, errors and spurious interrupts. In the 8259: the timer's, by
    # polling put in service, and requested once more (its counter in mode 0 runs out once, at once).
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


def disk(folder, text):
    """A disk image in `folder` with that quiesce.cfg; its path. GRUB reads a tar archive as it does a file system."""
    os.makedirs(folder, exist_ok=True)
    image = f"{folder}/disk.img"
    with tarfile.open(image, "w") as archive:
        item = tarfile.TarInfo("quiesce.cfg")
        item.size = len(text)
        archive.addfile(item, io.BytesIO(text.encode("ascii")))
    return image


def disk_arguments(folder, text):
    """What makes QEMU have that disk as its first hard disk, and boot the ISO."""
    return ["-drive", f"file={disk(folder, text)},format=raw,snapshot=on", "-boot", "d"]


def qemu_arguments(case, folder):
    """The same for one of the cases."""
    commands = CASES[case].replace(LOAD, "multiboot2 /boot/quiesce.elf")
    return disk_arguments(folder, commands + ("\nboot\n" if LOAD in CASES[case] else ""))
