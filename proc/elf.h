// SPDX-License-Identifier: MIT
// Static programs in ELF64 files. A function of its arguments only; the file is hostile until it has been parsed.
#pragma once
#include <arch/pte.h>

#define ELF_SEGMENTS_MAX 32		// to load
#define ELF_HEADERS_MAX 128		// of any kind
#define ELF_ALIGN_MAX (1ull << 30)

// Where segments may lie: above what a null pointer and an index reach (Linux's mmap_min_addr), and below the last GiB
// of the user half, which stack and mappings need.
#define PROGRAM_LOWEST 0x10000ull
#define PROGRAM_END (USER_END - (1ull << 30))

struct elf_segment {
	u64 offset, filesz;		// in the file
	vaddr_t vaddr;
	u64 memsz;			// not 0; from filesz on: zeroes
	u8 prot;			// enum prot
};

struct elf_image {
	struct elf_segment segments[ELF_SEGMENTS_MAX];	// sorted by address; no two share a byte
	unsigned nr;			// at least 1
	bool movable;			// ET_DYN: may be loaded anywhere; all addresses here are those of the file
	bool executable_stack;
	vaddr_t start, end;		// of all segments, whole pages
	u64 align;			// of a movable image's base: at least a page
	vaddr_t entry;
	vaddr_t headers;		// the program headers in memory; 0: in no segment
	unsigned nr_headers;
};

// NULL, or why the file cannot be run; nothing outside [file, file + size) is read.
//
// Accepted is what Linux runs, less what no linker makes: Linux does not look at the order of segments, or at whether
// two of them share a byte. Two that share a page are accepted; linkers make them by -N and by a max-page-size that is
// too small. In that page, as on Linux, the later segment's permissions hold, and everybody's bytes are in place.
const char *elf_parse(const void *file, u64 size, struct elf_image *out);
// What is added to all addresses of the file (modulo 2^64), a multiple of image->align. A movable image begins where
// Linux has it, 0x555555554000; from another seed than 0 up to 2^28 pages above that. 0: it is not movable.
u64 elf_bias(const struct elf_image *image, u64 seed);
