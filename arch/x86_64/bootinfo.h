// SPDX-License-Identifier: MIT
// What the boot loader told us, copied out of its memory. The parsers (*_parse.c) are
// functions of their arguments only, and their tests run on the host too.
#pragma once
#include "kernel/types.h"

#define BOOT_CMDLINE_MAX 2048	// with the terminating zero
#define BOOT_MEMORY_MAX 512	// entries

struct memory_range {
	paddr_t start, end;
	bool usable;		// RAM that nobody else claims; else: somebody else's, whatever it is
};

struct framebuffer {	// as the loader gives it; framebuffer_check() says whether it can be used
	bool given, text;	// text: cells of an EGA text mode; else pixels
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

// Parse Multiboot2 boot information that lies in buf; nothing beyond buf+len is touched. NULL, or what is wrong.
const char *multiboot2_parse(const void *buf, size_t len, struct boot_info *out);
#define MULTIBOOT2_MAX (1u << 20)	// no honest boot information is longer

// NULL, or why nothing can be written to it: not a mode that we know, not within [0, phys_end), or laid over usable RAM.
const char *framebuffer_check(const struct boot_info *b, u64 phys_end);
static inline u64 framebuffer_bytes(const struct framebuffer *f) { return (u64)f->pitch * f->height; }

extern struct boot_info boot_info;

struct ram_map {	// sorted, disjoint, whole frames, all usable
	struct memory_range r[BOOT_MEMORY_MAX];
	unsigned n;
};
// False: too many pieces, or no RAM below `limit` (a multiple of the frame size).
bool ram_map_build(struct ram_map *ram, const struct memory_range *in, unsigned n, paddr_t limit);
bool ram_map_remove(struct ram_map *ram, paddr_t start, paddr_t end);	// false: no room for the pieces
bool ram_map_add(struct ram_map *ram, paddr_t start, paddr_t end);	// whole frames; false: no room for one more piece
bool ram_map_covers(const struct ram_map *ram, paddr_t start, paddr_t end);	// all of it
// A page that a start-up interrupt can name (SDM vol. 3, 11.6.1: its vector is the page's number) and that real mode reaches:
// of the conventional memory below 640 KiB. 0: none.
paddr_t ram_map_real_mode_page(const struct ram_map *ram);
u64 ram_map_beyond(const struct memory_range *in, unsigned n, paddr_t limit);	// usable bytes from `limit` on
// Why [pa, pa + len) cannot be a device's registers: it overlaps usable RAM, or reaches beyond `limit`. NULL: it can.
const char *ram_map_mmio_error(const struct ram_map *ram, paddr_t pa, u64 len, paddr_t limit);
bool ram_in_image(paddr_t pa, u64 len);	// does any of it lie in the kernel's image?
void ram_init(void);			// from boot_info; failing exit if it makes no sense
paddr_t ram_real_mode_page(void);	// ram_map_real_mode_page() of the machine; never handed out as free RAM
paddr_t ram_take_early(void);		// one page below 4 GiB, before page_init(); panics when none is left
const char *ram_mmio_error(paddr_t pa, u64 len);	// the same of this machine, the image included. For any address that somebody names
void ram_for_each_mapped(void (*fn)(paddr_t start, paddr_t end));	// all usable RAM, ours or taken

// QEMU's opt/quiesce/cmdline as it is, a zero behind it; "" if none. Of more than the kernel accepts, what shows that it is too long.
const char *fwcfg_cmdline(size_t *len);
