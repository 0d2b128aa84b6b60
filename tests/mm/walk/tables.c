// SPDX-License-Identifier: MIT
// Walks that are held between an entry that names a table and that table, while the table is unlinked. How long the
// table outlives its unmap depends on the policy; when that is not long enough, the oracle must report it.
#include "kernel/lib.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK
// Under a safe policy no table, at whatever level, is freed under a held walk, and the oracle reports nothing.
static void safe_levels(const char *policy, bool local, void (*action)(struct stall_point *, void *))
{
	u64 violations = oracle_violations();
	struct counters before, after;
	struct mm_balance b;
	struct held_walk h;

	mm_balance_begin(&b);
	counters_snapshot(&before);
	for (int level = 2; level <= PT_LEVELS; level++)
		hold_walk(&h, policy, local, level, false, action);
	counters_snapshot(&after);
	EXPECT_EQ(oracle_violations() - violations, 0);
	EXPECT_EQ(after.ipi_walker - before.ipi_walker, !strcmp(policy, "ipi") && !local ? PT_LEVELS - 1 : 0);
	mm_balance_end(&b);
}

TEST(walk, ipi_unmap_waits_for_a_local_walk, NEEDS_CPUS2 | NEEDS_CHECK) { safe_levels("ipi", true, hold_up_the_unmap); }
TEST(walk, ipi_unmap_waits_for_a_remote_walk, NEEDS_CPUS2 | NEEDS_CHECK) { safe_levels("ipi", false, hold_up_the_unmap); }
// The walker's CPU has the space loaded, so it is the flush that waits.
TEST(walk, rcu_flush_waits_for_a_local_walk, NEEDS_CPUS2 | NEEDS_CHECK) { safe_levels("rcu", true, hold_up_the_unmap); }
TEST(walk, rcu_table_waits_for_a_remote_walk, NEEDS_CPUS2 | NEEDS_CHECK) { safe_levels("rcu", false, hold_up_the_free); }
// Interrupts stay on: the flush is answered in the middle of the walk, and only the grace period waits.
TEST(walk, rcu_sync_table_waits, NEEDS_CPUS2 | NEEDS_CHECK)
{
	safe_levels("rcu-sync", true, hold_up_the_free);
	safe_levels("rcu-sync", false, hold_up_the_free);
}
TEST(walk, rcu_page_table_waits, NEEDS_CPUS2 | NEEDS_CHECK)
{
	safe_levels("rcu-page", true, hold_up_the_free);
	safe_levels("rcu-page", false, hold_up_the_free);
}
TEST(walk, rcu_proxy_table_waits, NEEDS_CPUS2 | NEEDS_CHECK)
{
	safe_levels("rcu-proxy", true, hold_up_the_free);
	safe_levels("rcu-proxy", false, hold_up_the_free);
}
TEST(walk, auto_unmap_waits, NEEDS_CPUS2 | NEEDS_CHECK)
{
	safe_levels("auto", true, hold_up_the_unmap);
	safe_levels("auto", false, hold_up_the_unmap);
}
TEST(walk, targeted_unmap_waits, NEEDS_CPUS2 | NEEDS_CHECK)
{
	safe_levels("targeted", true, hold_up_the_unmap);
	safe_levels("targeted", false, hold_up_the_unmap);
}

static void convicted(unsigned times, bool local, int level, bool keep_upper)
{
	unsigned found = 0;
	struct held_walk h;

	oracle_expect_violations(true);
	for (unsigned i = 0; i < times; i++) {
		u64 violations = oracle_violations();

		hold_walk(&h, "immediate", local, level, keep_upper, hold_up_nobody);
		found += oracle_violations() > violations;
	}
	oracle_expect_violations(false);
	EXPECT_EQ(found, times);
}

// Each single time. (Upper tables, which a walker is in as well, are lost for good when they are hit: few times only.)
TEST(walk, immediate_is_convicted_100_of_100, NEEDS_CPUS2 | NEEDS_CHECK) { convicted(100, true, 2, true); }
TEST(walk, immediate_is_convicted_at_each_level, NEEDS_CPUS2 | NEEDS_CHECK)
{
	for (int level = 2; level <= PT_LEVELS; level++) {
		convicted(3, true, level, false);
		convicted(3, false, level, false);
	}
}

// What the oracle says is what happened.
TEST(walk, violation_record, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct violation v[4];
	struct held_walk h;
	unsigned n;

	oracle_reset();
	oracle_expect_violations(true);
	hold_walk(&h, "immediate", true, 2, true, hold_up_nobody);
	oracle_expect_violations(false);
	n = oracle_records(v, ARRAY_SIZE(v));
	REQUIRE(n == 1 && oracle_violations() == 1);
	EXPECT(!strcmp(v->policy, "immediate") && !strcmp(v->flush, "ipi") && !strcmp(v->seen_by, "walker"));
	EXPECT_EQ(v->table, page_to_phys(h.table));
	EXPECT_EQ(v->level, 1);
	EXPECT_EQ(v->walker_cpu, mm_other_cpu(0));
	EXPECT_EQ(v->va, BASE);
	EXPECT(v->depth > 0 && v->walker_pc);
}

// The walker is inside the upper tables: the freeing side sees it there.
TEST(walk, violation_seen_by_the_freer, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct violation v[4];
	struct held_walk h;
	unsigned n, by_freer = 0;

	oracle_reset();
	oracle_expect_violations(true);
	hold_walk(&h, "immediate", true, 2, false, hold_up_nobody);
	oracle_expect_violations(false);
	n = oracle_records(v, ARRAY_SIZE(v));
	for (unsigned i = 0; i < n; i++)
		by_freer += !strcmp(v[i].seen_by, "freer") && v[i].level >= 2 && v[i].walker_cpu == mm_other_cpu(0);
	EXPECT_EQ(by_freer, 2);
}

// A walker has read the entry and not yet published its table to the oracle. Meanwhile the table is freed, and so many
// others after it that the quarantine would release it. It must not have been reused when the walker publishes it.
static void quarantined(bool kept)
{
	enum { ROUNDS = 30 };	// of three tables each: more than the quarantine holds
	struct space *s = space_create_with(policy_find("immediate"), flush_find("ipi"));
	struct space *other = space_create_with(policy_find("immediate"), flush_find("ipi"));
	struct walk_job job = { .s = s, .va = BASE };
	u64 violations = oracle_violations();
	struct thread *walker;
	struct page *table;
	u32 birth;

	REQUIRE(s && other);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);	// keeps the upper tables
	table = mm_table(s, BASE, 1);
	birth = table->birth;
	stall_arm(stall_point("walk_level"), s, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_once, &job, mm_other_cpu(0));
	REQUIRE(walker);
	stall_wait_parked(stall_point("walk_level"));
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		EXPECT_EQ(space_map(other, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		EXPECT_EQ(space_unmap(other, BASE, PAGE_SIZE), 0);
	}
	EXPECT_EQ(mm_state(table) == TABLE_FREE && table->kind == PAGE_TABLE && table->birth == birth, kept);
	oracle_expect_violations(true);
	stall_release(stall_point("walk_level"));
	mm_join(walker);
	oracle_expect_violations(false);
	if (kept)
		EXPECT(oracle_violations() > violations);
	if (job.got)
		page_unpin(job.page, false);
	space_put(other);
	space_put(s);
}

TEST(walk, quarantine_outlasts_the_walker, NEEDS_CPUS2 | NEEDS_CHECK)
{
	quarantined(true);
	mutant_set(quarantine_no_grace_period, 1);
	quarantined(false);
	mutant_set(quarantine_no_grace_period, 0);
}

// A walk in an interrupt, inside a walk that it interrupts.
struct nested {
	struct held_walk outer;
	struct space *s;
	unsigned got;
	u32 done;
};

static void walk_inside(void *arg)
{
	struct nested *n = arg;
	struct page *page;

	n->got = walk_pin_fast(n->s, BASE, 1, true, &page);
	if (n->got)
		page_unpin(page, false);
	store_release(&n->done, 1u);
}

static void wait_for_interrupt(struct stall_point *p, void *arg)
{
	struct nested *n = arg;

	store_release(&n->outer.there, 1u);
	spin_until(load_acquire(&n->done), "the inner walk", -1);
	spin_until(load_acquire(&n->outer.returned), "the unmap", -1);
}

// The inner walk pins its page, and what the outer one has published is still seen: the freeing side reports the unmap.
TEST(walk, interrupted_by_a_walk, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct nested n = { .s = space_create() };
	struct space *s = space_create_with(policy_find("immediate"), flush_find("ipi"));
	struct violation v[4];
	struct thread *walker;

	REQUIRE(n.s && s);
	n.outer.job = (struct walk_job){ .s = s, .va = BASE };
	EXPECT_EQ(space_map(n.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	stall_point("walk_level")->action = wait_for_interrupt;
	stall_point("walk_level")->arg = &n;
	stall_arm(stall_point("walk_level"), s, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_once, &n.outer.job, mm_other_cpu(0));
	REQUIRE(walker);
	spin_until(load_acquire(&n.outer.there), "walker", -1);
	xcall_one(mm_other_cpu(0), walk_inside, &n);
	EXPECT_EQ(n.got, 1);
	oracle_reset();
	oracle_expect_violations(true);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(oracle_records(v, ARRAY_SIZE(v)), 2);		// levels 3 and 2; level 1 is not read yet
	store_release(&n.outer.returned, 1u);
	mm_join(walker);
	oracle_expect_violations(false);
	stall_release(stall_point("walk_level"));
	space_put(n.s);
	space_put(s);
}
#endif
