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
	u64 fs_base, gs_base;	// with what follows, as the FPU's area: current while no CPU holds it
	u16 ds, es, fs, gs;
	struct user_fault fault;
	void *fpu;			// XSAVE area
} __aligned(64);
_Static_assert(offsetof(struct user_context, kernel_rsp) == sizeof(struct trap_frame), "user.asm, traps.asm");
_Static_assert(sizeof(struct trap_frame) % 16 == 0, "a trap aligns rsp0 down to 16 first (SDM vol. 3, 6.14.2)");

static __always_inline u64 arch_user_call(const struct user_context *c, u64 args[6])
{
	const struct trap_frame *f = &c->frame;

	args[0] = f->rdi;
	args[1] = f->rsi;
	args[2] = f->rdx;
	args[3] = f->r10;
	args[4] = f->r8;
	args[5] = f->r9;
	return f->error;
}
static __always_inline void arch_user_set_result(struct user_context *c, s64 result) { c->frame.rax = (u64)result; }
