// SPDX-License-Identifier: MIT
// Policies that keep tables: what stays linked, what must make way and is laid aside, and what goes when the space ends.
#include "kernel/errno.h"
#include "lab/inject.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/pending.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/policy/keep/keep.h"
#include "tests/mm/stamps.h"

unsigned keep_laid_aside(const struct space *s)
{
	unsigned n = 0;

	list_for_each(it, &s->aside)
		n++;
	return n;
}

// Maps a page and unmaps it again: the table of level 1 stays, empty. Returns it.
struct page *keep_leave_empty(struct space *s, vaddr_t va)
{
	struct page *table;

	EXPECT_EQ(space_map(s, va, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	table = mm_table(s, va, 1);
	EXPECT_EQ(space_unmap(s, va, PAGE_SIZE), 0);
	EXPECT(table && mm_table(s, va, 1) == table && mm_state(table) == TABLE_LIVE && !table->private);
	return table;
}

static bool keeper_exists(void)
{
	FOR_EACH_KEEPER(p)
		return true;
	return false;
}

TEST(keep, fields, 0)
{
	EXPECT(keeper_exists());
	FOR_EACH_KEEPER(p)
		EXPECT((*p)->leave && (*p)->waits == WAIT_OWN);
}

// Whatever empties it, a table stays, is counted once, and is used again.
static void stays(const struct table_policy *p)
{
	struct counters before, d;
	struct mm_balance b;
	struct page *table;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create_with(p, flush_find("ipi"));
	REQUIRE(s);
	counters_snapshot(&before);
	table = keep_leave_empty(s, BASE);
	EXPECT_EQ(space_unmap(s, BASE, level_size(2)), 0);		// nothing is there
	EXPECT_EQ(space_map(s, BASE, level_size(2), RW, 1, 0), 0);
	EXPECT_EQ(space_fault(s, BASE + PAGE_SIZE, true), 0);
	EXPECT(mm_table(s, BASE, 1) == table && table->private == 1);
	EXPECT_EQ(space_discard(s, BASE, level_size(2)), 0);
	EXPECT(mm_table(s, BASE, 1) == table && table->private == 0);
	EXPECT_EQ(space_fault(s, BASE, true), 0);
	EXPECT_EQ(space_move(s, BASE, FAR, level_size(2)), 0);		// the upper table of the old place stays, empty
	EXPECT(mm_table(s, FAR, 1) == table && mm_table(s, BASE, 2) && !mm_table(s, BASE, 2)->private);
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	d = mm_counted_since(&before);
	EXPECT_EQ(d.tables_emptied, 4);
	EXPECT_EQ(d.tables_unlinked, 0);
	EXPECT_EQ(d.tables_allocated, 5);
	space_put(s);
	d = mm_counted_since(&before);
	EXPECT_EQ(d.tables_freed, 6);		// and the root
	mm_balance_end(&b);
}

TEST(keep, tables_stay_until_the_space_ends, 0)
{
	FOR_EACH_KEEPER(p)
		stays(*p);
}

// ---- What must make way ---------------------------------------------------------------------------------------------

int keep_map_large(struct space *s) { return space_map(s, BASE, HUGE_SIZE, RW, 2, MAP_POPULATE); }

static int fault_large(struct space *s)
{
	int err = space_map(s, BASE, HUGE_SIZE, RW, 2, 0);

	return err ?: space_fault(s, BASE + 7 * PAGE_SIZE, true);
}

static int move_there(struct space *s)
{
	int err = space_map(s, FAR, HUGE_SIZE, RW, 1, MAP_POPULATE);

	return err ?: space_move(s, FAR, BASE, HUGE_SIZE);
}

// The empty table at BASE is unlinked, flushed, and laid aside as it is, without a credit. Nobody waits for it.
static void makes_way(const struct table_policy *p, const struct flush_backend *f, int (*takes_its_place)(struct space *))
{
	u64 waiting = tables_waiting();
	struct mm_balance b;
	struct page *table;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create_with(p, f);
	REQUIRE(s);
	space_attach(s);
	table = keep_leave_empty(s, BASE);
	EXPECT_EQ(takes_its_place(s), 0);
	EXPECT(frame_at(s, BASE) && mm_table(s, BASE, 1) != table);
	EXPECT(zero_pages(BASE, PT_ENTRIES) == PT_ENTRIES);
	EXPECT(mm_state(table) == TABLE_FLUSHED && page_is_zero(table));
	EXPECT_EQ(keep_laid_aside(s), 1);
	EXPECT_EQ(mm_table(s, BASE, 2)->private, 1);
	EXPECT_EQ(pending_in_use(), 0);
	EXPECT_EQ(tables_waiting(), waiting);
	space_detach();
	space_put(s);
	EXPECT_EQ(mm_state(table), TABLE_FREE);
	mm_balance_end(&b);
}

TEST(keep, table_makes_way, NEEDS_CHECK)
{
	FOR_EACH_KEEPER(p) {
		FOR_EACH_BACKEND(f) {
			if (flush_missing(*f))
				continue;
			makes_way(*p, *f, keep_map_large);
			makes_way(*p, *f, fault_large);
			makes_way(*p, *f, move_there);
		}
	}
}

// A page of 1 GiB takes the place of a whole subtree. (There may be no such page to be had; the subtree has made way by
// then.)
static void subtree_makes_way(const struct table_policy *p)
{
	struct page *table[3];
	struct mm_balance b;
	struct space *s;
	int err;

	mm_balance_begin(&b);
	s = space_create_with(p, flush_find("ipi"));
	REQUIRE(s);
	table[0] = keep_leave_empty(s, BASE);
	table[1] = keep_leave_empty(s, BASE + 5 * level_size(2));
	table[2] = mm_table(s, BASE, 2);
	err = space_map(s, BASE, level_size(3), RW, 3, MAP_POPULATE);
	EXPECT(err == 0 || err == -ENOMEM);
	EXPECT_EQ(s->mapped, err ? 0 : level_size(3) >> PAGE_SHIFT);
	EXPECT(!mm_table(s, BASE, 2) && mm_table(s, BASE, 3));
	EXPECT_EQ(keep_laid_aside(s), 3);
	for (unsigned i = 0; i < 3; i++)
		EXPECT(mm_state(table[i]) == TABLE_FLUSHED && page_is_zero(table[i]));
	space_put(s);
	mm_balance_end(&b);
}

TEST(keep, subtree_makes_way, 0)
{
	if (!arch_has_page_size(3))
		SKIP("the CPU has no 1 GiB pages");
	FOR_EACH_KEEPER(p)
		subtree_makes_way(*p);
}

#if CHECK
// A fault for want of memory: the nth allocation fails. The tables that it has made by then stay, and nothing is mapped.
static void fault_in_vain(struct space *s, vaddr_t va, int level, u64 nth)
{
	EXPECT_EQ(space_map(s, va, level_size(level), RW, level, 0), 0);
	inject_alloc_failure(nth);
	EXPECT_EQ(space_fault(s, va, true), -ENOMEM);
	EXPECT(inject_fired());
	inject_alloc_failure(0);
	EXPECT_EQ(space_unmap(s, va, level_size(level)), 0);
	EXPECT_EQ(s->mapped, 0);
}

// A space may end that has never had a page: its tables have stayed empty, and have made way for large pages that were
// not to be had. Each of them is freed then, and only once.
static void ends_without_a_page(const struct table_policy *p)
{
	u64 waiting = tables_waiting();
	struct counters before, d;
	struct page *table[3];
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	counters_snapshot(&before);
	s = space_create_with(p, flush_find("ipi"));
	REQUIRE(s);
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		fault_in_vain(s, BASE + i * HUGE_SIZE, 1, i ? 2 : PT_LEVELS);	// after its tables
		table[i] = mm_table(s, BASE + i * HUGE_SIZE, 1);
		REQUIRE(table[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		fault_in_vain(s, BASE + i * HUGE_SIZE, 2, 1);			// after the table has made way
	EXPECT_EQ(keep_laid_aside(s), 2);
	EXPECT(mm_state(table[0]) == TABLE_FLUSHED && mm_state(table[1]) == TABLE_FLUSHED);
	EXPECT_EQ(mm_state(table[2]), TABLE_LIVE);
	space_put(s);
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		EXPECT_EQ(mm_state(table[i]), TABLE_FREE);
	d = mm_counted_since(&before);
	EXPECT_EQ(d.tables_allocated, PT_LEVELS + 2);
	EXPECT_EQ(d.tables_freed, PT_LEVELS + 2);
	EXPECT_EQ(d.frees_l1, 3);
	EXPECT_EQ(d.tables_kept, 0);
	EXPECT_EQ(tables_waiting(), waiting);
	mm_balance_end(&b);
}

TEST(keep, space_ends_without_ever_having_had_a_page, NEEDS_CHECK)
{
	FOR_EACH_KEEPER(p)
		ends_without_a_page(*p);
}
#endif

// More tables than there are credits: whoever waited for theirs would wait until the space ends.
TEST(keep, what_is_laid_aside_holds_no_credit, 0)
{
	enum { BOUND = 64 };
	u64 max = pending_set_max(BOUND);

	FOR_EACH_KEEPER(p) {
		struct space *s = space_create_with(*p, flush_find("ipi"));
		struct mm_balance b;

		REQUIRE(s);
		for (unsigned i = 0; i < BOUND + 8; i++) {
			keep_leave_empty(s, BASE);
			EXPECT_EQ(keep_map_large(s), 0);
			EXPECT_EQ(space_unmap(s, BASE, HUGE_SIZE), 0);
		}
		EXPECT_EQ(keep_laid_aside(s), BOUND + 8);
		EXPECT_EQ(pending_in_use(), 0);
		mm_balance_begin(&b);
		mm_balance_end(&b);		// does not wait for them either
		space_put(s);
	}
	pending_set_max(max);
}

#if CHECK

// Not even a back-end that defers may leave the table in other CPUs' caches when something else stands in its place.
TEST(keep, table_makes_way_at_once, NEEDS_CPUS2)
{
	FOR_EACH_KEEPER(p) {
		struct mm_resident r = { .s = space_create_with(*p, flush_find("lazy")) };
		struct page *table;
		struct thread *t;

		REQUIRE(r.s);
		t = mm_thread("resident", mm_reside, &r, mm_other_cpu(0));
		REQUIRE(t);
		spin_until(load_acquire(&r.there), "the resident", -1);
		table = keep_leave_empty(r.s, BASE);
		flush_drain();
		EXPECT_EQ(keep_map_large(r.s), 0);
		EXPECT_EQ(mm_state(table), TABLE_FLUSHED);
		EXPECT_EQ(load_acquire(&r.s->deferred), 0);
		store_release(&r.go, 1u);
		mm_join(t);
		space_put(r.s);
	}
}

static void hold(struct stall_point *p, void *arg)
{
	struct kept_walk *h = arg;

	store_release(&h->there, 1u);
	spin_until(load_acquire(&h->go), "the large leaf", -1);
	WHILE_OTHERS_RUN(2)
		h->seen = mm_state(h->table);
}

struct thread *keep_walk_into(struct kept_walk *h, struct space *s)
{
	struct thread *walker;

	*h = (struct kept_walk){ .job = { .s = s, .va = BASE }, .table = keep_leave_empty(s, BASE) };
	stall_point("walk_level")->action = hold;
	stall_point("walk_level")->arg = h;
	stall_arm(stall_point("walk_level"), s, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_once, &h->job, mm_other_cpu(0));
	if (EXPECT(walker))
		spin_until(load_acquire(&h->there), "walker", -1);
	return walker;
}

void keep_end_walk(struct kept_walk *h, struct thread *walker)
{
	store_release(&h->go, 1u);
	mm_join(walker);
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(h->seen, TABLE_FLUSHED);
	if (h->job.got)
		page_unpin(h->job.page, false);
}

TEST(keep, walker_may_be_inside, NEEDS_CPUS2)
{
	FOR_EACH_KEEPER(p) {
		u64 violations = oracle_violations();
		struct space *s = space_create_with(*p, flush_find("ipi"));
		struct counters before;
		struct thread *walker;
		struct kept_walk h;

		REQUIRE(s);
		counters_snapshot(&before);
		walker = keep_walk_into(&h, s);
		EXPECT_EQ(mm_counted_since(&before).emptied_during_walk, 0);
		keep_leave_empty(s, FAR);
		EXPECT_EQ(mm_counted_since(&before).emptied_during_walk, 1);
		EXPECT_EQ(keep_map_large(s), 0);
		keep_end_walk(&h, walker);
		EXPECT_EQ(h.job.got, 0);	// nobody has told it to look again
		EXPECT(page_is_zero(h.table));
		EXPECT_EQ(oracle_violations() - violations, 0);
		space_put(s);
		EXPECT_EQ(mm_state(h.table), TABLE_FREE);
	}
}
#endif
