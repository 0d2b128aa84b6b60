// SPDX-License-Identifier: MIT
// The loader's memory map, put in order. Functions of their arguments only.
#pragma once
#include "arch/x86_64/bootinfo.h"

struct ram_map {	// sorted, disjoint, whole frames, all usable
	struct memory_range r[BOOT_MEMORY_MAX];
	unsigned n;
};
// False: too many pieces, or no RAM below `limit` (a multiple of the frame size).
bool ram_map_build(struct ram_map *ram, const struct memory_range *in, unsigned n, paddr_t limit);
bool ram_map_remove(struct ram_map *ram, paddr_t start, paddr_t end);	// false: no room for the pieces
bool ram_map_add(struct ram_map *ram, paddr_t start, paddr_t end);	// whole frames; false: no room for one more piece
bool ram_map_covers(const struct ram_map *ram, paddr_t start, paddr_t end);	// all of it
// A page that a start-up interrupt can name (SDM vol. 3, 11.6.1: its vector is the page's number) and that real mode
// reaches, in the conventional memory below 640 KiB. 0: none.
paddr_t ram_map_real_mode_page(const struct ram_map *ram);
u64 ram_map_beyond(const struct memory_range *in, unsigned n, paddr_t limit);	// usable bytes from `limit` on
// Why [pa, pa + len) cannot be a device's registers: it overlaps usable RAM, or reaches beyond `limit`. NULL: it can.
const char *ram_map_mmio_error(const struct ram_map *ram, paddr_t pa, u64 len, paddr_t limit);
