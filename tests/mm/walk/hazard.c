// SPDX-License-Identifier: MIT
// What hazard pointers keep: only the table that a walker has named, and only until the walker has left.
#include "kernel/rcu/rcu.h"
#include "lab/mutant.h"
#include "lab/test.h"
#include "mm/table.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/gap.h"

#if CHECK

struct hazard_watch {
	struct gap gap;
	enum table_state upper, lower;	// when the unmapper had returned
};

static void note_states(struct stall_point *p, void *arg)
{
	struct hazard_watch *w = container_of((struct gap *)arg, struct hazard_watch, gap);

	gap_until_back(p, arg);
	w->upper = mm_state(w->gap.table[1]);
	w->lower = mm_state(w->gap.table[0]);
}

TEST(walk, hazard_keeps_what_is_named, NEEDS_CPUS2)
{
	struct hazard_watch w = { .gap = { .policy = "hazard", .point = stall_point("hazard_read"), .level = 2 } };

	EXPECT_EQ(gap_play(&w.gap, note_states), 0);
	EXPECT_EQ(w.upper, TABLE_FLUSHED);
	EXPECT_EQ(w.lower, TABLE_FREE);
}

static enum table_state retired_state;

static void pass_a_grace_period(struct gap *gap)
{
	EXPECT_EQ(mm_state(gap->table[0]), TABLE_FREE);
	rcu_barrier();
	retired_state = mm_state(gap->table[1]);
}

// A table that a walker had named is freed after the walker has left, even if nobody frees anything after that.
TEST(walk, hazard_retired_is_freed_by_itself, NEEDS_CPUS2)
{
	struct gap gap = { .policy = "hazard", .point = stall_point("hazard_read"), .level = 2, .after = pass_a_grace_period };

	EXPECT_EQ(gap_play(&gap, gap_until_back), 0);
	EXPECT_EQ(retired_state, TABLE_FREE);
	mutant_set(hazard_no_retry, 1);
	EXPECT_EQ(gap_play(&gap, gap_until_back), 0);
	mutant_set(hazard_no_retry, 0);
	EXPECT_EQ(retired_state, TABLE_FLUSHED);
}
#endif
