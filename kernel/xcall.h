// SPDX-License-Identifier: MIT
// Cross-CPU function calls: lock-free queue per CPU, one IPI for many requests.
#pragma once
#include "kernel/cpumask.h"

struct xcall;
typedef void (*xcall_fn)(void *arg);

// One request for one CPU, when the caller brings the memory. Asynchronous: it stays the callee's while `busy` is set,
// which is dropped before `fn` is entered, so that `fn` may queue it anew; it must not be queued twice.
struct xcall {
	struct xcall *next;
	xcall_fn fn;
	void *arg;
	u32 *pending;	// decremented after fn has returned, or NULL
	u32 busy;
};

// Run fn(arg) on one CPU, or on every CPU of the mask. fn runs in interrupt context, IRQs off. The own CPU, if named,
// is called directly (IRQs off). Returns after all have finished: needs IRQs on and no spinlock held (asserted,
// DESIGN 7); preemption may be off. Not waiting: xcall_async.
void xcall_one(unsigned cpu, xcall_fn fn, void *arg);
void xcall_mask(const struct cpumask *mask, xcall_fn fn, void *arg);
// The same in two halves, so that the caller can work meanwhile: start, then wait. At most one per CPU at a time;
// preemption stays off between them.
void xcall_mask_start(const struct cpumask *mask, xcall_fn fn, void *arg);
void xcall_mask_wait(void);
bool xcall_async(unsigned cpu, struct xcall *call);	// false: it was still busy. Any context but NMI
bool xcall_waits(unsigned cpu);			// has it requests that it has not even taken? (a hint)
void xcall_interrupt(void);				// handler of IPI_XCALL: run all that is queued
// From fn, in the handler: whoever waits need not wait for the rest of fn. What arg points to may be gone from then on.
// (Called directly on the own CPU, fn answers by its return.)
void xcall_answer(void);
// The sync IPI: returns when every CPU of the mask (NULL: all others) has been seen with interrupts on at least once
// since the call. Maskable, skips nobody. IRQs on.
void sync_ipi(const struct cpumask *mask);
