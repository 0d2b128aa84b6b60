// SPDX-License-Identifier: MIT
// Which CPUs unmaps interrupt, counted on the CPU concerned under every safe pair. A CPU that runs in another space is
// never interrupted; one that holds the space in lazy TLB mode once; one that runs in the space at each unmap, or never
// where the flush is deferred. What that costs is measured by bench=bystander.
#include "kernel/cpumask.h"
#include "lab/test.h"
#include "mm/space.h"
#include "tests/bench/load.h"
#include "tests/bench/places.h"
#include "tests/kernel/rcu/readers.h"
#include "tests/mm/help.h"

#define UNMAPS 20

enum bystander { IN_THE_SPACE, LAZY, ELSEWHERE };

// On the last CPU, because RCU's grace-period thread runs on the first one and is woken by IPIs.
static struct {
	struct space *space;
	bool lazy;
	u32 watching, stop;
	u64 received;		// interrupts, without its ticks and the reschedule IPIs
	u64 switches;		// threads that ran there instead: then the CPU may have left the space
} at;

static u64 received_here(void)
{
	return this_cpu_read(interrupts) - this_cpu_read(ticks) - this_cpu_read(counters.resched_taken);
}

static int stand_by(void *unused)
{
	irqflags_t flags;

	space_attach(at.space);
	if (at.lazy)
		space_detach();
	flags = irq_save();		// no tick between the two readings
	at.received = received_here();
	at.switches = this_cpu_read(context_switches);
	irq_restore(flags);
	store_release(&at.watching, 1);
	while (!READ_ONCE(at.stop))
		cpu_relax();
	flags = irq_save();
	at.received = received_here() - at.received;
	at.switches = this_cpu_read(context_switches) - at.switches;
	irq_restore(flags);
	if (!at.lazy)
		space_detach();
	return 0;
}

// What the bystander received, and how many CPUs were called to sweep because they did not do so in time.
struct heard { u64 ipis, switches, called; };

static void unmap_often(struct space *s, struct places *places)
{
	for (int i = 0; i < UNMAPS; i++) {
		vaddr_t va = places_next(places);

		EXPECT_EQ(map_patiently(s, va, PAGE_SIZE, 1), 0);
		EXPECT_EQ(space_unmap(s, va, PAGE_SIZE), 0);
	}
}

static bool unmap_beside(enum bystander kind, const struct table_policy *p, const struct flush_backend *b, struct heard *h)
{
	struct space *s = space_create_with(p, b), *home = kind == ELSEWHERE ? space_create() : s;
	struct counters before, sent;	// from before the bystander begins until after its end
	struct places places;
	struct thread *t = NULL;

	counters_snapshot(&before);
	if (s && home && places_init(&places, s)) {
		at.space = home;
		at.lazy = kind == LAZY;
		at.watching = at.stop = 0;
		t = mm_thread("bystander", stand_by, NULL, last_cpu());
	}
	if (EXPECT(t) && EXPECT(EVENTUALLY(load_acquire(&at.watching))))
		unmap_often(s, &places);
	WRITE_ONCE(at.stop, 1);
	if (t)
		mm_join(t);
	counters_snapshot(&sent);
	counters_sub(&sent, &sent, &before);
	h->ipis = at.received;
	h->switches = at.switches;
	h->called = sent.lazy_calls;
	if (home != s)
		space_put(home);
	space_put(s);
	if (b->drain)
		b->drain();
	return t;
}

typedef void judge_fn(const struct table_policy *p, const struct flush_backend *b, const struct heard *h);
static void under_all(enum bystander kind, judge_fn *judge)
{
	move_to(0);
	FOR_EACH_BACKEND(b) {
		FOR_EACH_POLICY(p) {
			struct heard h = { 0 };

			if (flush_missing(*b) || !pair_verdict(*p, *b).safe || !unmap_beside(kind, *p, *b, &h))
				continue;
			judge(*p, *b, &h);
			if (test_failed()) {
				log_info("%s with %s: %llu received, %llu sweeps called for", (*p)->name, (*b)->name,
					 (unsigned long long)h.ipis, (unsigned long long)h.called);
				goto out;
			}
		}
	}
out:
	rcu_barrier();
	move_anywhere();
}

// Under the other back-ends a hypercall or a flag may reach it in place of an IPI. A policy that acts as its flush begins
// defers nothing.
static void judge_in_the_space(const struct table_policy *p, const struct flush_backend *b, const struct heard *h)
{
	if ((b == flush_find("ipi") || b == flush_find("nmi")) && !h->switches)
		EXPECT(h->ipis >= UNMAPS);
	EXPECT(h->ipis <= (b->defer && !p->begin ? h->called : UNMAPS));
}

// An NMI flushes the CPU and leaves its state alone; any other flush makes it leave the space.
static void judge_lazy(const struct table_policy *p, const struct flush_backend *b, const struct heard *h)
{
	EXPECT(h->ipis <= (b == flush_find("nmi") ? UNMAPS : 1) + h->called);
}

static void judge_elsewhere(const struct table_policy *p, const struct flush_backend *b, const struct heard *h)
{
	EXPECT_EQ(h->ipis, 0);
}

TEST(bystander, in_the_space, NEEDS_CPUS2) { under_all(IN_THE_SPACE, judge_in_the_space); }
TEST(bystander, lazy, NEEDS_CPUS2) { under_all(LAZY, judge_lazy); }
TEST(bystander, elsewhere, NEEDS_CPUS2) { under_all(ELSEWHERE, judge_elsewhere); }
