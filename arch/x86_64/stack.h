// SPDX-License-Identifier: MIT
// Kernel stacks, each above an unmapped guard.
#pragma once
#include <arch/pte.h>
#include <arch/thread.h>

// CPU 0's first stacks lie in the image (entry.asm): its thread's, then one for each IST entry.
enum { NR_IST = 4, NR_BOOT_STACKS = 1 + NR_IST };
struct boot_stack {
	char guard[PAGE_SIZE];
	char stack[KSTACK_SIZE];
};
_Static_assert(sizeof(struct boot_stack) == 4096 + 16384, "STACK_SLOT in entry.asm");
extern struct boot_stack boot_stacks[NR_BOOT_STACKS];

// The mapped stack that addr lies in; false: in none.
bool stack_bounds(uintptr_t addr, uintptr_t *lo, uintptr_t *hi);
bool stack_is_guard(uintptr_t addr);	// in the guard of some stack
