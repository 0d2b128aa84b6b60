// SPDX-License-Identifier: MIT
// Steps in the wrong order, in the history of other kernels: a table that is freed, or begins to wait, before it is
// unlinked; one that is unlinked after the wait; a root that is freed before it is evicted; a callback head in what
// walkers still read. Each scene is played twice, intact and with the order changed.
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/swmmu.h"
#include "lab/test.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/lab/history/mutated.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK

// ---- Freed, or waiting, before it is unlinked (Redox OS, OSv) ------------------------------------------------------

// The entry of a table of level 1 is about to be cleared. What the policy has been given by now becomes FREE, because
// nobody walks; then a walk begins, and the entry leads it on.
static void drain_and_walk(struct stall_point *p, void *space)
{
	struct space *s = space;
	struct page *page;

	if (s->freer->drain)
		s->freer->drain();
	EXPECT_EQ(walk_pin_fast(s, BASE, 1, false, &page), 0);
}

static void unmap_and_walk_before_the_unlink(struct space *s)
{
	stall_point("tree_unlinking")->action = drain_and_walk;
	stall_point("tree_unlinking")->arg = s;
	stall_arm(stall_point("tree_unlinking"), s, 0, 0, 2);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(stall_point("tree_unlinking")->hits, 1);
	stall_release(stall_point("tree_unlinking"));
}

static u64 walk_before_the_unlink(const char *policy)
{
	struct space *s = mm_populated(policy_find(policy), flush_find("ipi"), PAGE_SIZE);
	u64 violations = oracle_violations();

	if (!s)
		return 0;
	unmap_and_walk_before_the_unlink(s);
	space_put(s);
	return oracle_violations() - violations;
}

static u64 walk_where_tables_are_freed_at_once(void) { return walk_before_the_unlink("ipi"); }
static u64 walk_where_tables_wait(void) { return walk_before_the_unlink("rcu"); }

TEST(history, unlinked_before_it_is_freed, 0)
{
	intact_and_mutated("tree_frees_before_unlink", walk_where_tables_are_freed_at_once);
	intact_and_mutated("tree_frees_before_unlink", walk_where_tables_wait);
}

TEST(history, unlinked_before_it_waits, 0) { intact_and_mutated("tree_queues_before_unlink", walk_where_tables_wait); }

// Here a CPU holds the space lazily, and its MMU has cached the entry: a wait for software walkers that ends before the
// flush is no wait for that CPU.
static u64 wait_ends_before_the_flush(void)
{
	struct mm_resident r = { .s = mm_populated(policy_find("rcu"), flush_find("ipi"), PAGE_SIZE), .go = 1 };
	u64 violations = swmmu_violations();

	if (!r.s)
		return 0;
	mm_join(mm_thread("resident", mm_reside, &r, mm_other_cpu(0)));
	EXPECT(swmmu_prime(mm_other_cpu(0), BASE));
	unmap_and_walk_before_the_unlink(r.s);
	space_put(r.s);
	return swmmu_violations() - violations;
}

TEST(history, flushed_before_it_waits, NEEDS_CPUS2)
{
	intact_and_mutated("tree_queues_before_unlink", wait_ends_before_the_flush);
}

// ---- A root is freed that a lazy CPU has loaded (Genode) -----------------------------------------------------------

// The back-end lets no target run anything, as a hypervisor's: so the flush of the root makes no CPU leave it.
static u64 end_while_held_lazily(void)
{
	struct mm_resident r = { .s = space_create_with(policy_find("ipi"), &mm_flush_none), .go = 1 };
	u64 violations = swmmu_violations();

	if (!EXPECT(r.s))
		return 0;
	mm_join(mm_thread("resident", mm_reside, &r, mm_other_cpu(0)));
	EXPECT(cpumask_test(&r.s->cpus, mm_other_cpu(0)));
	space_put(r.s);
	return swmmu_violations() - violations;
}

TEST(history, evicted_before_the_root_is_freed, NEEDS_CPUS2)
{
	intact_and_mutated("space_evicts_last", end_while_held_lazily);
}

// ---- Unlinked after the wait (s390: a collapse) --------------------------------------------------------------------

struct late_walk {
	struct walk_job job;
	struct thread *walker;
	u32 inside, ended, returned;	// the walker has read a leaf; has ended; the collapse has returned
};

static int walk_and_say(void *arg)
{
	struct late_walk *l = arg;

	walk_once(&l->job);
	store_release(&l->ended, 1u);
	return 0;
}

static void stay_inside(struct stall_point *p, void *arg)
{
	struct late_walk *l = arg;

	store_release(&l->inside, 1u);
	spin_until(load_acquire(&l->returned), "the collapse", -1);
}

// The collapse has waited for the walkers. One that begins now must not find the table.
static void begin_late(struct stall_point *p, void *arg)
{
	struct late_walk *l = arg;

	l->walker = mm_thread("walker", walk_and_say, l, mm_other_cpu(0));
	spin_until(!l->walker || load_acquire(&l->inside) || load_acquire(&l->ended), "walker", -1);
}

static u64 walk_after_the_wait(void)
{
	struct late_walk l = { .job = { .s = mm_populated(policy_find("rcu"), flush_find("ipi"), level_size(2)), .va = BASE } };
	u64 violations = oracle_violations();

	if (!l.job.s)
		return 0;
	stall_point("walk_leaf")->action = stay_inside;
	stall_point("walk_leaf")->arg = &l;
	stall_arm(stall_point("walk_leaf"), l.job.s, BASE, BASE + PAGE_SIZE, 1);
	stall_point("collapse_waited")->action = begin_late;
	stall_point("collapse_waited")->arg = &l;
	stall_arm(stall_point("collapse_waited"), l.job.s, 0, 0, 0);
	EXPECT_EQ(space_collapse(l.job.s, BASE), 0);
	store_release(&l.returned, 1u);
	mm_join(l.walker);
	EXPECT_EQ(stall_point("collapse_waited")->hits, 1);
	stall_release(stall_point("collapse_waited"));
	stall_release(stall_point("walk_leaf"));
	EXPECT_EQ(l.job.got, 0);
	violations = oracle_violations() - violations;
	space_put(l.job.s);
	return violations;
}

TEST(history, unlinked_before_the_collapse_waits, NEEDS_CPUS2)
{
	intact_and_mutated("collapse_unlinks_late", walk_after_the_wait);
}

// ---- A callback head overlays what a walker still reads (PT_RECLAIM on sparc64) ------------------------------------

static u32 written;	// how often the walker found that its emptied table had been written to

static void hold_and_look(struct stall_point *p, void *held)
{
	hold_up_the_free(p, held);
	written += !page_is_zero(((struct held_walk *)held)->table);
}

// A walker is about to read a table that is empty and waits for it.
static u64 look_into_a_table_that_waits(void)
{
	struct held_walk h;

	written = 0;
	hold_walk(&h, "rcu-page", false, 2, false, hold_and_look);
	return written;
}

TEST(history, table_is_not_written_while_it_waits, NEEDS_CPUS2)
{
	intact_and_mutated("rcu_page_head_in_table", look_into_a_table_that_waits);
}
#endif
