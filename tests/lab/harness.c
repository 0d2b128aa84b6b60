// SPDX-License-Identifier: MIT
// What a test may rely on: nothing of the tests before it is under way. So these two, in this order.
#include "lab/test.h"
#include "mm/table.h"
#include "tests/mm/help.h"

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
