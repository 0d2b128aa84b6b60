// SPDX-License-Identifier: MIT
// Kernel threads: a stack each, and a switch that the pthread beneath does not notice. (The deterministic scheduler
// switches CPUs by the same means.)
#include "kernel/spinlock.h"
#include "kernel/thread.h"
#include <arch/thread.h>
#include "arch/host/host.h"
#include "arch/host/os.h"
#include "arch/host/sanitizer.h"

_Static_assert(offsetof(struct arch_context, sp) == 0, "host_switch stores the stack pointer there");

static DEFINE_PER_CPU(struct thread *, host_switched_from);

// The callee-saved registers of the x86-64 ABI; prev comes out as the value.
__asm__(
	".text\n"
	".globl host_switch\n"
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

struct thread *arch_thread_switch(struct thread *prev, struct thread *next)
{
	this_cpu_write(host_switched_from, prev);
	sanitizer_leave(&prev->ctx, &next->ctx);
	prev = container_of(host_switch(&prev->ctx, &next->ctx), struct thread, ctx);
	sanitizer_arrive(&current->ctx, &prev->ctx);
	return prev;
}

// Not instrumented: ThreadSanitizer must not see the contexts, which belong to the scheduler (steps.c).
__attribute__((no_sanitize("thread"))) void host_switch_cpu(struct arch_context *from, struct arch_context *to)
{
	sanitizer_leave_cpu(from, to);
	host_switch(from, to);
}

void host_arrive_cpu(struct arch_context *at, struct arch_context *from) { sanitizer_arrive(at, from); }

// A new thread's first switch-in does not return from arch_thread_switch().
static void first_entry(void)
{
	sanitizer_arrive(&current->ctx, &this_cpu_read(host_switched_from)->ctx);
	thread_entry();
}

void host_context_init(struct arch_context *c, void *stack, void (*entry)(void))
{
	u64 *sp = (u64 *)((char *)stack + KSTACK_SIZE) - SANITIZER_WORDS;

	sanitizer_new(c, stack);
	*--sp = 0;	// entry's return address: ends backtraces, and aligns the stack as a call would
	*--sp = (u64)(uintptr_t)entry;
	for (int i = 0; i < SWITCH_REGISTERS; i++)
		*--sp = 0;
	c->sp = (u64)(uintptr_t)sp;
}

void arch_thread_init(struct thread *t) { host_context_init(&t->ctx, t->stack, first_entry); }

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
