// SPDX-License-Identifier: MIT
// Contract: threads' saved state and the switch.
#pragma once
#include "kernel/types.h"
#include <impl/thread.h>	// struct arch_context, KSTACK_SIZE

struct thread;
// A stack with a guard page below. Returns the lowest usable address, NULL when out of memory. May be cached, never
// unmapped.
void *arch_stack_alloc(void);
void arch_stack_free(void *stack);
// Prepare a new thread: its first switch-in calls thread_entry() on its stack with IRQs off.
void arch_thread_init(struct thread *t);
_Noreturn void thread_entry(void);	// kernel/sched.c
// Save prev's state, continue next's; returns in next, with prev as value. IRQs off.
struct thread *arch_thread_switch(struct thread *prev, struct thread *next);
