// SPDX-License-Identifier: MIT
// tlb_flush=lazy and walks on other CPUs: walks with interrupts off are waited for, because their CPUs do not sweep.
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/swmmu.h"
#include "lab/test.h"
#include "mm/flush/lazy.h"
#include "mm/tlb.h"
#include "mm/walk.h"
#include "tests/mm/flush/flush_lazy/reader.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK

static const struct flush_backend *lazy_flush(void) { return flush_find("lazy"); }

// A walk on another CPU, whose thread runs in the space, held before it reads a table.
enum until { UNMAPPED, SWEPT, FREED };		// when the walker goes on; for a sweep its interrupts must be on
struct lazy_walk {
	struct walk_job job;
	struct page *table;
	u32 there, returned;
	enum until until;
};

static void hold_walker(struct stall_point *p, void *arg)
{
	struct lazy_walk *w = arg;
	u64 sweeps = mm_counted_here(lazy_sweeps);

	store_release(&w->there, 1u);
	spin_until(load_acquire(&w->returned), "the unmapper", -1);
	if (w->until >= SWEPT)
		spin_until(mm_counted_here(lazy_sweeps) != sweeps, "its own sweep", -1);
	if (w->until >= FREED)
		spin_until(mm_state(w->table) == TABLE_FREE, "the table", -1);
}

static u64 unmap_under_walk(const struct table_policy *policy, enum until until)
{
	u64 violations = oracle_violations();
	struct lazy_walk w = { .until = until };
	struct space *s = space_create_with(policy, lazy_flush());
	struct thread *walker;

	if (!EXPECT(s))
		return 0;
	w.job = (struct walk_job){ .s = s, .va = BASE, .local = true };
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	w.table = mm_table(s, BASE, 1);
	stall_point("walk_level")->action = hold_walker;
	stall_point("walk_level")->arg = &w;
	stall_arm(stall_point("walk_level"), s, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_once, &w.job, mm_other_cpu(0));
	if (!EXPECT(walker))
		return 0;
	spin_until(load_acquire(&w.there), "walker", -1);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);		// it does not wait
	if (policy->walker == WALKER_IRQS_OFF && !MUTANT(lazy_no_wait))
		EXPECT_EQ(mm_state(w.table), TABLE_UNLINKED);
	if (MUTANT(lazy_no_wait))
		lazy_flush()->drain();
	store_release(&w.returned, 1u);
	if (until == FREED)
		lazy_flush()->drain();		// the thread that completes may run on the walker's CPU
	mm_join(walker);
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(w.job.got, 0);
	lazy_flush()->drain();
	mm_put_emptied(s, w.table);
	return oracle_violations() - violations;
}

// A sweep cannot happen inside a walk with interrupts off: the table is held until the walker has left.
TEST(flush_lazy, table_held_for_an_interrupts_off_walk, NEEDS_CPUS2)
{
	for (int i = 0; i < 10; i++)
		EXPECT_EQ(unmap_under_walk(policy_find("ipi"), UNMAPPED), 0);
	oracle_expect_violations(true);
	mutant_set(lazy_no_wait, 1);
	EXPECT(unmap_under_walk(policy_find("ipi"), UNMAPPED) > 0);
	mutant_set(lazy_no_wait, 0);
	oracle_expect_violations(false);
}

// Hold the walk until the test has drained in vain.
static void hold_until_drained(struct stall_point *p, void *arg)
{
	struct lazy_walk *w = arg;

	store_release(&w->there, 1u);
	spin_until(load_acquire(&w->returned), "the drain", -1);
}

// A walker that relies on the flush and whose CPU has another root loaded is only in the walkers' mask. Its CPU, too,
// has not swept: a record for which only this CPU is missing waits. The CPU is called in vain until the walk has left.
TEST(flush_lazy, table_held_for_a_remote_walk, NEEDS_CPUS2)
{
	struct lazy_walk w = { .job = { .s = space_create_with(policy_find("ipi"), lazy_flush()), .va = BASE } };
	struct space *s = w.job.s;
	struct thread *walker, *drainer;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	w.table = mm_table(s, BASE, 1);
	stall_point("walk_level")->action = hold_until_drained;
	stall_point("walk_level")->arg = &w;
	stall_arm(stall_point("walk_level"), s, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_once, &w.job, mm_other_cpu(0));
	REQUIRE(walker);
	spin_until(load_acquire(&w.there), "walker", -1);
	EXPECT(cpumask_empty(&s->cpus) && cpumask_test(&s->walkers, mm_other_cpu(0)));
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);		// it does not wait
	drainer = mm_thread("drainer", deferred_drainer, NULL, cpu_id());
	// The drainer sleeps only after it has called the CPU and has completed what was complete.
	if (drainer)
		EXPECT(EVENTUALLY(deferred_drained_or_asleep(drainer)));
	EXPECT_EQ(mm_state(w.table), TABLE_UNLINKED);
	store_release(&w.returned, 1u);
	mm_join(walker);
	mm_join(drainer);
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(w.job.got, 0);
	EXPECT_EQ(mm_state(w.table), TABLE_FREE);
	space_put(s);
}

// A walk with interrupts on is not waited for: the CPU sweeps in the middle of it.
TEST(flush_lazy, immediate_is_swept_over, NEEDS_CPUS2)
{
	oracle_expect_violations(true);
	for (int i = 0; i < 10; i++)
		EXPECT(unmap_under_walk(policy_find("immediate"), FREED) > 0);
	oracle_expect_violations(false);
}

TEST(flush_lazy, safe_policies_are_clean, NEEDS_CPUS2)
{
	FOR_EACH_POLICY(p) {
		bool deferred = !(*p)->begin;	// otherwise the flush is done at once, by IPIs
		enum until until = (*p)->walker == WALKER_IRQS_OFF || !deferred ? UNMAPPED : SWEPT;

		if (pair_verdict(*p, lazy_flush()).safe && unmap_under_walk(*p, until))
			test_fail(__FILE__, __LINE__, "table_free=%s", (*p)->name);
	}
}

struct lazy_holder {
	struct space *s;
	u32 there, go;
	bool stayed, left;		// had the root until it swept; no longer had it then
};

// Never idle, because a CPU that idles leaves before it is a target.
static int hold_lazily(void *arg)
{
	struct lazy_holder *h = arg;
	irqflags_t flags;
	u64 sweeps;

	space_attach(h->s);
	preempt_disable();
	space_detach();
	flags = irq_save();
	h->stayed = tlb_space_loaded_here(h->s);
	sweeps = mm_counted_here(lazy_sweeps);
	EXPECT(swmmu_prime(cpu_id(), BASE));
	store_release(&h->there, 1u);
	spin_until(load_acquire(&h->go), "the unmap", -1);
	irq_restore(flags);
	spin_until(mm_counted_here(lazy_sweeps) != sweeps, "its own sweep", -1);
	h->left = !tlb_space_loaded_here(h->s);
	preempt_enable();
	return 0;
}

// A CPU that holds the space lazily is a target where tables are freed, because it walks speculatively. Its sweep
// leaves the space, and only that drops what it has cached.
TEST(flush_lazy, lazy_holder_leaves_when_it_sweeps, NEEDS_CPUS2)
{
	struct lazy_holder h = { .s = space_create_with(policy_find("rcu"), lazy_flush()) };
	u64 violations = oracle_violations();
	struct thread *t;

	REQUIRE(h.s);
	EXPECT_EQ(space_map(h.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	t = mm_thread("holder", hold_lazily, &h, mm_other_cpu(0));
	REQUIRE(t);
	spin_until(load_acquire(&h.there), "holder", -1);
	EXPECT_EQ(space_unmap(h.s, BASE, PAGE_SIZE), 0);
	EXPECT(deferred_held() > 0);
	store_release(&h.go, 1u);
	mm_join(t);
	EXPECT(h.stayed && h.left);
	lazy_flush()->drain();
	EXPECT_EQ(oracle_violations() - violations, 0);
	space_put(h.s);
}

// A CPU that stops its tick leaves the space that it holds lazily: later unmaps need not wait for it.
TEST(flush_lazy, idle_cpu_leaves, NEEDS_CPUS2)
{
	struct space *s = space_create_with(policy_find("ipi"), lazy_flush());
	struct walk_job job = { .s = s, .va = BASE, .local = true };

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	mm_join(mm_thread("walker", walk_once, &job, mm_other_cpu(0)));		// its CPU now holds the space lazily
	if (EXPECT_EQ(job.got, 1))
		page_unpin(job.page, false);
	EXPECT(EVENTUALLY(!cpumask_test(&s->cpus, mm_other_cpu(0))));
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(deferred_held(), 0);
	space_put(s);
}
#endif
