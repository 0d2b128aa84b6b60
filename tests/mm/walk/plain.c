// SPDX-License-Identifier: MIT
// The plain walk, with which mm/walk_body.h opens, against each compiled one: under every policy and every union of
// two, of one page and of ranges, to read and to write, over every kind of leaf and of none. Nothing changes meanwhile.
#include "lab/test.h"
#include "mm/tree.h"
#include "mm/walk.h"
#include "mm/walk_body.h"
#include "tests/mm/help.h"
#include "tests/mm/stamps.h"

// What is mapped in the 2 MiB units from BASE on.
enum { SMALL, LARGE, LARGE_READ_ONLY, LARGE_NONE, COLLAPSED, SPLIT, MOVED_SMALL, MOVED_LARGE, NOTHING, UNITS };
// … and in the first pages of the unit SMALL, which has some more at its end.
enum { FIRST, ABSENT = 3, READ_ONLY, NONE, LAST, SMALL_PAGES };
static const struct {
	bool read, write;	// of its first page
} unit_permits[UNITS] = {
	[SMALL] = { true, true }, [LARGE] = { true, true }, [LARGE_READ_ONLY] = { true, false },
	[COLLAPSED] = { true, true }, [SPLIT] = { true, true }, [MOVED_SMALL] = { true, true }, [MOVED_LARGE] = { true, true },
};

#define LONGEST 16
static const unsigned pages_looked_at[] = { FIRST, 1, ABSENT, READ_ONLY, NONE, LAST, SMALL_PAGES, 255, PT_ENTRIES - 1 };
static const struct {
	unsigned page, n;
} ranges[] = { { FIRST, LONGEST }, { READ_ONLY, 3 }, { PT_ENTRIES - 4, 8 }, { PT_ENTRIES - 1, LONGEST } };

static vaddr_t unit(unsigned n) { return BASE + n * HUGE_SIZE; }

static void build_small(struct space *s, vaddr_t va)
{
	EXPECT_EQ(space_map(s, va, HUGE_SIZE, RW, 1, 0), 0);
	for (unsigned i = 0; i < SMALL_PAGES; i++)
		EXPECT_EQ(space_fault(s, va + i * PAGE_SIZE, true), 0);
	for (unsigned i = PT_ENTRIES - 4; i < PT_ENTRIES; i++)
		EXPECT_EQ(space_fault(s, va + i * PAGE_SIZE, true), 0);
	EXPECT_EQ(space_discard(s, va + ABSENT * PAGE_SIZE, PAGE_SIZE), 0);
	EXPECT_EQ(space_protect(s, va + READ_ONLY * PAGE_SIZE, PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(space_protect(s, va + NONE * PAGE_SIZE, PAGE_SIZE, 0), 0);
}

static struct space *build(void)
{
	struct space *s = space_create_with(policy_find("rcu"), flush_find("ipi"));

	if (!EXPECT(s))
		return NULL;
	build_small(s, unit(SMALL));
	EXPECT_EQ(space_map(s, unit(LARGE), 3 * HUGE_SIZE, RW, 2, MAP_POPULATE), 0);
	EXPECT_EQ(space_protect(s, unit(LARGE_READ_ONLY), HUGE_SIZE, PROT_R), 0);
	EXPECT_EQ(space_protect(s, unit(LARGE_NONE), HUGE_SIZE, 0), 0);
	EXPECT_EQ(space_map(s, unit(COLLAPSED), 2 * HUGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_collapse(s, unit(COLLAPSED)), 0);
	EXPECT_EQ(space_collapse(s, unit(SPLIT)), 0);
	EXPECT_EQ(space_split(s, unit(SPLIT)), 0);
	build_small(s, FAR);
	EXPECT_EQ(space_map(s, FAR + HUGE_SIZE, HUGE_SIZE, RW, 2, MAP_POPULATE), 0);
	EXPECT_EQ(space_move(s, FAR, unit(MOVED_SMALL), 2 * HUGE_SIZE), 0);
	return s;
}

// The page that the plain walk finds, which stays mapped; NULL: none.
static struct page *plain(struct space *s, vaddr_t va, bool write)
{
	struct page *page;
	int err;

	mutex_lock(&s->lock);
	err = walk_plain(s, va, write, &page);
	mutex_unlock(&s->lock);
	if (err)
		return NULL;
	page_unpin(page, false);
	return page;
}

static void expect_same(struct space *s, const char *form, vaddr_t va, bool write, struct page *found)
{
	struct page *wanted = plain(s, va, write);

	if (found != wanted)
		test_fail(__FILE__, __LINE__, "table_free=%s, %s, %s, at %lx: %lx, plain walk: %lx", s->policy->name, form,
			  write ? "write" : "read", va, found ? page_to_phys(found) : 0, wanted ? page_to_phys(wanted) : 0);
	if (found)
		page_unpin(found, false);
}

// Where the range ended, the plain walk finds no page.
static void compare_range(struct space *s, vaddr_t va, unsigned n, bool write)
{
	struct page *pages[LONGEST];
	unsigned got = walk_pin_fast(s, va, n, write, pages);

	for (unsigned i = 0; i < n && i <= got; i++)
		expect_same(s, "range", va + i * PAGE_SIZE, write, i < got ? pages[i] : NULL);
}

static void compare_unit(struct space *s, vaddr_t va, bool write)
{
	for (unsigned i = 0; i < ARRAY_SIZE(pages_looked_at); i++) {
		vaddr_t page = va + pages_looked_at[i] * PAGE_SIZE;

		expect_same(s, "one page", page, write, s->walk_one[write](s, page));
		expect_same(s, "one page", page + 0x123, write, s->walk_one[write](s, page + 0x123));
		compare_range(s, page, 1, write);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
		compare_range(s, va + ranges[i].page * PAGE_SIZE, ranges[i].n, write);
}

static void compare(struct space *s, unsigned units)
{
	for (unsigned i = 0; i < units; i++)
		for (int write = 0; write < 2; write++)
			compare_unit(s, unit(i), write);
}

static void compare_each(struct space *s, unsigned units)
{
	FOR_EACH_POLICY(p) {
		space_select(s, *p);
		compare(s, units);
	}
	FOR_EACH_POLICY(p0) FOR_EACH_POLICY(p1) {
		if (p0 == p1)
			continue;	// no switch joins these
		s->union_of[0] = *p0;
		s->union_of[1] = *p1;
		space_select(s, &policy_union);
		compare(s, units);
	}
	space_select(s, s->freer);
}

// With one permission less in the entry of `level` above the first pages; and without that entry.
static void compare_without(struct space *s, int level, pte_t (*less)(pte_t))
{
	pte_t *e, old;

	mutex_lock(&s->lock);
	e = tree_find(s, BASE, level, NULL);
	mutex_unlock(&s->lock);
	REQUIRE(e);
	old = pte_read(e);
	pte_write(e, less(old));
	EXPECT(!plain(s, BASE, true));
	EXPECT_EQ(plain(s, BASE, false) != NULL, less == pte_without_write);
	compare_each(s, LARGE + 1);
	pte_write(e, old);
}

TEST(walk, as_the_plain_one, 0)
{
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = build();
	REQUIRE(s);
	for (unsigned i = 0; i < UNITS; i++) {
		EXPECT_EQ(plain(s, unit(i), false) != NULL, unit_permits[i].read);
		EXPECT_EQ(plain(s, unit(i), true) != NULL, unit_permits[i].write);
	}
	compare_each(s, UNITS);
	for (int level = 2; level <= PT_LEVELS; level++) {
		compare_without(s, level, pte_without_write);
		compare_without(s, level, pte_without_user);
		compare_without(s, level, pte_without_valid);
	}
	space_put(s);
	mm_balance_end(&b);
}

TEST(walk, as_the_plain_one_1g, NEEDS_MEM_1G)
{
	struct space *s = space_create();

	if (!arch_has_page_size(3)) {
		space_put(s);
		SKIP("the CPU has no 1 GiB pages");
	}
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, level_size(3), RW, 3, MAP_POPULATE), 0);
	EXPECT(plain(s, unit(SMALL), true) && plain(s, unit(UNITS), true) == plain(s, BASE, true) + UNITS * PT_ENTRIES);
	compare_each(s, UNITS);
	EXPECT_EQ(space_protect(s, BASE, level_size(3), PROT_R), 0);
	EXPECT(plain(s, BASE, false) && !plain(s, BASE, true));
	compare_each(s, 1);
	space_put(s);
}
