// SPDX-License-Identifier: MIT
// Memory pressure: how many pages may be unlinked and not yet free at a time (pending_max=). Each page takes one
// credit: a table before it is unlinked, a frame before its flush is deferred (without a credit the flush is done at
// once). The credit is returned when the page is FREE. While there are credits nobody waits for anything. (Not counted:
// the records of deferred flushes themselves, the quarantine of checking builds, lab/quarantine.c, and the tables that a
// policy has laid aside until their space ends, mm/table.h: whoever waited for their credits might wait for ever.)
#pragma once
#include <arch/percpu.h>

void pending_init(void);
struct pending_credits {	// of one CPU
	s64 n;
} __cacheline;
DECLARE_PER_CPU(struct pending_credits, pending_credits);
bool pending_try_pool(unsigned n);

static __always_inline bool pending_take_from(s64 *from, s64 n)
{
	s64 old;

	do {
		old = READ_ONCE(*from);
		if (old < n)
			return false;
	} while (!cmpxchg(from, old, old - n));
	return true;
}
// Take n credits or none. Never waits; not in an NMI, no spinlock above RANK_MUTEX held.
static __always_inline bool pending_try(unsigned n)
{
	return likely(pending_take_from(&this_cpu_ptr(&pending_credits)->n, n)) || pending_try_pool(n);
}
// Take n (at most pending_max()) credits. If there are too few, hurry what will return some, and sleep until it has.
// May sleep; the caller may hold a mutex that nobody needs in order to free.
void pending_take(unsigned n);
void pending_put(unsigned n);		// return n credits; context as for pending_try()
s64 pending_in_use(void);		// credits that are out; a snapshot
u64 pending_max(void);
u64 pending_set_max(u64 pages);		// tests; returns the old one. May sleep
