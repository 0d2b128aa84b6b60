// SPDX-License-Identifier: MIT
// Each allocation of an operation fails once, the first, the second, … until the operation needs no more. Each time it
// has either failed with -ENOMEM and changed nothing, or succeeded without that memory. Frames balance, and walkers see
// nothing odd.
#include "kernel/errno.h"
#include "lab/inject.h"
#include "lab/test.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm/help.h"

#define MOST 64			// no operation here allocates more often

// Across the edge between two L3 tables: as many tables as a small mapping can need.
#define EDGE (BASE + level_size(4) - 2 * PAGE_SIZE)
#define EDGE_PAGES 4

// Nothing is mapped, and no table is left, unless the policy keeps them.
static bool empty(struct space *s)
{
	return !mm_regions(s) && !s->mapped && (!page_of(s->root_pa)->private || s->freer->keeps);
}

// Frames balance while the space lives, from `inner` on; where the policy keeps tables, only when the space has ended,
// from `outer` on. Puts the space.
static void put_balanced(struct space *s, const struct mm_balance *inner, const struct mm_balance *outer)
{
	if (!s->freer->keeps)
		mm_balance_end(inner);
	space_put(s);
	mm_balance_end(outer);
}

// Pins what it can get of the range while the range is built and torn down; whatever it gets must be a fresh page.
struct onlooker {
	struct space *s;
	u32 stop;
	u64 pinned, odd;
};

static int look(void *arg)
{
	struct onlooker *o = arg;
	struct page *pages[EDGE_PAGES];

	while (!READ_ONCE(o->stop)) {
		unsigned n = walk_pin_fast(o->s, EDGE, EDGE_PAGES, true, pages);

		for (unsigned i = 0; i < n; i++) {
			o->odd += READ_ONCE(page_head(pages[i])->kind) != PAGE_ANON;
			o->odd += READ_ONCE(*(u64 *)page_to_virt(pages[i])) != 0;
			o->pinned++;
			page_unpin(pages[i], false);
		}
		cpu_relax();
	}
	return 0;
}

static void fail_map(const struct table_policy *p, int level)
{
	struct mm_balance b, outer;
	struct onlooker o = { 0 };
	struct thread *t = NULL;
	u64 va = ALIGN_DOWN(EDGE, level_size(level)), len = level == 1 ? EDGE_PAGES * PAGE_SIZE : 2 * level_size(level);
	int err = -ENOMEM;
	unsigned n;

	mm_balance_begin(&outer);
	o.s = space_create_with(p, flush_find("ipi"));
	REQUIRE(o.s);
	mm_balance_begin(&b);
	if (nr_cpus > 1)
		t = mm_thread("onlooker", look, &o, mm_other_cpu(0));
	for (n = 1; n <= MOST && err; n++) {
		inject_alloc_failure(n);
		err = space_map(o.s, va, len, RW, level, MAP_POPULATE);
		EXPECT_EQ(err, inject_fired() ? -ENOMEM : 0);
		inject_alloc_failure(0);
		if (err)
			EXPECT(empty(o.s));
	}
	EXPECT_EQ(err, 0);
	EXPECT(n > 6);		// a region, tables, frames
	EXPECT_EQ(space_unmap(o.s, 0, USER_END), 0);
	EXPECT(empty(o.s));
	WRITE_ONCE(o.stop, 1);
	if (t)
		mm_join(t);
	EXPECT_EQ(o.odd, 0);
	put_balanced(o.s, &b, &outer);
}

TEST(allocfail, map_4k, NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		if (pair_verdict(*p, flush_find("ipi")).safe)
			fail_map(*p, 1);
}

TEST(allocfail, map_2m, NEEDS_CHECK) { fail_map(policy_default(), 2); }

// Each failed attempt gives its frames back, counted one by one.
TEST(allocfail, map_balances_each_time, NEEDS_CHECK)
{
	struct space *s = space_create_with(mm_freeing_policy(), NULL);
	struct mm_balance b;
	int err = -ENOMEM;

	REQUIRE(s);
	mm_balance_begin(&b);
	for (unsigned n = 1; n <= MOST; n++) {
		inject_alloc_failure(n);
		err = space_map(s, EDGE, 2 * PAGE_SIZE, RW, 1, MAP_POPULATE);
		inject_alloc_failure(0);
		if (!err)
			break;
		mm_balance_end(&b);
	}
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	mm_balance_end(&b);
	space_put(s);
}

TEST(allocfail, create, NEEDS_CHECK)
{
	struct mm_balance b;
	struct space *s = NULL;

	mm_balance_begin(&b);
	for (unsigned n = 1; n <= MOST && !s; n++) {
		inject_alloc_failure(n);
		s = space_create();
		EXPECT(s || inject_fired());
		inject_alloc_failure(0);
		if (!s)
			mm_balance_end(&b);
	}
	REQUIRE(s);
	space_put(s);
	mm_balance_end(&b);
}

// By the fault itself, by a walk, and by a user access.
static int fault_by(unsigned how, struct space *s, vaddr_t va)
{
	struct page *page;
	int err;

	switch (how) {
	case 0: return space_fault(s, va, true);
	case 1:
		err = walk_pin(s, va, true, &page);
		if (!err)
			page_unpin(page, true);
		return err;
	default: return arch_user_write64(va, 1) ? -ENOMEM : 0;	// its only error is -EFAULT
	}
}

TEST(allocfail, fault, NEEDS_CHECK)
{
	struct space *s = space_create_with(mm_freeing_policy(), NULL);
	struct mm_balance b;

	REQUIRE(s);
	space_attach(s);
	EXPECT_EQ(space_map(s, BASE, level_size(4), RW, 1, 0), 0);
	mm_balance_begin(&b);
	for (unsigned how = 0; how < 3; how++) {
		int err = -ENOMEM;
		unsigned n;

		for (n = 1; n <= MOST && err; n++) {
			inject_alloc_failure(n);
			err = fault_by(how, s, BASE + 7 * PAGE_SIZE);
			EXPECT_EQ(err, inject_fired() ? -ENOMEM : 0);
			inject_alloc_failure(0);
			EXPECT_EQ(s->mapped, !err);
			if (err)	// no empty table was left behind
				EXPECT_EQ(page_of(s->root_pa)->private, 0);
		}
		EXPECT_EQ(n, 6);	// three tables and a frame fail, one after the other; then nothing does
		EXPECT_EQ(space_unmap(s, BASE, level_size(4)), 0);
		EXPECT_EQ(space_map(s, BASE, level_size(4), RW, 1, 0), 0);
	}
	EXPECT_EQ(mm_regions(s), 1);
	mm_balance_end(&b);
	space_detach();
	space_put(s);
}

static bool all_there(struct space *s, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++) {
		struct page *page;

		if (walk_pin_fast(s, BASE + i * PAGE_SIZE, 1, true, &page) != 1)
			return false;
		page_unpin(page, false);
	}
	return true;
}

// Unmap the middle of a region, which must be split twice. There are more leaves than the gather holds inline, and
// tables: the allocation of a batch page for either may fail, and the unmap succeeds all the same.
static void fail_unmap(const struct table_policy *p)
{
	enum { PAGES = 3 * PT_ENTRIES };
	struct mm_balance b, outer;
	bool done = false;
	struct space *s;

	mm_balance_begin(&outer);
	s = space_create_with(p, flush_find("ipi"));
	REQUIRE(s);
	mm_balance_begin(&b);
	for (unsigned n = 1; n <= MOST && !done; n++) {
		int err;

		EXPECT_EQ(space_map(s, BASE, PAGES * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		inject_alloc_failure(n);
		err = space_unmap(s, BASE + PAGE_SIZE, (PAGES - 2) * PAGE_SIZE);
		done = !inject_fired();
		inject_alloc_failure(0);
		EXPECT(err == 0 || (err == -ENOMEM && n <= 2));
		if (err) {
			EXPECT_EQ(mm_regions(s), 1);
			EXPECT_EQ(s->mapped, PAGES);
			EXPECT(all_there(s, PAGES));
		} else {
			EXPECT_EQ(mm_regions(s), 2);
			EXPECT_EQ(s->mapped, 2);
		}
		EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
		EXPECT(empty(s));
	}
	EXPECT(done);
	put_balanced(s, &b, &outer);
}

TEST(allocfail, unmap, NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		fail_unmap(*p);
}

TEST(allocfail, protect, NEEDS_CHECK)
{
	struct space *s = space_create();
	struct mm_balance b;
	int err = -ENOMEM;
	unsigned n;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 4 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	mm_balance_begin(&b);
	for (n = 1; n <= MOST && err; n++) {
		inject_alloc_failure(n);
		err = space_protect(s, BASE + PAGE_SIZE, PAGE_SIZE, PROT_R);
		EXPECT_EQ(err, inject_fired() ? -ENOMEM : 0);
		inject_alloc_failure(0);
		EXPECT_EQ(mm_regions(s), err ? 1 : 3);
		if (err)
			EXPECT(all_there(s, 4));
	}
	EXPECT_EQ(n, 4);	// two splits
	EXPECT_EQ(space_protect(s, BASE, 4 * PAGE_SIZE, RW), 0);
	EXPECT_EQ(mm_regions(s), 1);
	mm_balance_end(&b);
	space_put(s);
}

// An unmap that gets no memory at all still frees everything, down to the last frame.
static void unmap_without_memory(const struct table_policy *p)
{
	enum { PAGES = 2 * PT_ENTRIES };
	struct mm_balance b, outer;
	struct space *s;

	mm_balance_begin(&outer);
	s = space_create_with(p, flush_find("ipi"));
	REQUIRE(s);
	mm_balance_begin(&b);
	EXPECT_EQ(space_map(s, BASE, PAGES * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	inject_alloc_failures_from(1);
	EXPECT_EQ(space_unmap(s, BASE, PAGES * PAGE_SIZE), 0);
	inject_alloc_failure(0);
	EXPECT(empty(s));
	if (!p->keeps)
		mm_balance_end(&b);
	EXPECT_EQ(space_map(s, BASE, PAGES * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	inject_alloc_failures_from(1);
	space_put(s);
	inject_alloc_failure(0);
	mm_balance_end(&outer);
}

TEST(allocfail, unmap_without_memory, NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		unmap_without_memory(*p);
}

// rcu without a batch page: each table is freed before the unmap returns, after a sync IPI to every other CPU, and
// poisoned.
TEST(allocfail, rcu_falls_back, NEEDS_CHECK)
{
	struct space *s = space_create_with(policy_find("rcu"), flush_find("ipi"));
	struct page *tables[3];
	struct counters before, after;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	for (int level = 1; level <= 3; level++) {
		tables[level - 1] = mm_table(s, BASE, level);
		REQUIRE(tables[level - 1]);
		EXPECT_EQ(mm_state(tables[level - 1]), TABLE_LIVE);
	}
	counters_snapshot(&before);
	inject_alloc_failures_from(1);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	EXPECT(inject_fired());
	inject_alloc_failure(0);
	counters_snapshot(&after);
	counters_sub(&after, &after, &before);
	EXPECT_EQ(after.table_fallbacks, 1);	// one wait for all three
	EXPECT(after.ipi_sync >= nr_cpus - 1);
	EXPECT(after.tables_freed >= 3);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(mm_state(tables[i]), TABLE_FREE);
		EXPECT(mm_poisoned(tables[i]));
	}
	space_put(s);
}
