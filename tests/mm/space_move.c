// SPDX-License-Identifier: MIT
// Move of a mapping: by tables, and by pages.
#include "mm/space.h"
#include "kernel/errno.h"
#include "lab/inject.h"
#include "lab/test.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/stamps.h"

// Small pages, a large one of a large region, a collapsed one, and tables that are missing: all move.
static void moves(const struct table_policy *p, const struct flush_backend *b)
{
	struct page *table, *pin;
	struct mm_balance balance;
	struct space *s;

	mm_balance_begin(&balance);
	s = space_create_with(p, b);
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, HUGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE + HUGE_SIZE, HUGE_SIZE, RW, 2, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE + 2 * HUGE_SIZE, 2 * HUGE_SIZE, RW, 1, 0), 0);
	space_attach(s);
	stamp_pages(BASE, 4 * PT_ENTRIES - 8, 1);
	EXPECT_EQ(space_collapse(s, BASE + 2 * HUGE_SIZE), 0);
	table = mm_table(s, BASE, 1);
	EXPECT_EQ(walk_pin(s, BASE + 3 * PAGE_SIZE, true, &pin), 0);
	EXPECT_EQ(space_move(s, BASE, FAR, 4 * HUGE_SIZE), 0);
	EXPECT(mm_table(s, FAR, 1) == table && mm_state(table) == TABLE_LIVE);
	EXPECT(leaf_level(s, FAR + HUGE_SIZE) == 2 && leaf_level(s, FAR + 2 * HUGE_SIZE) == 2);
	EXPECT(!mm_table(s, BASE, 3) == !p->keeps);	// the upper tables of the old place have been freed, or are kept
	for (unsigned i = 0; i < 4; i++)
		EXPECT(mm_faults(BASE + i * HUGE_SIZE + 5 * PAGE_SIZE));
	EXPECT_EQ(stamped_pages(FAR, 4 * PT_ENTRIES - 8, 1), 4 * PT_ENTRIES - 8);
	EXPECT_EQ(s->mapped, 4 * PT_ENTRIES - 8);
	EXPECT_EQ(zero_pages(FAR + 4 * HUGE_SIZE - 8 * PAGE_SIZE, 8), 8);	// faulted in at the new place
	EXPECT(frame_at(s, FAR + 3 * PAGE_SIZE) == pin && pin->refs == 2);
	page_unpin(pin, true);
	// The collapsed page has kept its deposit; half of it moves back.
	EXPECT_EQ(space_split(s, FAR + 2 * HUGE_SIZE), 0);
	EXPECT_EQ(space_move(s, FAR + 2 * HUGE_SIZE, BASE, HUGE_SIZE), 0);
	EXPECT_EQ(stamped_pages(FAR, 2 * PT_ENTRIES, 1), 2 * PT_ENTRIES);
	EXPECT(mm_reads(BASE, 1ull << 32 | (2 * PT_ENTRIES + 1)));
	EXPECT(mm_faults(FAR + 2 * HUGE_SIZE));
	EXPECT_EQ(mm_regions(s), 4);
	space_detach();
	space_put(s);
	mm_balance_end(&balance);
}

TEST(space_move, all_kinds, 0) { under_each_pair(moves); }

TEST(space_move, errors, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 3 * HUGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_move(s, BASE + 8, FAR, HUGE_SIZE), -EINVAL);
	EXPECT_EQ(space_move(s, BASE, FAR + 8, HUGE_SIZE), -EINVAL);
	EXPECT_EQ(space_move(s, BASE, FAR, 8), -EINVAL);
	EXPECT_EQ(space_move(s, BASE, FAR, 0), -EINVAL);
	EXPECT_EQ(space_move(s, BASE, USER_END, HUGE_SIZE), -EINVAL);
	EXPECT_EQ(space_move(s, BASE, BASE + HUGE_SIZE, 2 * HUGE_SIZE), -EINVAL);	// they overlap
	EXPECT_EQ(space_move(s, BASE, BASE, HUGE_SIZE), -EINVAL);
	EXPECT_EQ(space_move(s, BASE, BASE + 2 * HUGE_SIZE, HUGE_SIZE), -EEXIST);
	EXPECT_EQ(space_move(s, BASE + 2 * HUGE_SIZE, FAR, 2 * HUGE_SIZE), -ENOENT);
	EXPECT_EQ(space_map(s, FAR + PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_move(s, BASE, FAR, HUGE_SIZE), -EEXIST);
	if (arch_has_page_size(3)) {
		EXPECT_EQ(space_map(s, 2 * FAR, level_size(3), RW, 3, 0), 0);
		EXPECT_EQ(space_move(s, 2 * FAR, 3 * FAR, level_size(3)), -EINVAL);
	}
	EXPECT(s->mapped == 3 * PT_ENTRIES && leaf_level(s, BASE) == 1);
	// A large page is neither cut nor put where no large page can stand.
	EXPECT_EQ(space_map(s, BASE + 4 * HUGE_SIZE, HUGE_SIZE, RW, 2, MAP_POPULATE), 0);
	EXPECT_EQ(space_move(s, BASE + 4 * HUGE_SIZE, FAR + HUGE_SIZE + PAGE_SIZE, HUGE_SIZE), -EINVAL);
	EXPECT_EQ(space_move(s, BASE + 4 * HUGE_SIZE + PAGE_SIZE, FAR + HUGE_SIZE + PAGE_SIZE, PAGE_SIZE), -EINVAL);
	EXPECT(s->mapped == 4 * PT_ENTRIES && leaf_level(s, BASE + 4 * HUGE_SIZE) == 2);
	space_put(s);
}

// Each allocation that can fail fails: nothing has changed, and nothing is left behind.
TEST(space_move, no_memory, NEEDS_CHECK)
{
	struct space *s = space_create_with(mm_freeing_policy(), NULL);
	struct mm_balance b;
	int err = -ENOMEM;
	unsigned n;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 3 * HUGE_SIZE, RW, 1, 0), 0);
	space_attach(s);
	stamp_pages(BASE + HUGE_SIZE, PT_ENTRIES, 2);
	mm_balance_begin(&b);
	for (n = 1; n <= 16 && err; n++) {
		inject_alloc_failure(n);
		err = space_move(s, BASE + HUGE_SIZE, FAR, HUGE_SIZE);
		EXPECT(!err || (err == -ENOMEM && inject_fired()));	// a policy's batch may fail and the move not
		inject_alloc_failure(0);
		if (err) {
			EXPECT(mm_regions(s) == 1 && !mm_table(s, FAR, 3));
			EXPECT_EQ(stamped_pages(BASE + HUGE_SIZE, PT_ENTRIES, 2), PT_ENTRIES);
			mm_balance_end(&b);
		}
	}
	EXPECT_EQ(n, 6);	// two regions split, two tables
	EXPECT_EQ(stamped_pages(FAR, PT_ENTRIES, 2), PT_ENTRIES);
	EXPECT_EQ(space_move(s, FAR, BASE + HUGE_SIZE, HUGE_SIZE), 0);
	EXPECT_EQ(mm_regions(s), 1);
	mm_balance_end(&b);
	space_detach();
	space_put(s);
}

// A long and sparse range, both ways.
TEST(space_move, sparse, 0)
{
	struct space *s = space_create_with(mm_freeing_policy(), NULL);
	u64 len = 64 * level_size(3);

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, len, PROT_R, 1, 0), 0);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(space_fault(s, BASE + i * 9 * level_size(3) + i * HUGE_SIZE, false), 0);
	EXPECT_EQ(space_move(s, BASE, FAR, len), 0);
	EXPECT_EQ(leaf_level(s, FAR + 7 * 9 * level_size(3) + 7 * HUGE_SIZE), 1);
	EXPECT(!mm_table(s, BASE, 3) && mm_regions(s) == 1);
	EXPECT_EQ(space_move(s, FAR, BASE, len), 0);
	EXPECT_EQ(s->mapped, 8);
	space_put(s);
}

// ---- By pages -------------------------------------------------------------------------------------------------------

#define ODD (5 * PAGE_SIZE)

// Shifted by some pages: no table moves, what was collapsed is split, what is missing stays so; within one table, too.
static void moves_pages(const struct table_policy *p, const struct flush_backend *b)
{
	struct page *table, *pin;
	struct mm_balance balance;
	struct space *s;

	mm_balance_begin(&balance);
	s = space_create_with(p, b);
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 3 * HUGE_SIZE, RW, 1, 0), 0);
	space_attach(s);
	stamp_pages(BASE, 2 * PT_ENTRIES + 3, 1);
	EXPECT_EQ(space_collapse(s, BASE + HUGE_SIZE), 0);
	table = mm_table(s, BASE, 1);
	EXPECT_EQ(walk_pin(s, BASE + 3 * PAGE_SIZE, true, &pin), 0);
	EXPECT_EQ(space_move(s, BASE, FAR + ODD, 3 * HUGE_SIZE), 0);
	EXPECT(mm_table(s, FAR + ODD, 1) != table && !mm_table(s, BASE, 1) == !p->keeps);
	EXPECT(leaf_level(s, FAR + ODD + HUGE_SIZE) == 1 && mm_regions(s) == 1);
	EXPECT(frame_at(s, FAR + ODD + 3 * PAGE_SIZE) == pin && pin->refs == 2);
	page_unpin(pin, true);
	EXPECT_EQ(s->mapped, 2 * PT_ENTRIES + 3);
	EXPECT(mm_faults(BASE) && mm_faults(BASE + HUGE_SIZE) && mm_faults(FAR + ODD - PAGE_SIZE));
	EXPECT_EQ(stamped_pages(FAR + ODD, 2 * PT_ENTRIES + 3, 1), 2 * PT_ENTRIES + 3);
	EXPECT_EQ(zero_pages(FAR + ODD + (2 * PT_ENTRIES + 3) * PAGE_SIZE, 2), 2);
	// One page, to another place in its own table; and back, into its old entry.
	EXPECT_EQ(space_unmap(s, FAR + ODD, PAGE_SIZE), 0);
	EXPECT_EQ(space_move(s, FAR + ODD + 2 * PAGE_SIZE, FAR + PAGE_SIZE, PAGE_SIZE), 0);
	EXPECT(mm_reads(FAR + PAGE_SIZE, 1ull << 32 | 3) && mm_faults(FAR + ODD + 2 * PAGE_SIZE));
	EXPECT_EQ(space_move(s, FAR + PAGE_SIZE, FAR + ODD + 2 * PAGE_SIZE, PAGE_SIZE), 0);
	EXPECT(mm_reads(FAR + ODD + 2 * PAGE_SIZE, 1ull << 32 | 3) && mm_faults(FAR + PAGE_SIZE));
	EXPECT_EQ(mm_regions(s), 1);
	// By whole tables again where it can be, and by pages at both ends.
	table = mm_table(s, FAR + HUGE_SIZE, 1);
	EXPECT_EQ(space_move(s, FAR + ODD + PAGE_SIZE, BASE + ODD + PAGE_SIZE, 2 * HUGE_SIZE), 0);
	EXPECT(mm_table(s, BASE + HUGE_SIZE, 1) == table && mm_state(table) == TABLE_LIVE);
	EXPECT(mm_reads(BASE + ODD + PAGE_SIZE, 1ull << 32 | 2) && mm_faults(FAR + ODD + PAGE_SIZE));
	EXPECT_EQ(mm_regions(s), 2);
	space_detach();
	space_put(s);
	mm_balance_end(&balance);
}

TEST(space_move, by_pages, 0) { under_each_pair(moves_pages); }

// A page that is pinned as part of a collapsed one keeps that whole; then nothing has moved.
TEST(space_move, pages_of_a_pinned_large_one, 0)
{
	struct space *s = mm_populated(NULL, NULL, HUGE_SIZE);
	struct page *pin;

	REQUIRE(s);
	EXPECT_EQ(space_collapse(s, BASE), 0);
	EXPECT_EQ(walk_pin(s, BASE + 7 * PAGE_SIZE, true, &pin), 0);
	EXPECT_EQ(space_move(s, BASE, FAR + ODD, HUGE_SIZE), -EBUSY);
	EXPECT_EQ(space_move(s, BASE + ODD, FAR + ODD, PAGE_SIZE), -EBUSY);
	EXPECT(leaf_level(s, BASE) == 2 && mm_regions(s) == 1 && !mm_table(s, FAR, 3));
	EXPECT_EQ(space_move(s, BASE, FAR, HUGE_SIZE), 0);		// as a whole it can
	EXPECT(frame_at(s, FAR) == page_head(pin));
	page_unpin(pin, false);
	EXPECT_EQ(space_move(s, FAR, BASE + ODD, HUGE_SIZE), 0);
	EXPECT(leaf_level(s, BASE + ODD) == 1 && s->mapped == PT_ENTRIES);
	space_put(s);
}

// As no_memory, where tables are needed for leaves: the regions' two, and two ways of three tables less what they share.
TEST(space_move, no_memory_for_pages, NEEDS_CHECK)
{
	struct space *s = space_create_with(mm_freeing_policy(), NULL);
	struct mm_balance b;
	int err = -ENOMEM;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 3 * HUGE_SIZE, RW, 1, 0), 0);
	space_attach(s);
	stamp_pages(BASE + ODD, PT_ENTRIES, 2);
	mm_balance_begin(&b);
	for (unsigned n = 1; n <= 16 && err; n++) {
		inject_alloc_failure(n);
		err = space_move(s, BASE + ODD, FAR + HUGE_SIZE - PAGE_SIZE, HUGE_SIZE);
		EXPECT(!err || (err == -ENOMEM && inject_fired()));
		EXPECT(err || n > 6);
		inject_alloc_failure(0);
		if (err) {
			EXPECT(mm_regions(s) == 1 && !mm_table(s, FAR, 3));
			EXPECT_EQ(stamped_pages(BASE + ODD, PT_ENTRIES, 2), PT_ENTRIES);
			mm_balance_end(&b);
		}
	}
	EXPECT_EQ(err, 0);
	EXPECT_EQ(stamped_pages(FAR + HUGE_SIZE - PAGE_SIZE, PT_ENTRIES, 2), PT_ENTRIES);
	space_detach();
	space_put(s);
}
