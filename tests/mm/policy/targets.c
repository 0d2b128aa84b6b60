// SPDX-License-Identifier: MIT
// If a policy says that a flush goes to its walkers, the verdict believes it and the oracle watches it: here is a
// policy that says so and joins no mask.
#include "kernel/lib.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/swmmu.h"
#include "lab/test.h"
#include "mm/policy/switch.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "mm/walk_body.h"
#include "tests/mm/help.h"

#if CHECK

static const struct table_policy lying_policy;

static __always_inline void lying_enter(struct walk_state *w) { }
static __always_inline bool lying_step(struct walk_state *w, int level, const pte_t *entry, pte_t value) { return true; }
static __always_inline void lying_exit(struct walk_state *w) { }
static void lying_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	tables_free(tables, &lying_policy);
}
static void lying_wait(struct space *space) { }

// Not registered: it is no value of table_free=, and no loop over all policies finds it.
DECLARE_WALK(lying);
static const struct table_policy lying_policy = {
	.name = "lying",
	.lineage = "of this test",
	.walker = WALKER_IRQS_OFF,
	.waits = WAIT_FLUSH,
	.walkers_are_targets = true,
	.enter = lying_enter,
	.step = lying_step,
	.exit = lying_exit,
	.free = lying_free,
	.wait = lying_wait,
	.walk = lying_walk,
	.walk_one = { lying_walk_read, lying_walk_write },
};
DEFINE_WALK(lying, lying_policy);

// How often the oracle reports one walk of this thread, by walk_pin() or as a range. Each report must name that policy.
static u64 spoken_of(struct space *s, bool one, const char *policy)
{
	struct violation v = { 0 };
	struct page *page;
	u64 n;

	oracle_reset();
	if (one)
		EXPECT_EQ(walk_pin(s, BASE, false, &page), 0);
	else
		EXPECT_EQ(walk_pin_fast(s, BASE, 1, false, &page), 1);
	page_unpin(page, false);
	EXPECT(cpumask_empty(&s->walkers));	// a walker that has joined has left
	n = oracle_violations();
	EXPECT_EQ(swmmu_violations(), 0);	// the adversary reports nothing
	if (n && EXPECT_EQ(oracle_records(&v, 1), 1)) {
		EXPECT_EQ(v.kind, VIOLATION_NO_TARGET);
		EXPECT_EQ(v.table, s->root_pa);
		EXPECT_EQ(v.walker_cpu, v.cpu);
		EXPECT(!strcmp(v.policy, policy) && !strcmp(v.seen_by, "walker"));
	}
	return n;
}

// Walk a space that this CPU has not loaded, and then the loaded one; leaf: 1, or 2 for a large page.
static void walk_remote_and_loaded(const struct table_policy *p, int leaf, u64 expected)
{
	struct space *s = space_create_with(p, flush_find("ipi"));

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, level_size(leaf), RW, leaf, MAP_POPULATE), 0);
	for (int one = 0; one < 2; one++)
		EXPECT_EQ(spoken_of(s, one, p->name), expected);
	space_attach(s);
	for (int one = 0; one < 2; one++)
		EXPECT_EQ(spoken_of(s, one, p->name), 0);
	space_detach();
	space_put(s);
}

TEST(policy, walker_is_no_target, 0)
{
	FOR_EACH_POLICY(p)
		for (int leaf = 1; leaf <= 2; leaf++)
			walk_remote_and_loaded(*p, leaf, 0);
	oracle_expect_violations(true);
	for (int leaf = 1; leaf <= 2; leaf++)
		walk_remote_and_loaded(&lying_policy, leaf, 1);
	mutant_set(ipi_no_join, 1);
	walk_remote_and_loaded(policy_find("ipi"), 1, 1);
	mutant_set(ipi_no_join, 0);
	oracle_reset();
	oracle_expect_violations(false);
}

static void walk_both_ways(struct stall_point *p, void *arg)
{
	for (int one = 0; one < 2; one++)
		EXPECT_EQ(spoken_of(arg, one, "lying"), 1);
}

// Each part of a union is checked by itself: if only the other part joins a mask, that does not count.
TEST(policy, part_of_a_union_is_no_target, 0)
{
	const char *const from[] = { "rcu", "hazard" };

	oracle_expect_violations(true);
	for (unsigned i = 0; i < ARRAY_SIZE(from); i++) {
		struct space *s = space_create_with(policy_find(from[i]), flush_find("ipi"));

		REQUIRE(s);
		EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		stall_point("switch_union")->action = walk_both_ways;
		stall_point("switch_union")->arg = s;
		stall_arm(stall_point("switch_union"), s, 0, 0, 0);
		EXPECT_EQ(space_switch_pair(s, &lying_policy, flush_find("ipi")), 0);
		EXPECT_EQ(stall_point("switch_union")->hits, 1);
		stall_release(stall_point("switch_union"));
		space_put(s);
	}
	oracle_reset();
	oracle_expect_violations(false);
}
#endif
