// SPDX-License-Identifier: MIT
// How long interrupts stay off (checking builds; nothing in release builds). arch's irq_* functions and the interrupt
// entry call the two marks; per CPU the longest stretch is kept.
#pragma once
#include "kernel/types.h"

struct hist;

#if CHECK
void irqsoff_begin(void);	// interrupts just went off (they were on)
void irqsoff_end(void);		// they are about to go on
void irqsoff_forgive(u64 stolen);	// [NMI] do not count so many cycles of the stretch under way: steal time
#else
static inline void irqsoff_begin(void) { }
static inline void irqsoff_end(void) { }
static inline void irqsoff_forgive(u64 stolen) { }
#endif
void irqsoff_reset(void);	// all CPUs; stretches that are under way count in full
// Stretches that end on this CPU go, in cycles, into *h; NULL: no more. Preemption off, or a thread that stays here.
void irqsoff_record(struct hist *h);
u64 irqsoff_longest(void);	// cycles, over all CPUs since the reset; 0 in release builds
u64 irqsoff_longest_here(void);	// … of this CPU
