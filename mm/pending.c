// SPDX-License-Identifier: MIT
// Memory pressure: a pool of pending_max credits. Each CPU keeps a few, so that an unmapper usually writes only to a
// cache line of its own CPU. A CPU that finds the pool empty takes the credits of the other CPUs before it waits. So
// the bound is exact, at any number of CPUs: at least as many credits are out as pages wait.
//
// Waiting. Credits are returned by whatever frees: RCU callbacks, ticks, and threads that complete deferred flushes. None
// of them takes a space's mutex, so an unmapper may wait with its space locked. (Another unmapper's `free` returns some,
// too, but nobody relies on that.) No wake-up is lost:
//
//	waiter: waiting++ (full barrier), then looks at all credits
//	put:    credits += n (full barrier), then looks at `waiting`
//
// A CPU that moves credits from one place to another holds them for a moment where no waiter finds them. So it stores
// them as a put does: it adds them, then looks at `waiting` (lay_down()).
#include "mm/pending.h"
#include "kernel/cmdline.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/mutex.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "mm/flush/flush.h"
#include "mm/frame/page.h"

#define PENDING_LEAST 64
#define PENDING_DEFAULT_MOST 16384
#define MOST_LOCAL 32		// credits that a CPU keeps

DEFINE_PER_CPU(struct pending_credits, pending_credits);
static struct {
	s64 left __cacheline;	// in the pool; below 0 after the bound was lowered
	u32 waiting;
	u64 max;
	s64 local;		// what a CPU keeps
	struct waitq wq;
} pool;
static u64 opt_max;

static const char *set_pending_max(const char *value)
{
	u64 v;

	if (!parse_u64(value, &v) || v < PENDING_LEAST || v > UINT32_MAX)
		return "not a number of pages, at least 64";
	opt_max = v;
	return NULL;
}
CMDLINE_KEY(pending_max, "64 to 4294967295 (pages that may wait to be freed; default 1/16 of memory, at most 16384)",
	    set_pending_max);

static void set_max(u64 max)
{
	fetch_add(&pool.left, (s64)(max - pool.max));
	WRITE_ONCE(pool.max, max);	// others put credits meanwhile
	WRITE_ONCE(pool.local, (s64)MIN(max / (4 * nr_cpus), (u64)MOST_LOCAL));
}

void pending_init(void)
{
	u64 max = MAX(MIN(page_total_count() / 16, (u64)PENDING_DEFAULT_MOST), (u64)PENDING_LEAST);

	waitq_init(&pool.wq);
	set_max(opt_max ? opt_max : max);
}

u64 pending_max(void) { return READ_ONCE(pool.max); }

static __always_inline void lay_down(s64 *to, s64 n)
{
	fetch_add(to, n);
	if (unlikely(READ_ONCE(pool.waiting)))
		waitq_wake_all(&pool.wq);
}

// This CPU has too few: take them from the pool, and some more for the CPU to keep. If the thread migrates meanwhile,
// the spare ones go to its former CPU, which does no harm.
bool pending_try_pool(unsigned n)
{
	s64 *own = &this_cpu_ptr(&pending_credits)->n, keep = READ_ONCE(pool.local);

	if (READ_ONCE(pool.left) < (s64)READ_ONCE(pool.max) / 4) {		// over the watermark: nobody waits yet, but hurry
		count(pending_hurries);
		rcu_hurry();
	}
	if (keep && pending_take_from(&pool.left, n + keep)) {
		lay_down(own, keep);
		return true;
	}
	return pending_take_from(&pool.left, n);
}

static bool take_all_the_same(unsigned n)
{
	for_each_cpu(cpu) {
		s64 *its = &per_cpu(pending_credits, cpu).n, in_hand;

		if (!READ_ONCE(*its))
			continue;
		in_hand = xchg(its, 0);
		STALL(pending_in_hand, NULL, 0, 0);	// a CPU's credits are taken from it, and not in the pool yet
		lay_down(&pool.left, in_hand);
	}
	return pending_take_from(&pool.left, n);
}

void pending_take(unsigned n)
{
	ASSERT(n <= READ_ONCE(pool.max));
	if (likely(pending_try(n)))
		return;
	if (MUTANT(pending_no_wait)) {	// no credits: go on, above the bound
		fetch_sub(&pool.left, n);
		return;
	}
	fetch_add(&pool.waiting, 1);
	if (!take_all_the_same(n)) {
		count(pending_waits);
		rcu_hurry();
		flush_hurry();
		wait_event(&pool.wq, take_all_the_same(n));
	}
	fetch_sub(&pool.waiting, 1);
}

void __hot pending_put(unsigned n)
{
	s64 *own = &this_cpu_ptr(&pending_credits)->n;

	lay_down(READ_ONCE(*own) + (s64)n <= READ_ONCE(pool.local) ? own : &pool.left, n);
}

s64 pending_in_use(void)
{
	s64 free = READ_ONCE(pool.left);

	for_each_cpu(cpu)
		free += READ_ONCE(per_cpu(pending_credits, cpu).n);
	return (s64)READ_ONCE(pool.max) - free;
}

u64 pending_set_max(u64 pages)
{
	u64 old = pool.max;

	take_all_the_same(0);
	set_max(pages);
	return old;
}
