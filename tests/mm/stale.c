// SPDX-License-Identifier: MIT
// A stale translation is impossible: when an unmap or a protect has returned, no CPU can use what was there before.
//
// One observer on each other CPU makes the processor cache the translation, then goes on using it without loading a
// page-table root itself. The unmapper unmaps, then says so; an observer that can still use the page after that has a
// stale translation.
//
// A test of this kind proves something only if it can fail. So each variant runs again with the flush taken out
// (mm_flush_none), and then stale translations must be found.
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/space.h"
#include "mm/tlb.h"
#include "tests/mm/help.h"

#define MOST_OBSERVERS 8		// more observers only take more time
#define ROUNDS 2
#define CONTROL_ROUNDS 40
#define AFTER 1000			// reads after the unmap has returned

enum change { UNMAP, PROTECT };
enum observer { BUSY, LAZY, JOINING };	// what the observers' CPUs do meanwhile

struct variant {
	enum change change;
	enum observer observer;
	int level;
	unsigned span;			// pages from the first to the last: decides between range and full flush
	bool keep_tables;		// a neighbour keeps the tables: only leaves are freed
};

struct round {
	const struct variant *v;
	vaddr_t base;			// of the first page
	u64 offset;			// where in each (large) page it is touched
	struct space *s, *other;	// the space from which a joining CPU comes
	bool control;
	u32 ready, returned;
	struct completion wake;
	u64 stale;			// observers that could use what was unmapped
};

// First, middle and last page.
#define PROBES 3
static vaddr_t probe(const struct round *r, unsigned i)
{
	return r->base + r->offset + (r->v->span - 1) * i / (PROBES - 1) * level_size(r->v->level);
}

static unsigned usable(const struct round *r)
{
	unsigned n = 0;
	u64 value;

	for (unsigned i = 0; i < PROBES; i++)
		n += !(r->v->change == PROTECT ? arch_user_write64_nofault(probe(r, i), 1)
					       : arch_user_read64_nofault(probe(r, i), &value));
	return n;
}

static void warm(const struct round *r)
{
	EXPECT_EQ(usable(r), PROBES);
}

// Look until the unmapper has returned, and then some more. True: stale.
static bool look(struct round *r)
{
	for (unsigned after = 0; after < AFTER;) {
		bool returned = load_acquire(&r->returned);	// pairs with the store after the unmap
		bool use = usable(r);

		if (!returned)
			continue;
		if (use)
			return true;
		after++;
		cpu_relax();
	}
	return false;
}

// No switch can happen, and a flush loads no other root: whatever vanishes from the TLB was flushed.
static int busy_observer(void *arg)
{
	struct round *r = arg;
	u64 loads;

	space_attach(r->s);
	preempt_disable();
	loads = mm_counted_here(cr3_writes);
	warm(r);
	fetch_add(&r->ready, 1);
	if (look(r))
		fetch_add(&r->stale, 1);
	EXPECT_EQ(mm_counted_here(cr3_writes) - loads, 0);
	preempt_enable();
	space_detach();
	return 0;
}

// Sleeps meanwhile, and kernel threads run on its CPU, which keeps the root loaded. On return to this thread the CPU
// sees by the generation that it has missed a flush; it still loads no root. If tables were freed, it was made to leave
// the root and loads it again.
static int lazy_observer(void *arg)
{
	struct round *r = arg;
	u64 loads, expected;

	space_attach(r->s);
	warm(r);
	loads = mm_counted_here(cr3_writes);
	fetch_add(&r->ready, 1);
	wait_for_completion(&r->wake);
	preempt_disable();
	expected = r->v->keep_tables || r->control ? 0 : 2;
	if (r->control || r->s->backend == flush_find("ipi"))	// others flush without making it leave
		EXPECT_EQ(mm_counted_here(cr3_writes) - loads, expected);
	if (look(r))
		fetch_add(&r->stale, 1);
	preempt_enable();
	space_detach();
	return 0;
}

static int pass(void *unused) { return 0; }

static void wait_until_lazy(struct space *s)
{
	for_each_cpu_in(cpu, &s->cpus)
		while (!READ_ONCE(per_cpu(cpu_tlb, cpu).lazy))
			thread_yield();
	threads_run_on(&cpus_online, pass, NULL);
}

#if CHECK

// In the middle of the switch, interrupts off: the root is loaded and the TLB filled. The flush must still reach this
// CPU, so the unmapper cannot return before the switch has ended; wait long enough for it to return wrongly.
static void warm_in_the_switch(struct stall_point *p, void *arg)
{
	struct round *r = arg;

	warm(r);
	store_release(&r->ready, 1u);
	WHILE_OTHERS_RUN(2)
		if (READ_ONCE(r->returned))
			break;
}

static void arm_switch(struct round *r)
{
	stall_point("tlb_loaded")->action = warm_in_the_switch;
	stall_point("tlb_loaded")->arg = r;
	stall_arm(stall_point("tlb_loaded"), r->s, 0, 0, 0);
}
static void disarm_switch(void) { stall_release(stall_point("tlb_loaded")); }
#else
static void arm_switch(struct round *r) { }
static void disarm_switch(void) { }
#endif

// Joins from another space, which its CPU holds lazily.
static int joining_observer(void *arg)
{
	struct round *r = arg;

	space_attach(r->other);
	space_detach();
	space_attach(r->s);
	preempt_disable();
	if (look(r))
		fetch_add(&r->stale, 1);
	preempt_enable();
	space_detach();
	return 0;
}

// Map the pages (those that are probed are faulted in), and a neighbour of the last one in the same table.
static bool build(struct round *r)
{
	const struct variant *v = r->v;
	vaddr_t end = r->base + v->span * level_size(v->level);
	bool ok = !space_map(r->s, r->base, v->span * level_size(v->level), RW, v->level, 0);

	for (unsigned i = 0; i < PROBES; i++)
		ok = ok && !space_fault(r->s, probe(r, i), true);
	return ok && (!v->keep_tables || !space_map(r->s, end, PAGE_SIZE, RW, 1, MAP_POPULATE));
}

static void change(struct round *r)
{
	u64 len = r->v->span * level_size(r->v->level);

	if (r->v->change == UNMAP)
		EXPECT_EQ(space_unmap(r->s, r->base, len), 0);
	else
		EXPECT_EQ(space_protect(r->s, r->base, len, PROT_R), 0);
	store_release(&r->returned, 1u);
}

static int (*const observers[])(void *) = { [BUSY] = busy_observer, [LAZY] = lazy_observer, [JOINING] = joining_observer };

static void observe(struct round *r)
{
	unsigned n = r->v->observer == JOINING ? 1 : MIN(nr_cpus - 1, (unsigned)MOST_OBSERVERS);
	struct counters before, after;
	struct thread *t[MOST_OBSERVERS];
	u64 gen;

	completion_init(&r->wake);
	if (r->v->observer == JOINING)
		arm_switch(r);
	for (unsigned i = 0; i < n; i++)
		t[i] = mm_thread("observer", observers[r->v->observer], r, mm_other_cpu(i));
	while (READ_ONCE(r->ready) != n && !test_failed())
		thread_yield();
	if (r->v->observer == LAZY)
		wait_until_lazy(r->s);
	gen = READ_ONCE(r->s->gen);
	counters_snapshot(&before);
	change(r);
	counters_snapshot(&after);
	if (r->control)
		// nor may the generation tell: without targets no back-end is called that would take it back
		WRITE_ONCE(r->s->gen, gen);
	complete_all(&r->wake);
	for (unsigned i = 0; i < n; i++)
		mm_join(t[i]);
	if (r->v->observer == JOINING)
		disarm_switch();
	if (r->v->observer == LAZY && r->v->keep_tables) {	// no CPU was interrupted
		EXPECT_EQ(after.flush_lazy_skipped - before.flush_lazy_skipped, n);
		EXPECT_EQ(after.ipi_flush - before.ipi_flush, 0);
	} else if (r->v->observer == BUSY) {
		EXPECT_EQ(after.ipi_flush - before.ipi_flush, n);
	}
}

// Returns how many observers saw what they must not see. Each round uses another address: in a TLB with few sets (an
// emulator's has one way) the kernel's own accesses may always evict the same entry.
static u64 run_round(const struct variant *v, const struct flush_backend *flush, unsigned number)
{
	struct round r = { .v = v, .base = BASE, .control = flush == &mm_flush_none };

	if (v->level == 1)
		r.base += number * 7 * PAGE_SIZE;
	else
		r.offset = number * 7 * PAGE_SIZE;

	r.s = space_create_with(policy_find("rcu"), flush);
	r.other = space_create();
	if (r.control)
		oracle_expect_violations(true);	// the adversary may have cached the page, too
	if (EXPECT(r.s && r.other) && EXPECT(build(&r)))
		observe(&r);
	if (r.s)
		space_put(r.s);
	if (r.control)
		oracle_expect_violations(false);
	if (r.other)
		space_put(r.other);
	return r.stale;
}

static void check(const struct variant *v)
{
	u64 stale = 0;

	FOR_EACH_BACKEND(b) {
		if (flush_missing(*b) || (*b)->defer)	// deferred flushes have a suite of their own
			continue;
		for (unsigned i = 0; i < (*b == flush_find("ipi") ? ROUNDS : 1) && !test_failed(); i++)
			EXPECT_EQ(run_round(v, *b, i), 0);
	}
	// A processor may drop an entry at any time, so one round is not enough to conclude that it never keeps one.
	for (unsigned i = 0; i < CONTROL_ROUNDS && !stale && !test_failed(); i++)
		stale = run_round(v, &mm_flush_none, i);
	EXPECT_STALE(stale);
}

#define VARIANT(...) check(&(const struct variant){ __VA_ARGS__ })
#define SPANS(change_, observer_, level_, keep_, range_, full_) do { \
	VARIANT(change_, observer_, level_, 1, keep_); \
	VARIANT(change_, observer_, level_, range_, keep_); \
	VARIANT(change_, observer_, level_, full_, keep_); \
} while (0)
#define FULL (TLB_RANGE_MAX + 4)
#define NEEDS NEEDS_CPUS2

TEST(stale, unmap_4k, NEEDS) { SPANS(UNMAP, BUSY, 1, true, 8, FULL); }
TEST(stale, unmap_4k_and_tables, NEEDS) { SPANS(UNMAP, BUSY, 1, false, 8, FULL); }
TEST(stale, protect_4k, NEEDS) { SPANS(PROTECT, BUSY, 1, true, 8, FULL); }
TEST(stale, unmap_2m, NEEDS) { SPANS(UNMAP, BUSY, 2, true, 3, FULL); }
TEST(stale, unmap_2m_and_tables, NEEDS) { SPANS(UNMAP, BUSY, 2, false, 3, FULL); }
TEST(stale, protect_2m, NEEDS) { SPANS(PROTECT, BUSY, 2, true, 3, FULL); }

TEST(stale, unmap_4k_lazy, NEEDS) { SPANS(UNMAP, LAZY, 1, true, 8, FULL); }
TEST(stale, unmap_4k_and_tables_lazy, NEEDS) { SPANS(UNMAP, LAZY, 1, false, 8, FULL); }
TEST(stale, protect_4k_lazy, NEEDS) { SPANS(PROTECT, LAZY, 1, true, 8, FULL); }
TEST(stale, unmap_2m_lazy, NEEDS) { SPANS(UNMAP, LAZY, 2, true, 3, FULL); }

TEST(stale, unmap_4k_joining, NEEDS | NEEDS_CHECK) { SPANS(UNMAP, JOINING, 1, true, 8, FULL); }
TEST(stale, protect_4k_joining, NEEDS | NEEDS_CHECK) { SPANS(PROTECT, JOINING, 1, true, 8, FULL); }

TEST(stale, pages_1g, NEEDS | NEEDS_MEM_1G)
{
	if (!arch_has_page_size(3))
		SKIP("the CPU has no 1 GiB pages");
	VARIANT(UNMAP, BUSY, 3, 1, true);
	VARIANT(UNMAP, BUSY, 3, 1, false);
	VARIANT(PROTECT, BUSY, 3, 1, true);
	VARIANT(UNMAP, LAZY, 3, 1, true);
}
