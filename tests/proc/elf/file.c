// SPDX-License-Identifier: MIT
// See file.h.
#include "tests/proc/elf/file.h"
#include "kernel/lib.h"

struct elf_file elf_file;

struct elf_program_header *elf_file_add(u32 type, u32 flags, vaddr_t va, u64 offset, u64 filesz, u64 memsz)
{
	struct elf_program_header *p = &elf_file.segments[elf_file.header.phnum++];

	*p = (struct elf_program_header){
		.type = type, .flags = flags, .offset = offset, .vaddr = va, .paddr = va, .filesz = filesz, .memsz = memsz,
		.align = PAGE_SIZE,
	};
	return p;
}

void elf_file_begin(void)
{
	for (size_t i = 0; i < sizeof(elf_file.bytes); i++)
		elf_file.bytes[i] = (u8)(i * 7 + i / 256 + 1);
	memset(elf_file.segments, 0, sizeof(elf_file.segments));
	elf_file.header = (struct elf_header){
		.ident = { 0177, 'E', 'L', 'F', ELF_CLASS_64, ELF_DATA_LITTLE, 1 },
		.type = ELF_TYPE_EXEC, .machine = ELF_MACHINE_X86_64, .version = 1, .entry = ENTRY,
		.phoff = offsetof(struct elf_file, segments), .ehsize = sizeof(struct elf_header),
		.phentsize = sizeof(struct elf_program_header), .shentsize = sizeof(struct elf_section_header),
	};
	elf_file_add(ELF_SEGMENT_LOAD, ELF_FLAG_R | ELF_FLAG_X, CODE, 0, CODE_SIZE, CODE_SIZE);
	elf_file_add(ELF_SEGMENT_LOAD, ELF_FLAG_R, CONSTANTS, CONSTANTS - CODE, CONSTANTS_SIZE, CONSTANTS_SIZE);
	elf_file_add(ELF_SEGMENT_LOAD, ELF_FLAG_R | ELF_FLAG_W, DATA, DATA_OFFSET, DATA_SIZE, DATA_MEMORY);
}

void elf_file_begin_movable(void)
{
	elf_file_begin();
	elf_file.header.type = ELF_TYPE_DYN;
	elf_file.header.entry -= CODE;
	for (unsigned i = 0; i < elf_file.header.phnum; i++)
		elf_file.segments[i].vaddr -= CODE;
}
