// SPDX-License-Identifier: MIT
// Discard frees pages and keeps regions; empty tables are reclaimed while their range stays mapped.
#include "mm/space.h"
#include "kernel/errno.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/table.h"
#include "tests/mm/help.h"
#include "tests/mm/stamps.h"

#define PAGES (2 * PT_ENTRIES + 8)

static void discards(const struct table_policy *p, const struct flush_backend *b)
{
	struct mm_balance balance;
	struct space *s;

	mm_balance_begin(&balance);
	s = space_create_with(p, b);
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGES * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE + level_size(3), HUGE_SIZE, RW, 2, MAP_POPULATE), 0);
	space_attach(s);
	stamp_pages(BASE, PAGES, 1);
	EXPECT_EQ(space_discard(s, BASE + PAGE_SIZE, 2 * PAGE_SIZE), 0);
	EXPECT_EQ(s->mapped, PAGES - 2 + PT_ENTRIES);
	EXPECT(stamped_pages(BASE, 1, 1) == 1 && zero_pages(BASE + PAGE_SIZE, 2) == 2);
	EXPECT_EQ(s->mapped, PAGES + PT_ENTRIES);	// faulted in anew
	EXPECT(mm_table(s, BASE + HUGE_SIZE, 1));
	EXPECT_EQ(space_discard(s, BASE + HUGE_SIZE, HUGE_SIZE), 0);
	EXPECT(!mm_table(s, BASE + HUGE_SIZE, 1) == !p->keeps && mm_table(s, BASE + HUGE_SIZE, 2));
	EXPECT_EQ(space_discard(s, BASE, 4 * level_size(3)), 0);	// holes, and a large page
	EXPECT_EQ(s->mapped, 0);
	EXPECT_EQ(page_of(s->root_pa)->private, p->keeps);	// not one table is left, or they are kept
	EXPECT_EQ(mm_regions(s), 2);
	EXPECT(zero_pages(BASE, 3) == 3 && zero_pages(BASE + level_size(3), 1) == 1);
	EXPECT(mm_faults(BASE + PAGES * PAGE_SIZE));
	EXPECT_EQ(space_discard(s, 0, USER_END), 0);
	EXPECT_EQ(s->mapped, 0);
	space_detach();
	space_put(s);
	mm_balance_end(&balance);
}

TEST(space_discard, pages_and_tables, 0) { under_each_pair(discards); }

TEST(space_discard, errors, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_discard(s, BASE + 1, PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_discard(s, BASE, 0), -EINVAL);
	EXPECT_EQ(space_discard(s, USER_END, PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_discard(s, 0, USER_END), 0);
	EXPECT_EQ(space_map(s, BASE, HUGE_SIZE, RW, 2, MAP_POPULATE), 0);
	EXPECT_EQ(space_discard(s, BASE - PAGE_SIZE, 2 * PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_discard(s, BASE + HUGE_SIZE - PAGE_SIZE, 2 * PAGE_SIZE), -EINVAL);
	EXPECT_EQ(s->mapped, PT_ENTRIES);
	space_put(s);
}

#if CHECK

struct between {
	struct space *s;
	struct page *table, *frame;	// the table that phase 1 emptied; the frame that refilled it
	int (*fn)(void *);
	unsigned cpu;
};

static int touch(void *arg)
{
	struct between *t = arg;

	space_attach(t->s);
	stamp_pages(BASE + 5 * PAGE_SIZE, 1, 8);
	space_detach();
	t->frame = frame_at(t->s, BASE + 5 * PAGE_SIZE);
	return 0;
}

static int unmap_all(void *arg)
{
	struct between *t = arg;

	EXPECT_EQ(space_unmap(t->s, BASE, HUGE_SIZE), 0);
	return 0;
}

static int move_away(void *arg)
{
	struct between *t = arg;

	EXPECT_EQ(space_move(t->s, BASE, BASE + level_size(4), HUGE_SIZE), 0);
	return 0;
}

// Between the phases the lock is free: run the other operation, on another CPU if there is one.
static void let_the_other(struct stall_point *point, void *arg)
{
	struct between *t = arg;

	t->table = mm_table(t->s, BASE, 1);
	EXPECT(t->table && t->table->private == 0 && mm_state(t->table) == TABLE_LIVE);
	mm_join(mm_thread("other", t->fn, t, t->cpu));
}

static void discard_while(struct between *t, const struct table_policy *p, int (*fn)(void *))
{
	*t = (struct between){ .s = space_create_with(p, flush_find("ipi")), .fn = fn,
		.cpu = nr_cpus > 1 ? mm_other_cpu(0) : 0 };
	REQUIRE(t->s);
	EXPECT_EQ(space_map(t->s, BASE, HUGE_SIZE, RW, 1, 0), 0);
	space_attach(t->s);
	stamp_pages(BASE + 5 * PAGE_SIZE, 2, 7);
	stall_point("discard_between")->action = let_the_other;
	stall_point("discard_between")->arg = t;
	stall_arm(stall_point("discard_between"), t->s, BASE, BASE + PAGE_SIZE, 0);
	EXPECT_EQ(space_discard(t->s, BASE, HUGE_SIZE), 0);
	EXPECT_EQ(stall_point("discard_between")->hits, 1);
	stall_release(stall_point("discard_between"));
}

// Reclaim of a table that was refilled meanwhile: it must stay, with the page that was faulted in between.
TEST(space_discard, refilled_between_the_phases, NEEDS_CHECK)
{
	struct between t;

	FOR_EACH_POLICY(p) {
		struct mm_balance b;

		mm_balance_begin(&b);
		discard_while(&t, *p, touch);
		EXPECT(mm_table(t.s, BASE, 1) == t.table && mm_state(t.table) == TABLE_LIVE);
		EXPECT(frame_at(t.s, BASE + 5 * PAGE_SIZE) == t.frame);
		EXPECT_EQ(stamped_pages(BASE + 5 * PAGE_SIZE, 1, 8), 1);
		EXPECT_EQ(t.s->mapped, 1);
		space_detach();
		space_put(t.s);
		mm_balance_end(&b);
	}
}

// Without the second look the page is lost, and the next fault finds zeroes. (We look at the tables, because this CPU's
// TLB may still have the page.)
TEST(space_discard, no_recheck_is_seen, NEEDS_CHECK)
{
	struct between t;

	mutant_set(discard_no_recheck, 1);
	discard_while(&t, policy_find("rcu"), touch);
	mutant_set(discard_no_recheck, 0);
	EXPECT(!mm_table(t.s, BASE, 1) && !frame_at(t.s, BASE + 5 * PAGE_SIZE));
	EXPECT_EQ(t.s->mapped, 1);
	EXPECT_EQ(space_fault(t.s, BASE + 5 * PAGE_SIZE, false), 0);
	EXPECT_EQ(*(u64 *)page_to_virt(frame_at(t.s, BASE + 5 * PAGE_SIZE)), 0);
	t.s->mapped--;		// corrects the count, which nothing else would
	space_detach();
	space_put(t.s);
	page_put(t.frame);	// no TLB knows it any more
}

// Nothing is left of the tables at BASE; or, where the policy keeps tables, the emptied one still stands there.
static bool gone_or_kept(const struct between *t, const struct table_policy *p)
{
	if (p->keeps)
		return mm_table(t->s, BASE, 1) == t->table && !t->table->private;
	return page_of(t->s->root_pa)->private == 0 && mm_state(t->table) != TABLE_LIVE;
}

// The range was unmapped, or moved away, between the phases: there is nothing to detach any more, and no empty table is
// kept elsewhere.
TEST(space_discard, gone_between_the_phases, NEEDS_CHECK)
{
	struct between t;

	FOR_EACH_POLICY(p) {
		struct mm_balance b;

		mm_balance_begin(&b);
		discard_while(&t, *p, unmap_all);
		EXPECT(gone_or_kept(&t, *p) && mm_faults(BASE));
		space_detach();
		space_put(t.s);
		discard_while(&t, *p, move_away);
		EXPECT(gone_or_kept(&t, *p));
		EXPECT(mm_faults(BASE) && zero_pages(BASE + level_size(4) + 5 * PAGE_SIZE, 1) == 1);
		space_detach();
		space_put(t.s);
		mm_balance_end(&b);
	}
}
#endif
