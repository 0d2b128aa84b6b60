// SPDX-License-Identifier: MIT
// The invalidation primitives of mm/: each invalidates on the CPU, and in the adversary's software MMU beside it.
// Nothing else in mm/ or kernel/ calls arch_flush_*() or arch_load_root(). They act on this CPU; preemption off; IRQs
// on or off unless stated.
#pragma once
#include <arch/tlb.h>
#include "lab/stall.h"
#include "lab/swmmu.h"

// The leaf at va. freed_tables: the entries above it must be dropped as well (x86 drops them anyway; others do not).
static __always_inline void inval_page(vaddr_t va, bool freed_tables)
{
	arch_flush_page(va);
	swmmu_flush_page(va, freed_tables);
}
static __always_inline void inval_user(void)	// all that is not global. IRQs off: it reloads the root that it finds loaded
{
	arch_flush_user();
	swmmu_flush_user();
	STALL(inval_user_done, NULL, 0, 0);	// all is flushed, and nothing records it yet
}
static __always_inline void inval_all(void)	// global entries too
{
	arch_flush_all();
	swmmu_flush_all();
}
static __always_inline void inval_load_root(paddr_t root)
{
	// The old root is still loaded, and everything cached through it is still there
	STALL(inval_root_loading, NULL, 0, 0);
	arch_load_root(root);
	swmmu_load_root(root);
}
