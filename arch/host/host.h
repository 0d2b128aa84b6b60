// SPDX-License-Identifier: MIT
// What the files of the host port share.
#pragma once
#include "kernel/types.h"
#include <arch/thread.h>

void host_percpu_boot(void);			// CPU 0's copy; the calling pthread becomes CPU 0
void host_become_cpu(unsigned cpu);		// the calling pthread is this CPU from now on
void host_timer_init(void);
// Raise the timers that are due; returns the earliest deadline that is left. A period that was missed as a whole is not
// made up for.
u64 host_timers_run(u64 now);
void host_symbols_init(void);
void host_ram_init(u64 bytes);
extern enum host_map { MAP_PLAIN, MAP_ABSURD, MAP_PIECES } host_map;	// how arch_for_each_ram() reports the RAM
// Save the caller's context as prev and continue next. Returns when a context continues prev; the value is that
// context.
struct arch_context *host_switch(struct arch_context *prev, struct arch_context *next);
// The same for the contexts of two CPUs, where ThreadSanitizer must infer no order from the switch. host_arrive_cpu()
// is its second half, called in the context that goes on.
void host_switch_cpu(struct arch_context *from, struct arch_context *to);
void host_arrive_cpu(struct arch_context *at, struct arch_context *from);
// A new context: its first switch-in calls entry() on that stack of KSTACK_SIZE.
void host_context_init(struct arch_context *c, void *stack, void (*entry)(void));
