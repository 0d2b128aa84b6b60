// SPDX-License-Identifier: MIT
// A program's thread, seen from the processor. rsp0 of the TSS points behind `frame`, so that a trap from user mode builds
// it in place, as the entry of SYSCALL does.
#pragma once
#include "arch/x86_64/traps.h"

struct user_context {
	struct trap_frame frame;	// first: user.asm, traps.asm
	u64 kernel_rsp;			// behind it: where user_enter() returns from; the same files
	u32 work;
	u32 cpu;			// whose registers hold what is not in `frame`; NR_CPUS: none
	u64 fs_base, gs_base;
	struct user_fault fault;
	void *fpu;			// XSAVE area, current while no CPU holds it
} __aligned(64);
_Static_assert(offsetof(struct user_context, kernel_rsp) == sizeof(struct trap_frame), "user.asm, traps.asm");
