// SPDX-License-Identifier: MIT
// What a test may rely on.
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/table.h"
#include "tests/mm/help.h"

// When a test begins, nothing that earlier tests have started is still under way: these two show it, in this order.
enum { SPACES = 16 };

TEST(harness, leaves_tables_behind, 0)
{
	for (unsigned i = 0; i < SPACES; i++) {
		struct space *s = mm_populated(policy_find("rcu"), flush_find("ipi"), PAGE_SIZE);

		if (s)
			space_put(s);
	}
}			// their tables wait for a grace period, which takes a tick at least

TEST(harness, nothing_is_left_behind, 0) { EXPECT_EQ(tables_waiting(), 0); }

#if CHECK
// A test that arms a stall point or a mutant that does not exist must fail: otherwise it waits for ever, or proves
// nothing.
TEST(harness, wrong_names_fail, 0)
{
	struct stall_point *none = stall_point("no_such_point");

	EXPECT_EQ(test_take_back(), 1);
	stall_arm(none, NULL, 0, 0, 0);
	stall_wait_parked(none);	// returns
	stall_release(none);
	mutant_set(no_such_mutant, 1);
	EXPECT_EQ(test_take_back(), 1);
	EXPECT(!mutant_turn("no_such_mutant", true));
	EXPECT(stall_point("walk_level") != none);
}
#endif
