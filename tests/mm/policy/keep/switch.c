// SPDX-License-Identifier: MIT
// Policies that keep tables, when their spaces get another policy: what was kept goes, and walkers may be inside.
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/policy/switch.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/policy/keep/keep.h"
#include "tests/mm/stamps.h"

// Whether a space has something laid aside, something mapped, or neither: all are pruned, at either end of the user half.
static void all_are_pruned(const struct table_policy *from)
{
	struct space *s[2] = { space_create_with(from, flush_find("ipi")), space_create_with(from, flush_find("ipi")) };
	const struct policy_pair usual = { policy_default(), flush_default() };
	u64 waiting = tables_waiting();
	struct counters before;
	struct page *table[5];

	REQUIRE(s[0] && s[1]);
	counters_snapshot(&before);
	for (unsigned i = 0; i < 3; i++) {
		vaddr_t va = BASE + i * HUGE_SIZE;

		table[i] = keep_leave_empty(s[0], va);
		EXPECT_EQ(space_map(s[0], va, HUGE_SIZE, RW, 2, MAP_POPULATE), 0);
		EXPECT_EQ(space_unmap(s[0], va, HUGE_SIZE), 0);
	}
	table[3] = keep_leave_empty(s[0], USER_END - HUGE_SIZE);
	table[4] = keep_leave_empty(s[1], BASE);
	EXPECT(keep_laid_aside(s[0]) == 3 && keep_laid_aside(s[1]) == 0);
	EXPECT_EQ(policy_switch_all(policy_find("rcu"), flush_find("ipi")), 0);
	policies_drain();
	for (unsigned i = 0; i < 2; i++)
		EXPECT(keep_laid_aside(s[i]) == 0 && page_of(s[i]->root_pa)->private == 0);
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		EXPECT_EQ(mm_state(table[i]), TABLE_FREE);
	EXPECT_EQ(mm_counted_since(&before).tables_kept, 0);
	EXPECT_EQ(tables_waiting(), waiting);
	EXPECT_EQ(policy_switch_all(usual.policy, usual.backend), 0);
	space_put(s[0]);
	space_put(s[1]);
}

TEST(keep, switch_of_all_prunes_all, NEEDS_CHECK)
{
	FOR_EACH_KEEPER(p)
		all_are_pruned(*p);
}

#if CHECK
struct switching {
	struct kept_walk held;
	struct thread *walker;
	struct space *s;
};

// All walkers follow the union, and tables are freed under the old policy: a walker comes, and its table is laid aside.
static void replace_under_a_walker(struct stall_point *p, void *arg)
{
	struct switching *w = arg;

	w->walker = keep_walk_into(&w->held, w->s);
	EXPECT_EQ(keep_map_large(w->s), 0);
	EXPECT_EQ(keep_laid_aside(w->s), 1);
}

// The freer has changed, and the space has left the old policy. The walker is still there.
static void let_the_walker_go(struct stall_point *p, void *arg)
{
	struct switching *w = arg;

	EXPECT_EQ(keep_laid_aside(w->s), 0);
	keep_end_walk(&w->held, w->walker);
}

static void arm(const char *name, struct switching *w, void (*action)(struct stall_point *, void *))
{
	stall_point(name)->action = action;
	stall_point(name)->arg = w;
	stall_arm(stall_point(name), w->s, 0, 0, 0);
}

static void switches_under_a_walker(const struct table_policy *from, const struct table_policy *to)
{
	struct switching w = { .s = space_create_with(from, flush_find("ipi")) };
	u64 violations = oracle_violations();

	REQUIRE(w.s);
	arm("switch_union", &w, replace_under_a_walker);
	arm("switch_moved", &w, let_the_walker_go);
	EXPECT_EQ(space_switch_pair(w.s, to, flush_find("ipi")), 0);
	EXPECT(stall_point("switch_union")->hits == 1 && stall_point("switch_moved")->hits == 1);
	stall_release(stall_point("switch_union"));
	stall_release(stall_point("switch_moved"));
	EXPECT_EQ(mm_state(w.held.table), TABLE_FREE);
	EXPECT_EQ(oracle_violations() - violations, 0);
	space_put(w.s);
}

static bool may_follow(const struct table_policy *p)
{
	return !p->keeps && pair_verdict(p, flush_find("ipi")).safe;
}

// (Not to a policy whose walkers are targets: then the flush itself waits for the held walker, before anything is laid
// aside.)
TEST(keep, switch_waits_for_walkers_of_what_was_laid_aside, NEEDS_CPUS2)
{
	FOR_EACH_KEEPER(from)
		FOR_EACH_POLICY(to)
			if (may_follow(*to) && !(*to)->walkers_are_targets)
				switches_under_a_walker(*from, *to);
}

// After the switch only those tables are left that lead to a page: neither linked nor laid aside is anything kept.
static void prunes(const struct table_policy *from, const struct table_policy *to)
{
	struct page *aside, *empty, *used, *upper;
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create_with(from, flush_find("ipi"));
	REQUIRE(s);
	aside = keep_leave_empty(s, BASE);
	EXPECT_EQ(keep_map_large(s), 0);
	empty = keep_leave_empty(s, BASE + HUGE_SIZE);
	keep_leave_empty(s, FAR);
	upper = mm_table(s, FAR, 3);
	EXPECT_EQ(space_map(s, BASE + 2 * HUGE_SIZE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	used = mm_table(s, BASE + 2 * HUGE_SIZE, 1);
	EXPECT_EQ(space_switch_pair(s, to, flush_find("ipi")), 0);
	EXPECT_EQ(keep_laid_aside(s), 0);
	EXPECT_EQ(page_of(s->root_pa)->private, 1);
	EXPECT_EQ(mm_table(s, BASE, 2)->private, 2);
	EXPECT(mm_table(s, BASE + 2 * HUGE_SIZE, 1) == used && leaf_level(s, BASE) == 2);
	if (to->drain)
		to->drain();
	EXPECT(mm_state(aside) == TABLE_FREE && mm_state(empty) == TABLE_FREE && mm_state(upper) == TABLE_FREE);
	EXPECT_EQ(space_switch_pair(s, from, flush_find("ipi")), 0);		// and back
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	EXPECT(mm_table(s, BASE + 2 * HUGE_SIZE, 1) == used && !used->private);
	space_put(s);
	mm_balance_end(&b);
}

TEST(keep, switch_prunes, NEEDS_CHECK)
{
	FOR_EACH_KEEPER(from)
		FOR_EACH_POLICY(to)
			if (may_follow(*to))
				prunes(*from, *to);
}
#endif
