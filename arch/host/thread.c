// SPDX-License-Identifier: MIT
// Kernel threads: a stack each, and a switch that the pthread beneath does not notice.
#include "kernel/spinlock.h"
#include "kernel/thread.h"
#include <arch/thread.h>
#include "arch/host/os.h"
#include "arch/host/sanitizer.h"

_Static_assert(offsetof(struct thread, ctx) == 0, "host_switch takes a thread for its context");

static DEFINE_PER_CPU(struct thread *, host_switched_from);

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

struct thread *arch_switch(struct thread *prev, struct thread *next)
{
	this_cpu_write(host_switched_from, prev);
	sanitizer_leave(&prev->ctx, &next->ctx);
	prev = host_switch(prev, next);
	sanitizer_arrive(&current->ctx, &prev->ctx);
	return prev;
}

// A new thread's first switch-in does not return from arch_switch().
static void first_entry(void)
{
	sanitizer_arrive(&current->ctx, &this_cpu_read(host_switched_from)->ctx);
	thread_entry();
}

void arch_thread_init(struct thread *t)
{
	u64 *sp = (u64 *)((char *)t->stack + KSTACK_SIZE) - SANITIZER_WORDS;

	sanitizer_new(&t->ctx, t->stack);
	*--sp = 0;	// first_entry's return address: ends backtraces, and aligns the stack as a call would
	*--sp = (u64)(uintptr_t)first_entry;
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
	irqflags_t f;

	sanitizer_forget(stack);
	f = spin_lock_irqsave(&stacks_lock);
	*(void **)stack = free_stacks;
	free_stacks = stack;
	spin_unlock_irqrestore(&stacks_lock, f);
}
