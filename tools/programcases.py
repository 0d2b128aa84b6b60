# SPDX-License-Identifier: MIT
"""Boots with a program, on each of the ways by which it can come. Instead of a program it is a file of numbers, which the
suite `program` (tests/arch/x86_64/program.c) knows; its arguments say how many bytes, or why it must be refused."""
import array
import dataclasses
import os

import grubcases

NO_DMA = ("-global", "fw_cfg.dma_enabled=off")
MIB = 1 << 20


@dataclasses.dataclass
class Case:
    way: str  # fw_cfg, initrd: by PVH, with arguments from fw_cfg; module: GRUB's, with its command line
    size: int
    refused: str = ""
    mem: str = "512M"
    extra: tuple = ()


# What the test matrix boots with.
CASES = {
    "dma": Case("fw_cfg", 17 * MIB + 3),
    "largest": Case("fw_cfg", 64 * MIB),
    "port": Case("fw_cfg", 17 * MIB + 3, extra=NO_DMA),
    "initrd": Case("initrd", 17 * MIB + 3),
    "module": Case("module", 70001),
    "large": Case("fw_cfg", 64 * MIB + 1, "program: larger than 64 MiB"),
    "empty": Case("fw_cfg", 0, "program: an empty file"),
    "ram": Case("fw_cfg", 40 * MIB, "program: not enough RAM", mem="64M"),
}


def pattern(size):
    words = array.array("I", (i * 0x9e3779b1 & 0xffffffff for i in range((size + 3) // 4)))
    return words.tobytes()[:size]


def contents(case):
    return bytes(case.size) if case.refused else pattern(case.size)


def arguments(case):
    return f"refused '{case.refused}'" if case.refused else f"pattern {case.size}"


def prepare(name, config, folder):
    """Make config boot that case; its files lie in `folder`."""
    case = CASES[name]
    os.makedirs(folder, exist_ok=True)
    if case.way == "module":
        commands = f"multiboot2 /boot/quiesce.elf\nmodule2 (hd0)/program {arguments(case)}\nboot\n"
        config.extra = grubcases.disk_arguments(folder, commands, {"program": contents(case)})
        return
    program = f"{folder}/program"
    with open(program, "wb") as f:
        f.write(contents(case))
    passed = ("-initrd", program) if case.way == "initrd" else ("-fw_cfg", f"name=opt/quiesce/program,file={program}")
    config.extra = (*passed, "-fw_cfg", f"name=opt/quiesce/args,string={arguments(case)}", *case.extra)
