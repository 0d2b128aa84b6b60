// SPDX-License-Identifier: MIT
// The last grace period of a switch (mm/policy/switch.c, (6)): until it is over, the record of the two policies must
// not be overwritten. A walk during the first switch is held between its reads of the two:
//
//	walker: turn[0] = hazard ┆                                              turn[1] = rcu-sync
//	first switch, hazard -> ipi:   … selector = ipi, (6)
//	second switch, ipi -> rcu-sync:                     turn[] = {ipi, rcu-sync}       ipi frees
//
// Without (6) the walk follows hazard and rcu-sync while ipi frees, and is in no mask to which ipi's flush goes.
#include "kernel/lib.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/policy/switch.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK

static struct {
	struct walk_job job;
	struct thread *walker;
	u64 waits;
	u32 half;		// the walker has read the first policy
	u32 overwritten;	// the second switch has written its record
	u32 inside;		// the walker is held between two tables
	u32 unmapped;
} torn;

// Hold the walk until the record is overwritten or, as it should be, the first switch waits for it.
static void between_the_two(struct stall_point *p, void *unused)
{
	torn.waits = policy_waits();
	store_release(&torn.half, 1u);
	spin_until(load_acquire(&torn.overwritten) || policy_waits() != torn.waits, "the switch", -1);
}

static void until_unmapped(struct stall_point *p, void *unused)
{
	store_release(&torn.inside, 1u);
	spin_until(load_acquire(&torn.unmapped), "the unmap", -1);
}

static void start_walker(struct stall_point *p, void *unused)
{
	torn.walker = mm_thread("walker", walk_once, &torn.job, mm_other_cpu(0));
	if (torn.walker)
		spin_until(load_acquire(&torn.half), "walker", -1);
}

static bool walk_is_over(void) { return torn.job.got || load_acquire(&torn.walker->exited.done); }

static void overwrite_and_unmap(struct stall_point *p, void *unused)
{
	stall_point("walk_level")->action = until_unmapped;
	stall_arm(stall_point("walk_level"), torn.job.s, BASE, BASE + PAGE_SIZE, 3);
	store_release(&torn.overwritten, 1u);
	spin_until(load_acquire(&torn.inside) || walk_is_over(), "walker", -1);
	EXPECT_EQ(space_unmap(torn.job.s, BASE, PAGE_SIZE), 0);
	store_release(&torn.unmapped, 1u);
}

static void arm(struct stall_point *p, void (*action)(struct stall_point *, void *))
{
	p->action = action;
	stall_arm(p, torn.job.s, 0, 0, 0);
}

static u64 two_switches(bool last_wait)
{
	const struct flush_backend *ipi = flush_find("ipi");
	struct space *s = space_create_with(policy_find("hazard"), ipi);
	u64 violations = oracle_violations();

	if (!EXPECT(s))
		return 0;
	memset(&torn, 0, sizeof(torn));
	torn.job = (struct walk_job){ .s = s, .va = BASE };
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	arm(stall_point("union_half"), between_the_two);
	arm(stall_point("switch_union"), start_walker);
	mutant_set(switch_no_last_wait, !last_wait);
	EXPECT_EQ(space_switch_pair(s, policy_find("ipi"), ipi), 0);
	mutant_set(switch_no_last_wait, 0);
	stall_release(stall_point("switch_union"));
	EXPECT_EQ(stall_point("union_half")->hits, 1);
	if (!EXPECT(torn.walker))
		return 0;
	if (last_wait && EXPECT(policy_waits() != torn.waits))		// the switch has waited for it
		EXPECT(EVENTUALLY(walk_is_over()));
	arm(stall_point("switch_joining"), overwrite_and_unmap);
	EXPECT_EQ(space_switch_pair(s, policy_find("rcu-sync"), ipi), 0);
	stall_release(stall_point("switch_joining"));
	stall_release(stall_point("walk_level"));
	EXPECT(torn.inside != last_wait);
	mm_join(torn.walker);
	stall_release(stall_point("union_half"));
	if (torn.job.got)
		page_unpin(torn.job.page, false);
	space_put(s);
	return oracle_violations() - violations;
}

TEST(switch, record_outlives_its_walkers, NEEDS_CPUS2)
{
	struct mm_balance b;

	mm_balance_begin(&b);
	EXPECT_EQ(two_switches(true), 0);
	mm_balance_end(&b);
	oracle_expect_violations(true);
	EXPECT(two_switches(false) > 0);
	oracle_expect_violations(false);
}
#endif
