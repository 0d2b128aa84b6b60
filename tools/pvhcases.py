# SPDX-License-Identifier: MIT
"""Boots by the PVH entry with a start_info made by hand, as QEMU itself never makes it. A copy of the kernel's ELF file
names another entry in its note: a few instructions that QEMU's generic loader has put into memory together with the
start_info, and that go on to one of the kernel's own entries."""
import dataclasses
import os
import struct

AT = 32 << 20  # where the instructions lie, and behind them what they hand over
INFO, LINE, MODULES, MAP = AT + 0x100, AT + 0x1000, AT + 0x2000, AT + 0x3000
MAGIC = 0x336ec578
MULTIBOOT = 0x2badb002  # what a loader of that name leaves in EAX; version 2 has another number
MEM = 512 << 20
LOADER_NEITHER = "quiesce: started neither by a Multiboot2 loader nor by a PVH one"


@dataclasses.dataclass
class Case:
    says: tuple  # each must be part of some line
    status: int = 2
    multiboot2: bool = False  # go to the entry for Multiboot2, with a wrong number in EAX
    ebx: int = INFO
    magic: int = MAGIC
    version: int = 1
    line_at: int = LINE
    line: bytes = b"mode=test test=smoke\0"
    modules: tuple = ()  # (start, size)
    modules_at: int = MODULES
    map: tuple = ((0, 0x9fc00, 1), (0xf0000, 0x10000, 2), (1 << 20, MEM - (1 << 20), 1))  # (start, size, type)
    map_at: int = MAP
    map_entries: int = None  # default: as many as there are
    board: str = "microvm"


# What the test matrix boots with.
CASES = {
    # Modules: where the other CPUs would start otherwise, and in the middle of memory, one of them unaligned, another
    # one so long that it spans blocks of any order. No ACPI root pointer, which is then searched for: SeaBIOS leaves it
    # where a BIOS does, qboot does not.
    "accepted": Case((" cpus=2 ", "by the trampoline at 0x13000;"), status=0,
                     line=b"mode=test test=smoke,memmap loglevel=debug\0",
                     modules=((0x10000, 0x2fff), (48 << 20, 0x5000), ((64 << 20) + 0x1234, 0x10), (100 << 20, 40 << 20)),
                     board="q35"),
    "neither": Case((LOADER_NEITHER,), multiboot2=True),
    "magic": Case(("# ERROR: start_info has a wrong magic number",), magic=MAGIC + 1),
    "beyond": Case(("# ERROR: start_info lies beyond memory",), ebx=0xffffffe0),
    "line-beyond": Case(("# ERROR: start_info: the command line lies beyond memory",), line_at=1 << 32),
    "line-endless": Case(("# ERROR: start_info: command line longer than 2047 bytes",), line=b"x" * 2048),
    "modules-beyond": Case(("# ERROR: start_info: the list of modules lies beyond memory",), modules=((0, 0),),
                           modules_at=(1 << 32) - 31),
    "modules-many": Case(("# ERROR: start_info: more than 32 modules",), modules=((48 << 20, 1),) * 33),
    "module-all": Case(("# ERROR: memory map: no usable RAM",), modules=((0, (1 << 64) - 1),)),
    "map-beyond": Case(("# ERROR: start_info: the memory map lies beyond memory",), map_at=1 << 63),
    "map-many": Case(("# ERROR: start_info: memory map with more than 512 entries",), map_entries=513),
    "map-none": Case(("# ERROR: no memory map in start_info",), version=0),
}


def instructions(goal, eax, ebx):
    """32-bit code for the state that PVH's specification names; it leaves the direction flag open."""
    # std; mov eax, …; mov ebx, …; mov ecx, …; jmp ecx
    return b"\xfd\xb8%b\xbb%b\xb9%b\xff\xe1" % tuple(struct.pack("<I", value) for value in (eax, ebx, goal))


def image(case, goal):
    """The memory from AT on."""
    start_info = struct.pack("<IIIIQQQQII", case.magic, case.version, 0, len(case.modules), case.modules_at, case.line_at,
                             0, case.map_at, len(case.map) if case.map_entries is None else case.map_entries, 0)
    parts = {AT: instructions(goal, MULTIBOOT, case.ebx), INFO: start_info, LINE: case.line,
             MODULES: b"".join(struct.pack("<QQQQ", start, size, 0, 0) for start, size in case.modules),
             MAP: b"".join(struct.pack("<QQII", *entry, 0) for entry in case.map)}
    memory = bytearray()
    for at, part in parts.items():
        memory += bytes(at - AT - len(memory)) + part
    return bytes(memory)


def entries(elf):
    """The entry for Multiboot2, the one for PVH, and where in the file the note has the latter's address."""
    entry, headers = struct.unpack_from("<QQ", elf, 24)
    size, count = struct.unpack_from("<HH", elf, 54)
    note = next(struct.unpack_from("<Q", elf, at + 8)[0] for at in range(headers, headers + size * count, size)
                if struct.unpack_from("<I", elf, at)[0] == 4)  # PT_NOTE
    if elf[note:note + 16] != struct.pack("<III", 4, 4, 18) + b"Xen\0":
        raise ValueError("the first note is not XEN_ELFNOTE_PHYS32_ENTRY")
    return entry, struct.unpack_from("<I", elf, note + 16)[0], note + 16


def prepare(name, config, folder):
    """Make config boot that case; its files lie in `folder`."""
    case = CASES[name]
    os.makedirs(folder, exist_ok=True)
    with open("build/quiesce-check.elf", "rb") as f:
        elf = bytearray(f.read())
    multiboot2, pvh, address = entries(elf)
    struct.pack_into("<I", elf, address, AT)
    config.elf, memory = f"{folder}/kernel.elf", f"{folder}/memory.bin"
    for path, contents in ((config.elf, elf), (memory, image(case, multiboot2 if case.multiboot2 else pvh))):
        with open(path, "wb") as f:
            f.write(contents)
    config.extra = ("-device", f"loader,file={memory},addr={AT:#x},force-raw=on")
