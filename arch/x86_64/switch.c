// SPDX-License-Identifier: MIT
// What arch_thread_switch() finds on the stack of a thread that never ran.
#include "kernel/thread.h"

_Static_assert(offsetof(struct thread, ctx.rsp) == 0, "switch.asm finds the stack pointer at the thread's address");


void thread_start(void);	// switch.asm

struct first_frame {	// as arch_thread_switch() pops it
	u64 r15, r14, r13, r12, rbx, rbp, rip;
	u64 pad[2];	// thread_start runs with rsp 16-aligned, as before a call
};

void arch_thread_init(struct thread *t)
{
	struct first_frame *f = (struct first_frame *)((char *)t->stack + KSTACK_SIZE) - 1;

	*f = (struct first_frame){ .rip = (uintptr_t)thread_start };
	t->ctx.rsp = (uintptr_t)f;
}
