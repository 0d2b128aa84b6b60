// SPDX-License-Identifier: MIT
// table_free=rcu-proxy: the grace period runs beside the flush, and does not end before it.
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "tests/kernel/rcu/readers.h"
#include "tests/kernel/tick_help.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/gap.h"

#if CHECK

static struct {
	u64 violations;
	bool reader;		// the freeing side was in a read side: its grace period could not end
} begun;

// In the freeing side: the tables are queued, and nothing is flushed.
static void look_at_reader(struct stall_point *p, void *unused)
{
	begun.reader = !preemptible();
	if (!begun.reader)
		spin_until(oracle_violations() != begun.violations, "the callback", -1);
}

static u64 unmap_stalled(void)
{
	struct space *s = mm_populated(policy_find("rcu-proxy"), flush_find("ipi"), PAGE_SIZE);
	struct page *table;

	if (!EXPECT(s))
		return 0;
	table = mm_table(s, BASE, 1);
	begun.violations = oracle_violations();
	stall_point("gather_begun")->action = look_at_reader;
	stall_arm(stall_point("gather_begun"), s, 0, 0, 0);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(stall_point("gather_begun")->hits, 1);
	stall_release(stall_point("gather_begun"));
	policy_find("rcu-proxy")->drain();
	policy_find("rcu-proxy")->drain();	// a callback that came too early has queued itself once more
	EXPECT_EQ(mm_state(table), TABLE_FREE);
	space_put(s);
	return oracle_violations() - begun.violations;
}

TEST(rcu_proxy, flush_is_inside_the_read_side, NEEDS_CHECK)
{
	struct violation v = { 0 };

	EXPECT_EQ(unmap_stalled(), 0);
	EXPECT(begun.reader);
	oracle_reset();
	oracle_expect_violations(true);
	mutant_set(proxy_read_side_ends_early, 1);
	EXPECT(unmap_stalled() > 0);
	mutant_set(proxy_read_side_ends_early, 0);
	oracle_expect_violations(false);
	if (EXPECT_EQ(oracle_records(&v, 1), 1))
		EXPECT_EQ(v.kind, VIOLATION_UNFLUSHED);
	oracle_reset();
}

// A walk that has read the entry holds the table, although the callback was queued before the flush.
TEST(rcu_proxy, walk_is_waited_for, NEEDS_CPUS2)
{
	for (int level = 2; level <= PT_LEVELS; level++) {
		struct gap gap = { .policy = "rcu-proxy", .point = stall_point("walk_level"), .level = level };
		struct mm_balance b;

		mm_balance_begin(&b);
		EXPECT_EQ(gap_play(&gap, gap_until_back), 0);
		mm_balance_end(&b);
	}
}

// No flush is deferred under it, not even by a back-end that could.
TEST(rcu_proxy, nothing_is_deferred, NEEDS_CPUS2)
{
	struct mm_resident r = { .s = mm_populated(policy_find("rcu-proxy"), flush_find("lazy"), PAGE_SIZE) };
	struct page *table;
	struct thread *t;

	REQUIRE(r.s);
	table = mm_table(r.s, BASE, 1);
	t = mm_thread("resident", mm_reside, &r, mm_other_cpu(0));
	REQUIRE(t);
	spin_until(load_acquire(&r.there), "the resident", -1);
	EXPECT_EQ(space_unmap(r.s, BASE, PAGE_SIZE), 0);
	EXPECT(mm_state(table) == TABLE_FLUSHED || mm_state(table) == TABLE_FREE);
	EXPECT_EQ(load_acquire(&r.s->deferred), 0);
	store_release(&r.go, 1u);
	mm_join(t);
	space_put(r.s);
}

// Unmap so many tables of level 1, with this CPU's tick off. Has a grace period begun before that returns? (No other CPU
// has callbacks, and the thread that begins one runs here as soon as it is woken.)
static bool unmap_begins_one(const char *policy, unsigned tables)
{
	struct space *s = space_create_with(policy_find(policy), flush_find("ipi"));
	struct counters before, after;
	u64 seq, begun;

	if (!EXPECT(s))
		return false;
	for (u64 i = 0; i < tables; i++)
		EXPECT_EQ(space_map(s, BASE + i * level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	rcu_make_quiet();
	counters_snapshot(&before);
	tick_off();
	seq = READ_ONCE(rcu.seq);
	EXPECT_EQ(space_unmap(s, BASE, tables * level_size(2)), 0);
	begun = READ_ONCE(rcu.seq);
	tick_on();
	counters_snapshot(&after);
	EXPECT_EQ(after.tables_unlinked - before.tables_unlinked, tables + 2);
	EXPECT_EQ(after.pending_hurries - before.pending_hurries, 0);	// there is memory enough
	space_put(s);
	return begun != seq;
}

// Many tables do not wait for a tick, whether they are queued with preemption off, before the flush, or on, after it.
TEST(rcu_proxy, many_tables_are_hastened, NEEDS_CHECK)
{
	const char *const by_table[] = { "rcu-proxy", "rcu-page" };

	move_to(RCU_GP_CPU);
	for (unsigned i = 0; i < ARRAY_SIZE(by_table); i++) {
		EXPECT(unmap_begins_one(by_table[i], RCU_EAGER));
		EXPECT(!unmap_begins_one(by_table[i], 4));
	}
	move_anywhere();
}
#endif
