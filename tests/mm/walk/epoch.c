// SPDX-License-Identifier: MIT
// What table_free=epoch waits for, and what it does when that takes long: the tables wait without the unmapper, and are
// freed by a later `free`, by a tick or by the callback; without memory the unmapper waits. And how long `wait` lasts.
#include "kernel/rcu/rcu.h"
#include "kernel/thread.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/table.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/gap.h"

#if CHECK

static u64 deferred(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.free_deferred;
}

static u64 fallbacks(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.table_fallbacks;
}

static void table_waits(bool local)
{
	u64 violations = oracle_violations(), before = deferred();
	struct mm_balance b;
	struct held_walk h;

	mm_balance_begin(&b);
	for (int level = 2; level <= PT_LEVELS; level++)
		hold_walk(&h, "epoch", local, level, false, hold_up_the_free);
	EXPECT_EQ(oracle_violations() - violations, 0);
	EXPECT_EQ(deferred() - before, PT_LEVELS - 1);		// once for each walk
	mm_balance_end(&b);
}

TEST(walk, epoch_table_waits, NEEDS_CPUS2)
{
	table_waits(true);
	table_waits(false);
}

static enum table_state deferred_state;

static void pass_a_grace_period(struct gap *gap)
{
	rcu_barrier();
	deferred_state = mm_state(gap->table[0]);
}

// What was deferred is freed after the walk has ended, even if nobody frees anything after that.
TEST(walk, epoch_deferred_is_freed_by_itself, NEEDS_CPUS2)
{
	struct gap gap = { .policy = "epoch", .point = stall_point("walk_level"), .level = 2, .after = pass_a_grace_period };

	rcu_barrier();			// no callback is on its way
	mutant_set(epoch_no_tick, 1);
	EXPECT_EQ(gap_play(&gap, gap_until_back), 0);
	mutant_set(epoch_no_tick, 0);
	EXPECT_EQ(deferred_state, TABLE_FREE);
	rcu_barrier();
	mutant_set(epoch_no_retry, 1);
	EXPECT_EQ(gap_play(&gap, gap_until_back), 0);
	mutant_set(epoch_no_retry, 0);
	EXPECT_EQ(deferred_state, TABLE_FLUSHED);
}

// Unmap the one page of a space of its own, and return the table that was unmapped with it.
static struct page *free_another(struct space **space)
{
	struct space *s = space_create_with(policy_find("epoch"), flush_find("ipi"));
	struct page *table;

	*space = s;
	if (!EXPECT(s))
		return NULL;
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	table = mm_table(s, BASE, 1);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	return table;
}

// A later `free` looks again, and frees what was deferred if its walk has ended, but not before.
TEST(walk, epoch_deferred_is_looked_at_again, NEEDS_CPUS2)
{
	struct walk_job job = { .s = space_create_with(policy_find("epoch"), flush_find("ipi")), .va = BASE };
	struct page *table, *meanwhile, *later;
	struct space *other, *third;
	struct thread *walker;

	REQUIRE(job.s);
	rcu_barrier();			// no callback is on its way
	mutant_set(epoch_no_retry, 1);	// and none comes
	EXPECT_EQ(space_map(job.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	table = mm_table(job.s, BASE, 1);
	stall_arm(stall_point("walk_level"), job.s, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_once, &job, mm_other_cpu(0));
	REQUIRE(walker);
	stall_wait_parked(stall_point("walk_level"));
	EXPECT_EQ(space_unmap(job.s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(mm_state(table), TABLE_FLUSHED);
	meanwhile = free_another(&other);
	EXPECT_EQ(mm_state(table), TABLE_FLUSHED);
	EXPECT_EQ(mm_state(meanwhile), TABLE_FLUSHED);	// a word names no space
	stall_release(stall_point("walk_level"));
	mm_join(walker);
	EXPECT_EQ(mm_state(table), TABLE_FLUSHED);
	later = free_another(&third);
	EXPECT_EQ(mm_state(table), TABLE_FREE);
	EXPECT_EQ(mm_state(meanwhile), TABLE_FREE);
	EXPECT_EQ(mm_state(later), TABLE_FREE);
	mutant_set(epoch_no_retry, 0);
	EXPECT_EQ(job.got, 0);
	space_put(third);
	space_put(other);
	space_put(job.s);
}

struct lingerer {
	struct walk_job job;
	u32 ended, over;
};

// No grace period ends before `over`.
static int walk_and_linger(void *arg)
{
	struct lingerer *l = arg;

	preempt_disable();
	walk_once(&l->job);
	store_release(&l->ended, 1u);
	spin_until(load_acquire(&l->over), "the end of the test", -1);
	preempt_enable();
	return 0;
}

// A CPU that is in no walk holds up nothing, even if a grace period waits for it and nobody frees anything.
TEST(walk, epoch_no_grace_period_is_waited_for, NEEDS_CPUS2)
{
	struct lingerer l = { .job = { .s = space_create_with(policy_find("epoch"), flush_find("ipi")), .va = BASE } };
	struct thread *walker;
	struct page *table;

	REQUIRE(l.job.s);
	EXPECT_EQ(space_map(l.job.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	table = mm_table(l.job.s, BASE, 1);
	stall_arm(stall_point("walk_level"), l.job.s, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_and_linger, &l, mm_other_cpu(0));
	REQUIRE(walker);
	stall_wait_parked(stall_point("walk_level"));
	EXPECT_EQ(space_unmap(l.job.s, BASE, PAGE_SIZE), 0);
	WHILE_OTHERS_RUN(4)
		EXPECT_EQ(mm_state(table), TABLE_FLUSHED);	// … but a walk does
	stall_release(stall_point("walk_level"));
	spin_until(load_acquire(&l.ended), "the walk", -1);
	EXPECT(EVENTUALLY(mm_state(table) == TABLE_FREE));
	store_release(&l.over, 1u);
	mm_join(walker);
	space_put(l.job.s);
}

// Walks on two CPUs, the later one in another space. Each is held at a point of its own.
static const struct { const char *point; int level; } held_at[2] = { { "walk_level", 2 }, { "walk_leaf", 1 } };

struct walks {
	struct walk_job job[2];
	struct page *table[2];
	struct thread *thread[2];
};

static bool begin_walk(struct walks *w, unsigned i)
{
	struct walk_job *job = &w->job[i];

	*job = (struct walk_job){ .s = space_create_with(policy_find("epoch"), flush_find("ipi")), .va = BASE };
	if (!EXPECT(job->s))
		return false;
	EXPECT_EQ(space_map(job->s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	w->table[i] = mm_table(job->s, BASE, 1);
	stall_arm(stall_point(held_at[i].point), job->s, BASE, BASE + PAGE_SIZE, held_at[i].level);
	w->thread[i] = mm_thread("walker", walk_once, job, mm_other_cpu(i));
	if (!w->thread[i])
		return false;
	stall_wait_parked(stall_point(held_at[i].point));
	return true;
}

static void end_walk(struct walks *w, unsigned i)
{
	stall_release(stall_point(held_at[i].point));
	mm_join(w->thread[i]);
}

// What was deferred first is looked at first: a later walk does not hold it up.
TEST(walk, epoch_deferred_in_order, NEEDS_CPUS4)
{
	struct space *another;
	struct walks w;

	rcu_barrier();
	mutant_set(epoch_no_retry, 1);
	REQUIRE(begin_walk(&w, 0));
	EXPECT_EQ(space_unmap(w.job[0].s, BASE, PAGE_SIZE), 0);
	REQUIRE(begin_walk(&w, 1));
	EXPECT_EQ(space_unmap(w.job[1].s, BASE, PAGE_SIZE), 0);
	end_walk(&w, 0);
	free_another(&another);
	EXPECT_EQ(mm_state(w.table[0]), TABLE_FREE);
	EXPECT_EQ(mm_state(w.table[1]), TABLE_FLUSHED);
	end_walk(&w, 1);
	mutant_set(epoch_no_retry, 0);
	space_put(another);
	space_put(w.job[0].s);
	space_put(w.job[1].s);
}

struct wait_job {
	struct space *s;
	u32 returned;
};

static int wait_once(void *arg)
{
	struct wait_job *job = arg;

	policy_find("epoch")->wait(job->s);
	store_release(&job->returned, 1u);
	return 0;
}

// It has polled for a tick, and slept between two looks.
static bool waits_on(const struct wait_job *job, const struct thread *t)
{
	u64 switches = READ_ONCE(t->switches);

	EXPECT(EVENTUALLY(READ_ONCE(job->returned) ||
			  (READ_ONCE(t->switches) >= switches + 2 && READ_ONCE(t->state) == THREAD_SLEEPING)));
	return !READ_ONCE(job->returned);
}

// `wait` gives up for no walk, neither for one that lasts nor, in checking builds, for one that does not fit into its
// first sample.
TEST(walk, epoch_wait_lasts, NEEDS_CPUS4)
{
	struct wait_job job = { 0 };
	struct thread *waiter;
	struct walks w;

	REQUIRE(begin_walk(&w, 0) && begin_walk(&w, 1));
	job.s = w.job[0].s;
	waiter = mm_thread("waiter", wait_once, &job, cpu_id());
	REQUIRE(waiter);
	EXPECT(waits_on(&job, waiter));
	end_walk(&w, 0);
	EXPECT(waits_on(&job, waiter));
	end_walk(&w, 1);
	mm_join(waiter);
	EXPECT(job.returned);
	space_put(w.job[0].s);
	space_put(w.job[1].s);
}

// More tables than are freed in one piece.
TEST(walk, epoch_deferred_in_pieces, NEEDS_CPUS2)
{
	enum { TABLES = 70 };
	struct walks w;

	rcu_barrier();
	mutant_set(epoch_no_retry, 1);
	REQUIRE(begin_walk(&w, 0));
	for (u64 i = 1; i < TABLES; i++)
		EXPECT_EQ(space_map(w.job[0].s, BASE + i * level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	w.table[1] = mm_table(w.job[0].s, BASE + (TABLES - 1) * level_size(2), 1);
	EXPECT_EQ(space_unmap(w.job[0].s, BASE, TABLES * level_size(2)), 0);
	EXPECT_EQ(mm_state(w.table[0]), TABLE_FLUSHED);
	end_walk(&w, 0);
	policy_find("epoch")->drain();
	EXPECT_EQ(mm_state(w.table[0]), TABLE_FREE);
	EXPECT_EQ(mm_state(w.table[1]), TABLE_FREE);
	mutant_set(epoch_no_retry, 0);
	space_put(w.job[0].s);
}

struct kept {
	struct gap gap;
	u32 too_early;
};

static void hold_up_the_unmapper(struct stall_point *p, void *arg)
{
	struct kept *k = container_of((struct gap *)arg, struct kept, gap);

	gap_until_awaited(p, arg);
	WHILE_OTHERS_RUN(4)
		k->too_early += READ_ONCE(k->gap.returned) || mm_state(k->gap.table[0]) != TABLE_FLUSHED;
}

TEST(walk, epoch_waits_without_memory, NEEDS_CPUS2)
{
	struct kept k = { .gap = { .policy = "epoch", .point = stall_point("walk_level"), .level = 2, .no_memory = true } };
	u64 before = deferred(), fell_back = fallbacks();

	EXPECT_EQ(gap_play(&k.gap, hold_up_the_unmapper), 0);
	EXPECT_EQ(k.too_early, 0);
	EXPECT_EQ(deferred() - before, 0);
	EXPECT_EQ(fallbacks() - fell_back, 1);
}
#endif
