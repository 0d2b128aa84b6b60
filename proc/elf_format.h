// SPDX-License-Identifier: MIT
// The parts of an ELF64 file that we read (System V gABI, chapters 4 and 5; psABI x86-64, chapter 4). Little-endian, as
// the machine is. Nothing in a file need be aligned, so a structure is copied out before it is looked at.
#pragma once
#include "kernel/types.h"

#define ELF_MAGIC "\177ELF"
enum { ELF_CLASS = 4, ELF_DATA = 5 };		// offsets in ident
enum { ELF_CLASS_64 = 2, ELF_DATA_LITTLE = 1 };
enum { ELF_TYPE_EXEC = 2, ELF_TYPE_DYN = 3 };
enum { ELF_MACHINE_X86_64 = 62 };
enum {
	ELF_SEGMENT_LOAD = 1, ELF_SEGMENT_INTERP = 3, ELF_SEGMENT_GNU_STACK = 0x6474e551,
};
enum { ELF_FLAG_X = 1, ELF_FLAG_W = 2, ELF_FLAG_R = 4 };
enum { ELF_SECTION_SYMTAB = 2, ELF_SECTION_STRTAB = 3 };
enum { ELF_SYMBOL_NOTYPE = 0, ELF_SYMBOL_FUNC = 2, ELF_SYMBOL_IFUNC = 10 };

struct elf_header {
	u8 ident[16];
	u16 type, machine;
	u32 version;
	u64 entry, phoff, shoff;
	u32 flags;
	u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf_program_header {
	u32 type, flags;
	u64 offset, vaddr, paddr, filesz, memsz, align;
};
struct elf_section_header {
	u32 name, type;
	u64 flags, addr, offset, size;
	u32 link, info;
	u64 align, entsize;
};
struct elf_symbol {
	u32 name;
	u8 info, other;		// info & 15: the type
	u16 section;		// 0: undefined; from ELF_SECTION_RESERVED on: none of the file's
	u64 value, size;
};
enum { ELF_SECTION_RESERVED = 0xff00 };
_Static_assert(sizeof(struct elf_header) == 64 && sizeof(struct elf_program_header) == 56, "gABI, chapters 4 and 5");
_Static_assert(sizeof(struct elf_section_header) == 64 && sizeof(struct elf_symbol) == 24, "gABI, chapter 4");

// Does [at, at + n) lie in a file of that size?
static inline bool elf_holds(u64 size, u64 at, u64 n) { return n <= size && at <= size - n; }
