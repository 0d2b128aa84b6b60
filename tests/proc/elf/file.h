// SPDX-License-Identifier: MIT
// An ELF file under construction, sound until the test breaks it.
#pragma once
#include "proc/elf.h"
#include "proc/elf_format.h"

#define ELF_FILE_SIZE 0x6000ull

struct elf_file {		// header, program headers, and at CODE_OFFSET what the segments take
	union {
		struct {
			struct elf_header header;
			struct elf_program_header segments[ELF_HEADERS_MAX + 1];
		};
		u8 bytes[ELF_FILE_SIZE];
	};
};
extern struct elf_file elf_file;

// Where the sound file's three segments lie: code with the headers, constants, data with a bss. In the file each has
// its address less CODE, except that of the data, whose page comes right behind.
#define CODE 0x400000ull
#define CODE_SIZE 0x2345ull
#define CONSTANTS 0x403000ull
#define CONSTANTS_SIZE 0x10ull
#define DATA 0x405678ull
#define DATA_OFFSET 0x3678ull
#define DATA_SIZE 0x1111ull
#define DATA_MEMORY 0x12345ull
#define ENTRY (CODE + 0x2001)

void elf_file_begin(void);		// an ET_EXEC with the three; every byte behind the headers is a function of its place
void elf_file_begin_movable(void);	// the same as ET_DYN, linked at 0
struct elf_program_header *elf_file_add(u32 type, u32 flags, vaddr_t va, u64 offset, u64 filesz, u64 memsz);
