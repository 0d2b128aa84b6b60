// SPDX-License-Identifier: MIT
// tlb_flush=lazy: what other CPUs may see until they sweep. A CPU that is held with interrupts off has neither ticks
// nor switches: it does not sweep before it is released.
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/flush/lazy.h"
#include "tests/mm/flush/flush_lazy/reader.h"
#include "tests/mm/help.h"

#if CHECK

// Until the CPU sweeps it sees the old page, and never a reused one: the frame and the tables are held. And no CPU was
// interrupted for it.
static bool old_page_seen(unsigned round)
{
	struct counters before, after;
	struct page *table;
	struct reader r;
	struct thread *t = reader_begin(&r, "rcu", round);

	if (!t)
		return false;
	table = mm_table(r.s, r.va, 1);
	counters_snapshot(&before);
	EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
	counters_snapshot(&after);
	EXPECT_EQ(after.lazy_deferred - before.lazy_deferred, 1);
	EXPECT_EQ(after.ipi_flush - before.ipi_flush, 0);
	EXPECT_EQ(deferred_held(), PT_LEVELS);		// one frame and the tables below the root
	EXPECT_EQ(mm_state(table), TABLE_UNLINKED);
	store_release(&r.go, 1u);
	mm_join(t);
	EXPECT(r.held_reads && !r.after_reads);
	if (r.held_again)
		EXPECT_EQ(r.held_value, OLD);
	flush_find("lazy")->drain();
	EXPECT_EQ(deferred_held(), 0);
	space_put(r.s);
	return r.held_again;
}

TEST(flush_lazy, old_page_until_the_sweep, NEEDS_CPUS2)
{
	struct mm_balance b;
	bool seen = false;

	mm_balance_begin(&b);
	for (unsigned i = 0; i < READER_ROUNDS && !seen && !test_failed(); i++)
		seen = old_page_seen(i);
	EXPECT(seen);
	mm_balance_end(&b);
}

// A CPU that keeps preemption off has no switches.
TEST(flush_lazy, a_tick_sweeps, 0)
{
	u64 ticked;

	preempt_disable();
	flush_ask_sweep(cpu_id());
	ticked = this_cpu_read(ticks);
	spin_until(this_cpu_read(ticks) != ticked, "a tick", -1);
	EXPECT(!READ_ONCE(this_cpu_ptr(&flush_due)->asked));
	preempt_enable();
}

// A sweep may only claim what was posted before its flush. Here the CPU caches a page after that flush and the page is
// unmapped: its frame must wait for the next sweep.
struct late {
	struct space *s;
	vaddr_t va;		// two pages
	u32 there, first, flushed, second, swept, go;
	bool stale;
};

static bool reads_old(vaddr_t va)
{
	u64 v;

	return !arch_user_read64_nofault(va, &v) && v == OLD;
}

static void between_flush_and_claim(struct stall_point *p, void *arg)
{
	struct late *l = arg;

	reads_old(l->va + PAGE_SIZE);
	store_release(&l->flushed, 1u);
	spin_until(load_acquire(&l->second), "the second unmap", -1);
}

static int sweep_in_between(void *arg)
{
	struct late *l = arg;
	irqflags_t flags;

	space_attach(l->s);
	flags = irq_save();
	store_release(&l->there, 1u);
	spin_until(load_acquire(&l->first), "the first unmap", -1);
	flush_sweep();
	store_release(&l->swept, 1u);
	spin_until(load_acquire(&l->go), "the test", -1);
	l->stale = reads_old(l->va + PAGE_SIZE);
	irq_restore(flags);
	space_detach();
	return 0;
}

// The second page: 0: not freed too early; 1: freed while the CPU had it still mapped; 2: … and it could be read.
static unsigned freed_under_a_reader(unsigned round, bool intact)
{
	struct late l = { .s = space_create_with(policy_find("rcu"), flush_find("lazy")), .va = BASE + 7 * round * PAGE_SIZE };
	struct thread *t, *d;
	bool freed;

	if (!EXPECT(l.s))
		return 0;
	EXPECT_EQ(space_map(l.s, l.va, 2 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(l.s);
	EXPECT_EQ(arch_user_write64(l.va + PAGE_SIZE, OLD), 0);
	space_detach();
	t = mm_thread("sweeper", sweep_in_between, &l, mm_other_cpu(0));
	if (!t)
		return 0;
	spin_until(load_acquire(&l.there), "sweeper", -1);
	stall_point("lazy_flushed")->action = between_flush_and_claim;
	stall_point("lazy_flushed")->arg = &l;
	stall_point("lazy_flushed")->cpu = (int)mm_other_cpu(0);
	stall_arm(stall_point("lazy_flushed"), NULL, 0, 0, 0);
	EXPECT_EQ(space_unmap(l.s, l.va, PAGE_SIZE), 0);
	store_release(&l.first, 1u);
	spin_until(load_acquire(&l.flushed), "the sweep", -1);
	EXPECT_EQ(space_unmap(l.s, l.va + PAGE_SIZE, PAGE_SIZE), 0);
	store_release(&l.second, 1u);
	spin_until(load_acquire(&l.swept), "the sweep", -1);
	d = mm_thread("drainer", deferred_drainer, NULL, cpu_id());
	// The drainer sleeps only after it has called the CPU in vain and has completed what was complete.
	if (d)
		EXPECT(intact ? EVENTUALLY(deferred_drained_or_asleep(d)) : EVENTUALLY(!deferred_held()));
	freed = !deferred_held();
	store_release(&l.go, 1u);
	mm_join(t);
	mm_join(d);
	stall_release(stall_point("lazy_flushed"));
	space_put(l.s);
	return freed ? 1 + l.stale : 0;
}

TEST(flush_lazy, claims_what_came_before_the_flush, NEEDS_CPUS2)
{
	unsigned most = 0;

	for (unsigned i = 0; i < 2; i++)
		EXPECT(freed_under_a_reader(i, true) < 2);
	oracle_expect_violations(true);	// the adversary reports the frame
	mutant_set(lazy_late_generation, 1);
	for (unsigned i = 0; i < READER_ROUNDS && most < 2 && !test_failed(); i++)
		most = MAX(most, freed_under_a_reader(i, false));
	mutant_set(lazy_late_generation, 0);
	oracle_expect_violations(false);
	EXPECT(most);
	EXPECT_STALE(most == 2);
}
#endif
