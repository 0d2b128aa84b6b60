// SPDX-License-Identifier: MIT
// Invalidation of one page (SDM vol. 2, INVLPG): the leaf of va and all upper entries, in one instruction.
#pragma once

static __always_inline void arch_flush_page(vaddr_t va)
{
	__asm__ volatile("invlpg (%0)" :: "r"(va) : "memory");
}
