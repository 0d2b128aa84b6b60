// SPDX-License-Identifier: MIT
// See walk/gap.h.
#include "tests/mm/walk/gap.h"
#include "kernel/time.h"
#include "lab/inject.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/table.h"
#include "tests/mm/help.h"

#if CHECK
void gap_until_awaited(struct stall_point *p, void *arg)
{
	struct gap *gap = arg;

	if (gap->nested)
		gap->nested(gap);
	gap->awaited = walk_awaited();
	store_release(&gap->there, 1u);
	spin_until(walk_awaited() != gap->awaited || load_acquire(&gap->returned), "the unmapper", -1);
}

void gap_until_back(struct stall_point *p, void *arg)
{
	struct gap *gap = arg;

	if (gap->nested)
		gap->nested(gap);
	store_release(&gap->there, 1u);
	spin_until(load_acquire(&gap->returned), "the unmapper", -1);
}

static void unmap_under_walk(struct gap *gap)
{
	struct thread *walker = mm_thread("walker", walk_once, &gap->job, mm_other_cpu(0));

	REQUIRE(walker);
	spin_until(load_acquire(&gap->there), "walker", -1);
	if (gap->no_memory)
		inject_alloc_failures_from(1);
	EXPECT_EQ(space_unmap(gap->job.s, BASE, PAGE_SIZE), 0);
	inject_alloc_failure(0);
	store_release(&gap->returned, 1u);
	mm_join(walker);
}

u64 gap_play(struct gap *gap, void (*hold)(struct stall_point *, void *))
{
	const struct table_policy *p = policy_find(gap->policy);
	u64 violations = oracle_violations();
	struct space *s = space_create_with(p, flush_find("ipi"));

	if (!EXPECT(s))
		return 0;
	gap->there = gap->returned = 0;
	gap->job = (struct walk_job){ .s = s, .va = BASE };
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	for (int level = 1; level < PT_LEVELS; level++)
		gap->table[level - 1] = mm_table(s, BASE, level);
	gap->point->action = hold;
	gap->point->arg = gap;
	stall_arm(gap->point, s, 0, 0, gap->level);
	unmap_under_walk(gap);
	EXPECT_EQ(gap->point->hits, 1);
	stall_release(gap->point);
	EXPECT_EQ(gap->job.got, 0);
	if (gap->after)
		gap->after(gap);
	if (p->drain)
		p->drain();
	for (int level = 1; level < PT_LEVELS; level++)
		EXPECT_EQ(mm_state(gap->table[level - 1]), TABLE_FREE);
	space_put(s);
	return oracle_violations() - violations;
}
#endif
