// SPDX-License-Identifier: MIT
// Kernel threads: a stack each, and a switch that the pthread beneath does not notice.
#include "kernel/spinlock.h"
#include "kernel/thread.h"
#include <arch/thread.h>
#include "arch/host/os.h"

_Static_assert(offsetof(struct thread, ctx) == 0, "host_switch takes a thread for its context");

// The callee-saved registers of the x86-64 ABI; prev comes out as the value.
struct thread *host_switch(struct thread *prev, struct thread *next);
__asm__(
	".text\n"
	".type host_switch, @function\n"
	"host_switch:\n"
	"	pushq %rbp\n	pushq %rbx\n	pushq %r12\n	pushq %r13\n	pushq %r14\n	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq (%rsi), %rsp\n"
	"	movq %rdi, %rax\n"
	"	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n	popq %rbx\n	popq %rbp\n"
	"	ret\n"
	".size host_switch, . - host_switch\n");
#define SWITCH_REGISTERS 6

struct thread *arch_switch(struct thread *prev, struct thread *next) { return host_switch(prev, next); }

void arch_thread_init(struct thread *t)
{
	u64 *sp = (u64 *)((char *)t->stack + KSTACK_SIZE);

	*--sp = 0;	// thread_entry's return address: ends backtraces, and aligns the stack as a call would
	*--sp = (u64)(uintptr_t)thread_entry;
	for (int i = 0; i < SWITCH_REGISTERS; i++)
		*--sp = 0;
	t->ctx.sp = (u64)(uintptr_t)sp;
}

// Free stacks, linked through their first word.
static struct spinlock stacks_lock = SPINLOCK_INIT("host stacks", RANK_KMAP);
static void **free_stacks;

void *arch_stack_alloc(void)
{
	irqflags_t f = spin_lock_irqsave(&stacks_lock);
	void **stack = free_stacks;

	if (stack)
		free_stacks = *stack;
	spin_unlock_irqrestore(&stacks_lock, f);
	return stack ? stack : os_stack(KSTACK_SIZE);
}

void arch_stack_free(void *stack)
{
	irqflags_t f = spin_lock_irqsave(&stacks_lock);

	*(void **)stack = free_stacks;
	free_stacks = stack;
	spin_unlock_irqrestore(&stacks_lock, f);
}
