// SPDX-License-Identifier: MIT
// Contract: invalidation of one page, in a header of its own because it is one instruction, and each architecture has
// another.
#pragma once
#include "kernel/types.h"

static __always_inline void arch_flush_page(vaddr_t va)	// INVLPG: the leaf of va and all upper entries
{
	__asm__ volatile("invlpg (%0)" :: "r"(va) : "memory");
}
