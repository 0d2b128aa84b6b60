// SPDX-License-Identifier: MIT
// What table_free=epoch waits for, and what it does when that takes long: the tables wait without the unmapper, and are
// freed by a later `free` or by the callback; without memory the unmapper waits.
#include "kernel/rcu/rcu.h"
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

	EXPECT_EQ(gap_play(&gap, gap_until_back), 0);
	EXPECT_EQ(deferred_state, TABLE_FREE);
	rcu_barrier();			// no callback is on its way
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
