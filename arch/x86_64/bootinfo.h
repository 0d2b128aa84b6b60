// SPDX-License-Identifier: MIT
// What the boot loader told us, copied out of its memory.
#pragma once
#include "kernel/types.h"

#define BOOT_CMDLINE_MAX 2048	// with the terminating zero
#define BOOT_MEMORY_MAX 512	// entries
#define BOOT_MEMORY_RAM 1	// type of an entry of every loader's map: the firmware's (ACPI 6.5, 15.3)
#define BOOT_MODULES_MAX 32
#define BOOT_TAKEN_MAX (4 + BOOT_MODULES_MAX)	// ranges: a loader's own, and the modules

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
	struct memory_range taken[BOOT_TAKEN_MAX];	// RAM that holds what the loader left for us: never handed out
	unsigned nr_taken;
	struct memory_range modules[BOOT_MODULES_MAX];	// files that the loader has read; each is in `taken`, too
	unsigned nr_modules;
	char module_line[BOOT_CMDLINE_MAX];	// the first one's command line; "": it has none
	u8 rsdp[36];		// the ACPI root pointer, the newer one if both were given
	unsigned rsdp_len;	// 0: none
	bool uefi;
	bool pvh;		// started by the PVH entry
	bool initial_domain;	// Xen's first, which owns the hardware
	struct framebuffer framebuffer;
};

// One entry of a loader's map; an empty one adds nothing. False: too many.
static inline bool boot_add_memory(struct boot_info *b, paddr_t base, u64 length, bool usable)
{
	paddr_t end = base + length < base ? ~0ull : base + length;

	if (!length)
		return true;
	if (b->nr_memory == BOOT_MEMORY_MAX)
		return false;
	b->memory[b->nr_memory++] = (struct memory_range){ .start = base, .end = end, .usable = usable };
	return true;
}

static inline bool boot_take(struct boot_info *b, paddr_t start, paddr_t end)
{
	if (start >= end)
		return true;
	if (b->nr_taken == BOOT_TAKEN_MAX)
		return false;
	b->taken[b->nr_taken++] = (struct memory_range){ .start = start, .end = end };
	return true;
}

static inline bool boot_add_module(struct boot_info *b, paddr_t start, paddr_t end)
{
	if (b->nr_modules == BOOT_MODULES_MAX || !boot_take(b, start, end))
		return false;
	b->modules[b->nr_modules++] = (struct memory_range){ .start = start, .end = end };
	return true;
}

static inline u64 framebuffer_bytes(const struct framebuffer *f) { return (u64)f->pitch * f->height; }

extern struct boot_info boot_info;	// memmap.c
