// SPDX-License-Identifier: MIT
// What the boot loader told us, copied out of its memory.
#pragma once
#include "kernel/types.h"

#define BOOT_CMDLINE_MAX 2048	// with the terminating zero
#define BOOT_MEMORY_MAX 512	// entries

struct memory_range {
	paddr_t start, end;
	bool usable;		// RAM that the firmware does not claim; otherwise not ours, whatever it is
};

struct framebuffer {	// as the loader gives it; framebuffer_check() (multiboot2_parse.h) says whether it can be used
	bool given, text;	// text: cells of an EGA text mode; otherwise pixels
	u8 type, bits;		// per pixel or cell
	u32 pitch, width, height;	// bytes from row to row; pixels or cells
	paddr_t base;
	struct channel { u8 at, bits; } red, green, blue;	// where a pixel has them
};

struct boot_info {
	char cmdline[BOOT_CMDLINE_MAX];
	struct memory_range memory[BOOT_MEMORY_MAX];	// as given: unsorted, may overlap, any alignment
	unsigned nr_memory;
	u8 rsdp[36];		// the ACPI root pointer, the newer one if both were given
	unsigned rsdp_len;	// 0: none
	bool uefi;
	struct framebuffer framebuffer;
};

static inline u64 framebuffer_bytes(const struct framebuffer *f) { return (u64)f->pitch * f->height; }

extern struct boot_info boot_info;	// memmap.c
