// SPDX-License-Identifier: MIT
// Cross-CPU function calls: lock-free queue per CPU, one IPI for many requests.
#pragma once
#include "kernel/cpumask.h"

struct xcall;
typedef void (*xcall_fn)(void *arg);

// One request for one CPU, in the caller's memory. If it is asynchronous, it belongs to the target while `busy` is set;
// `busy` is cleared before `fn` is entered, so that `fn` may queue the request again. It must not be queued twice.
struct xcall {
	struct xcall *next;
	xcall_fn fn;
	void *arg;
	u32 *pending;	// decremented after fn has returned or answered; or NULL
	u32 busy;
};

// Run fn(arg) on one CPU, or on every CPU of the mask. fn runs in interrupt context, IRQs off. On the calling CPU, if
// it is named, fn is called directly (IRQs off). Returns after all have finished: needs IRQs on and no spinlock held
// (asserted, DESIGN 7); preemption may be off. xcall_async() does not wait.
void xcall_one(unsigned cpu, xcall_fn fn, void *arg);
void xcall_mask(const struct cpumask *mask, xcall_fn fn, void *arg);
// The same in two halves, so that the caller can work meanwhile: start, then wait. At most one per CPU at a time;
// preemption stays off between them.
void xcall_mask_start(const struct cpumask *mask, xcall_fn fn, void *arg);
void xcall_mask_wait(void);
bool xcall_async(unsigned cpu, struct xcall *call);	// false: it was still busy. Any context but NMI
bool xcall_waits(unsigned cpu);			// has that CPU requests queued that it has not yet taken? (a hint)
void xcall_interrupt(void);				// handler of IPI_XCALL: run all that is queued
// Called by fn in the handler: the waiter need not wait for the rest of fn. What arg points to may be gone from then
// on. (Where fn was called directly, on the calling CPU, its return is the answer.)
void xcall_answer(void);
// The sync IPI: returns when every CPU of the mask (NULL: all others) has been seen with interrupts on at least once
// since the call. Maskable, skips nobody. IRQs on.
void sync_ipi(const struct cpumask *mask);
