// SPDX-License-Identifier: MIT
// The machine's RAM.
#pragma once
#include "kernel/types.h"

bool ram_in_image(paddr_t pa, u64 len);	// does any of it lie in the kernel's image?
void ram_init(void);			// from boot_info; exits with a failing status if that makes no sense
paddr_t ram_real_mode_page(void);	// ram_map_real_mode_page() of what no loader has taken; never handed out as free RAM
paddr_t ram_take_early(void);		// one page below 4 GiB, before page_init(); panics when none is left
// Whole frames for so many bytes, side by side, before page_init() and after kmap_init(); 0: there are not that many.
paddr_t ram_take_range(u64 bytes);
bool ram_is_mapped(paddr_t start, paddr_t end);	// is all of it usable RAM, ours or taken, and so in the direct map?
// ram_map_mmio_error() of the machine, the image included. For any address that firmware names.
const char *ram_mmio_error(paddr_t pa, u64 len);
void ram_for_each_mapped(void (*fn)(paddr_t start, paddr_t end));	// all usable RAM, ours or taken
