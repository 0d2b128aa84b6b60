// SPDX-License-Identifier: MIT
// A frame's count changes between two steps of a CPU: the stall point's action does here what another CPU would do.
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/frame/page.h"
#include "tests/mm/frame/page/help.h"

#if CHECK

static bool get_after(struct page *p, void (*meanwhile)(struct stall_point *, void *))
{
	bool got;

	stall_point("page_getting")->action = meanwhile;
	stall_point("page_getting")->arg = p;
	stall_arm(stall_point("page_getting"), p, 0, 0, 0);
	got = page_try_get(p);
	EXPECT_EQ(stall_point("page_getting")->hits, 1);
	stall_release(stall_point("page_getting"));
	return got;
}

static void put_it(struct stall_point *point, void *page) { page_put(page); }

static void fill_up(struct stall_point *point, void *page)
{
	fetch_add(&((struct page *)page)->refs, PAGE_REFS_MAX - 2);
}

// The count changes between the read and the increment: each new value is checked like the first.
TEST(page, reference_of_a_count_that_changes, 0)
{
	u64 before = page_balance_start();
	struct page *p = page_alloc(0, PAGE_ANON, 0);

	REQUIRE(p);
	EXPECT(page_try_get(p));
	EXPECT(get_after(p, put_it));			// 2 -> 1, and 2 again
	EXPECT_EQ(READ_ONCE(p->refs), 2);
	EXPECT(!get_after(p, fill_up));			// PAGE_REFS_MAX
	EXPECT_EQ(READ_ONCE(p->refs), PAGE_REFS_MAX);
	fetch_sub(&p->refs, PAGE_REFS_MAX - 1);
	EXPECT(!get_after(p, put_it));			// the last reference is gone
	EXPECT_EQ(READ_ONCE(p->refs), 0);
	EXPECT(page_balanced(before));
}

static u32 taken;

static void take_any(struct stall_point *point, void *arg)
{
	struct page *head = arg;

	for (unsigned i = 0; i < 4; i++)
		taken += page_try_get(head + i);
}

// A walker's reference to the head is one to the block. If it were given while the block is being split, the walker
// would look again before the tails are frames of their own, and would keep for its tail a reference that counts for
// the first frame.
TEST(page, no_reference_to_what_is_being_split, 0)
{
	u64 before = page_balance_start();
	struct page *p = page_alloc(2, PAGE_ANON, 0);

	REQUIRE(p);
	taken = 0;
	stall_point("page_splitting")->action = take_any;
	stall_point("page_splitting")->arg = p;
	stall_arm(stall_point("page_splitting"), p, 0, 0, 0);
	EXPECT(page_split(p));
	EXPECT_EQ(stall_point("page_splitting")->hits, 1);
	stall_release(stall_point("page_splitting"));
	EXPECT_EQ(taken, 0);
	for (unsigned i = 0; i < 4; i++) {
		EXPECT_EQ(READ_ONCE(p[i].refs), 1);
		page_put(p + i);
	}
	EXPECT(page_balanced(before));
}
#endif
