// SPDX-License-Identifier: MIT
// A parsed program gets into memory.
#pragma once
#include "proc/elf.h"

struct space;

struct program {
	vaddr_t entry;
	vaddr_t headers;	// AT_PHDR; 0: not in memory
	unsigned nr_headers;	// AT_PHNUM
	vaddr_t brk_start;	// behind the last segment, on a page of its own
};

// Map the image's segments into s, `bias` (elf_bias) above where the file says, and fill them from the file that
// `image` was parsed from. No page is ever writable and executable, except of a segment that is both. Zeroes behind a
// segment's bytes get no memory before they are touched. 0; -EEXIST: something is mapped there; -ENOMEM. After a
// failure part of it is mapped: the space is good for nothing but its end.
//
// May sleep. The calling thread runs in s (space_attach()), and no other thread does.
int program_load(struct space *s, const void *file, const struct elf_image *image, u64 bias, struct program *out);
