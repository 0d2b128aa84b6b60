// SPDX-License-Identifier: MIT
// Contract: the root, and invalidation of what was cached by way of it. mm/inval.h alone calls these: the adversary
// must see what the processor does.
#pragma once
#include <arch/pte.h>

// This CPU's TLB and paging-structure caches (SDM vol. 3, 4.10.4). Preemption off, IRQs either way where not said.
static __always_inline void arch_flush_page(vaddr_t va);	// the leaf of va and all upper entries
void arch_flush_user(void);			// all that is not global: reload of the root. IRQs off: a call between
						// its read and its write of the root could free that root
void arch_flush_all(void);			// global ones too
void arch_load_root(paddr_t root);		// switch; flushes as above
paddr_t arch_current_root(void);
void arch_root_init(pte_t *root);		// a new root page, zeroed: fill in the kernel half
paddr_t arch_kernel_root(void);			// a root with an empty user half

#include <impl/tlb.h>
