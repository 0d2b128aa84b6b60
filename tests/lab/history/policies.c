// SPDX-License-Identifier: MIT
// What each policy relies on. Each scene is played twice: a walk is held in a gap between two steps while its tables
// are unmapped. With all steps in place the oracle reports nothing; with one step taken out (a mutant) it reports a
// violation.
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/inject.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/tree.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/gap.h"
#include <arch/ipi.h>
#include <arch/machine.h>

#if CHECK

static u64 fallbacks(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.table_fallbacks;
}

// A walk of another space in an NMI, by the policy's compiled walk: walk_pin_fast() is not for NMIs, because a put may
// free. Here the mapping keeps the page.
static struct {
	struct space *s;
	u32 wanted;
	unsigned got;
	struct page *page;
} inner;

static void walk_in_nmi(void)
{
	if (!READ_ONCE(inner.wanted))
		return;
	inner.got = inner.s->policy->walk(inner.s, BASE, 1, false, &inner.page);
	WRITE_ONCE(inner.wanted, 0);
}
NMI_HANDLER(walk_in_nmi);

static void nest_an_nmi(struct gap *gap)
{
	WRITE_ONCE(inner.wanted, 1);
	arch_send_ipi(cpu_id(), IPI_NMI);
	spin_until(!READ_ONCE(inner.wanted), "the walk in the NMI", -1);
	if (inner.got)
		page_unpin(inner.page, false);
}

static void nest_an_nmi_there(struct gap *gap)
{
	inner.s = gap->job.s;
	nest_an_nmi(gap);
}

static void walk_in_interrupt(void *unused)
{
	EXPECT(in_irq());
	inner.got = walk_pin_fast(inner.s, BASE, 1, false, &inner.page);
	WRITE_ONCE(inner.wanted, 0);
}
static struct xcall interrupt = { .fn = walk_in_interrupt };

// Runs on another CPU, because a call to the own CPU comes as no interrupt.
static void interrupt_the_walker(void *cpu) { EXPECT(xcall_async((unsigned)(uintptr_t)cpu, &interrupt)); }
static struct xcall to_be_interrupted = { .fn = interrupt_the_walker };

static void nest_an_interrupt(struct gap *gap)
{
	WRITE_ONCE(inner.wanted, 1);
	to_be_interrupted.arg = (void *)(uintptr_t)cpu_id();
	EXPECT(xcall_async(mm_other_cpu(0), &to_be_interrupted));
	spin_until(!READ_ONCE(inner.wanted), "the walk in the interrupt", -1);
	if (inner.got)
		page_unpin(inner.page, false);
}

static void expect_clean(struct gap *gap)
{
	struct mm_balance b;

	mm_balance_begin(&b);
	EXPECT_EQ(gap_play(gap, gap_until_awaited), 0);
	mm_balance_end(&b);
}

static void expect_convicted(struct gap *gap)
{
	oracle_expect_violations(true);
	EXPECT(gap_play(gap, gap_until_back) > 0);
	oracle_expect_violations(false);
}

#define WITH(mutant, what) do { mutant_set(mutant, 1); what; mutant_set(mutant, 0); } while (0)

// The oracle reports twice: the walker is no target, and a table of its path is freed.
TEST(history, remote_walker_in_no_mask, NEEDS_CPUS2)
{
	struct gap gap = { .policy = "ipi", .point = stall_point("walk_level"), .level = 2 };
	struct violation v[2] = { 0 };

	expect_clean(&gap);
	oracle_reset();
	WITH(ipi_no_join, expect_convicted(&gap));
	EXPECT_EQ(oracle_records(v, 2), 2);
	EXPECT_EQ(v[0].kind, VIOLATION_NO_TARGET);
	EXPECT_EQ(v[1].kind, VIOLATION_WALK);
}

TEST(history, batch_freed_before_its_grace_period, NEEDS_CPUS2)
{
	struct gap rcu = { .policy = "rcu", .point = stall_point("walk_level"), .level = 2 };
	struct gap rcu_sync = { .policy = "rcu-sync", .point = stall_point("walk_level"), .level = 3 };

	expect_clean(&rcu);
	expect_clean(&rcu_sync);
	WITH(batch_no_grace_period, expect_convicted(&rcu); expect_convicted(&rcu_sync));
}

TEST(history, table_freed_before_its_grace_period, NEEDS_CPUS2)
{
	struct gap gap = { .policy = "rcu-page", .point = stall_point("walk_level"), .level = 2 };

	expect_clean(&gap);
	WITH(rcu_page_no_grace_period, expect_convicted(&gap));
}

TEST(history, fallback_that_does_not_wait, NEEDS_CPUS2)
{
	struct gap rcu = { .policy = "rcu", .point = stall_point("walk_level"), .level = 2, .no_memory = true };
	struct gap rcu_sync = { .policy = "rcu-sync", .point = stall_point("walk_level"), .level = 2, .no_memory = true };
	u64 before = fallbacks();

	expect_clean(&rcu);
	EXPECT_EQ(fallbacks() - before, 1);		// one wait for all tables
	expect_clean(&rcu_sync);
	WITH(rcu_fallback_no_sync, expect_convicted(&rcu));
	WITH(rcu_sync_fallback_no_wait, expect_convicted(&rcu_sync));
}

// The policies whose walkers say which space they walk (mm/policy/walked.h).
static const char *const by_slots[] = { "targeted", "auto" };

// The Dekker race: if the slot were not visible before the walker's first read, the CPU that frees could find it empty.
TEST(history, targeted_dekker, NEEDS_CPUS2)
{
	for (unsigned i = 0; i < ARRAY_SIZE(by_slots); i++) {
		struct gap gap = { .policy = by_slots[i], .point = stall_point("walk_level"), .level = 4 };
		struct gap entered = { .policy = by_slots[i], .point = stall_point("walked_published") };

		expect_clean(&gap);
		expect_clean(&entered);		// published, and nothing read yet
		WITH(targeted_no_publish, expect_convicted(&gap));
	}
}

static void begin_inner(const char *policy)
{
	inner.s = space_create_with(policy_find(policy), flush_find("ipi"));
	REQUIRE(inner.s);
	EXPECT_EQ(space_map(inner.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
}

// The walk in the NMI ends; the one that it has interrupted goes on, and must still be seen.
TEST(history, targeted_nmi_nesting, NEEDS_CPUS2)
{
	for (unsigned i = 0; i < ARRAY_SIZE(by_slots); i++) {
		struct gap gap = { .policy = by_slots[i], .point = stall_point("walk_level"), .level = 2,
				   .nested = nest_an_nmi };

		begin_inner(by_slots[i]);
		expect_clean(&gap);
		EXPECT_EQ(inner.got, 1);
		WITH(targeted_one_slot, expect_convicted(&gap));
		space_put(inner.s);
	}
}

// The walker has read the entry, and not yet named the table. The table may be freed, because the walker reads the
// entry again.
TEST(history, hazard_dekker, NEEDS_CPUS2)
{
	struct gap gap = { .policy = "hazard", .point = stall_point("hazard_read"), .level = 2 };
	struct mm_balance b;

	mm_balance_begin(&b);
	EXPECT_EQ(gap_play(&gap, gap_until_back), 0);
	mm_balance_end(&b);
	WITH(hazard_no_reread, expect_convicted(&gap));
}

// As targeted_nmi_nesting: the inner walk withdraws its own names, not those of the walk that it has interrupted.
TEST(history, hazard_nmi_nesting, NEEDS_CPUS2)
{
	struct gap gap = { .policy = "hazard", .point = stall_point("walk_level"), .level = 2, .nested = nest_an_nmi };

	begin_inner("hazard");
	expect_clean(&gap);
	EXPECT_EQ(inner.got, 1);
	WITH(hazard_one_level, expect_convicted(&gap));
	space_put(inner.s);
}

// The inner walk is of the same space. It leaves the CPU in the walkers' mask, because the outer walk has joined that.
TEST(history, ipi_nmi_nesting, NEEDS_CPUS2)
{
	struct gap gap = { .policy = "ipi", .point = stall_point("walk_level"), .level = 2, .nested = nest_an_nmi_there };

	expect_clean(&gap);
	EXPECT_EQ(inner.got, 1);
}

// The same for an interrupt: a walk by hazard pointers leaves interrupts on.
TEST(history, hazard_interrupt_nesting, NEEDS_CPUS2)
{
	struct gap gap = { .policy = "hazard", .point = stall_point("walk_level"), .level = 2, .nested = nest_an_interrupt };

	begin_inner("hazard");
	expect_clean(&gap);
	EXPECT_EQ(inner.got, 1);
	WITH(hazard_one_level, expect_convicted(&gap));
	space_put(inner.s);
}

// The walker is held with the upper tables named. Those wait, while the table below, which is not named, is freed. The
// walker must not find its way to that: the upper table's entry is cleared, although the upper table itself is to be
// freed.
TEST(history, hazard_detached_subtree, NEEDS_CPUS2)
{
	struct gap gap = { .policy = "hazard", .point = stall_point("hazard_read"), .level = 2 };

	expect_clean(&gap);
	WITH(tree_lower_entry_left, expect_convicted(&gap));
}

// As targeted_dekker: if the word were not odd before the walker's first read, the CPU that frees would wait for nobody.
TEST(history, epoch_dekker, NEEDS_CPUS2)
{
	struct gap gap = { .policy = "epoch", .point = stall_point("walk_level"), .level = 4 };
	struct gap entered = { .policy = "epoch", .point = stall_point("epoch_entered") };

	expect_clean(&gap);
	expect_clean(&entered);		// the word is odd, and nothing read yet
	WITH(epoch_no_enter, expect_convicted(&gap));
}

// The CPU that frees has found the held walk, and has not looked again.
static struct { u32 found, nested; } between_looks;

static void hold_the_look(struct stall_point *p, void *unused)
{
	store_release(&between_looks.found, 1u);
	spin_until(load_acquire(&between_looks.nested), "the inner walk", -1);
}

static void nest_between_looks(struct stall_point *p, void *arg)
{
	struct gap *gap = arg;

	store_release(&gap->there, 1u);
	spin_until(load_acquire(&between_looks.found) || load_acquire(&gap->returned), "the unmapper", -1);
	gap->nested(gap);
	store_release(&between_looks.nested, 1u);
	spin_until(load_acquire(&gap->returned), "the unmapper", -1);
}

// The inner walk ends while the outer one goes on. The outer one's word must not have changed.
static u64 play_between_looks(struct gap *gap)
{
	u64 violations;

	between_looks.found = between_looks.nested = 0;
	stall_point("epoch_sampled")->action = hold_the_look;
	stall_arm(stall_point("epoch_sampled"), NULL, 0, 0, 0);
	violations = gap_play(gap, nest_between_looks);
	EXPECT_EQ(stall_point("epoch_sampled")->hits, 1);
	stall_release(stall_point("epoch_sampled"));
	EXPECT_EQ(inner.got, 1);
	return violations;
}

static void expect_the_outer_walk_seen(void (*nested)(struct gap *))
{
	struct gap gap = { .policy = "epoch", .point = stall_point("walk_level"), .level = 2, .nested = nested };

	begin_inner("epoch");
	EXPECT_EQ(play_between_looks(&gap), 0);
	oracle_expect_violations(true);
	WITH(epoch_one_level, EXPECT(play_between_looks(&gap) > 0));
	oracle_expect_violations(false);
	space_put(inner.s);
}

TEST(history, epoch_nmi_nesting, NEEDS_CPUS2) { expect_the_outer_walk_seen(nest_an_nmi); }
TEST(history, epoch_interrupt_nesting, NEEDS_CPUS2) { expect_the_outer_walk_seen(nest_an_interrupt); }
#endif
