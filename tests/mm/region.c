// SPDX-License-Identifier: MIT
// Regions: the tree against the list, free places, regions that grow down, and what makes neighbours one.
#include "mm/region.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/test.h"
#include "mm/range.h"
#include "tests/mm/help.h"
#include "tests/mm/stamps.h"

#define PLACES 200u

static vaddr_t place(u64 i) { return BASE + i * 2 * PAGE_SIZE; }

static unsigned depth(const struct region *r) { return r ? 1 + MAX(depth(r->left), depth(r->right)) : 0; }
static unsigned size(const struct region *r) { return r ? 1 + size(r->left) + size(r->right) : 0; }

// The list is sorted, and the tree, if there is one, finds what the list has.
static void check(struct space *s, const bool *there)
{
	unsigned n = 0;
	vaddr_t end = 0;

	mutex_lock(&s->lock);
	list_for_each(it, &s->regions) {
		struct region *r = list_entry(it, struct region, link);

		n++;
		EXPECT(r->start >= end);
		end = r->end;
	}
	EXPECT_EQ(s->nr_regions, n);
	EXPECT(!s->region_tree || size(s->region_tree) == n);
	EXPECT(s->region_tree || n < 16);		// many have a tree
	for (u64 i = 0; i < PLACES; i++) {
		struct region *r = region_find(s, place(i));

		EXPECT(!r == !there[i] && (!r || r->start == place(i)));
		EXPECT(!region_find(s, place(i) + PAGE_SIZE));
		r = region_first_from(s, place(i) - PAGE_SIZE);
		EXPECT(!there[i] || (r && r->start == place(i)));
	}
	mutex_unlock(&s->lock);
}

// Regions come and go at random places, ever more and then ever fewer.
TEST(region, tree_and_list, 0)
{
	static bool there[PLACES];
	struct space *s = space_create();
	u64 rng = test_seed();

	REQUIRE(s);
	memset(there, 0, sizeof(there));
	for (unsigned i = 0; i < 6 * PLACES && !test_failed(); i++) {
		u64 at = rand_next(&rng) % PLACES;
		bool add = (i < 3 * PLACES) == !!(rand_next(&rng) % 8);

		if (add)
			EXPECT_EQ(space_map(s, place(at), PAGE_SIZE, RW, 1, 0), there[at] ? -EEXIST : 0);
		else
			EXPECT_EQ(space_unmap(s, place(at), PAGE_SIZE), 0);
		there[at] = add;
		if (i % 16 == 0)
			check(s, there);
	}
	check(s, there);
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	EXPECT(!s->region_tree && !s->nr_regions);
	space_put(s);
}

// In order, which would make a plain search tree a list.
TEST(region, depth, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	for (u64 i = 0; i < 1024; i++)
		EXPECT_EQ(space_map(s, place(i), PAGE_SIZE, RW, 1, 0), 0);
	EXPECT(size(s->region_tree) == 1024 && depth(s->region_tree) < 48);	// some 25 are to be expected
	space_put(s);
}

TEST(region, at_most_so_many, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, place(0), PAGE_SIZE, RW, 1, 0), 0);
	s->nr_regions += REGIONS_MAX - 1;
	EXPECT_EQ(space_map(s, place(1), PAGE_SIZE, RW, 1, 0), -ENOMEM);
	s->nr_regions -= REGIONS_MAX - 1;
	EXPECT_EQ(space_map(s, place(1), PAGE_SIZE, RW, 1, 0), 0);
	space_put(s);
}

static vaddr_t gap(struct space *s, u64 pages, vaddr_t low, vaddr_t high)
{
	vaddr_t va;

	mutex_lock(&s->lock);
	va = region_find_gap(s, pages * PAGE_SIZE, PAGE_SIZE, low, high);
	mutex_unlock(&s->lock);
	return va;
}

// Regions on pages 10 to 11 and 20 to 29; places between page 5 and page 25, or 40.
TEST(region, gaps, 0)
{
	const vaddr_t p5 = BASE + 5 * PAGE_SIZE, p40 = BASE + 40 * PAGE_SIZE;
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(gap(s, 35, p5, p40), p5);
	EXPECT_EQ(gap(s, 36, p5, p40), 0);
	EXPECT_EQ(space_map(s, BASE + 10 * PAGE_SIZE, 2 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_map(s, BASE + 20 * PAGE_SIZE, 10 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(gap(s, 1, p5, p40), p40 - PAGE_SIZE);
	EXPECT_EQ(gap(s, 10, p5, p40), BASE + 30 * PAGE_SIZE);
	EXPECT_EQ(gap(s, 8, p5, BASE + 25 * PAGE_SIZE), BASE + 12 * PAGE_SIZE);
	EXPECT_EQ(gap(s, 11, p5, p40), 0);
	EXPECT_EQ(gap(s, 9, p5, p40), BASE + 31 * PAGE_SIZE);
	EXPECT_EQ(gap(s, 5, p5, BASE + 15 * PAGE_SIZE), p5);
	EXPECT_EQ(gap(s, 6, p5, BASE + 15 * PAGE_SIZE), 0);
	space_put(s);
}

static int map_stack(struct space *s, vaddr_t start, u64 pages)
{
	const struct region_kind k = { .prot = RW, .level = 1, .flags = REGION_GROWSDOWN };
	int err;

	mutex_lock(&s->lock);
	err = region_add_kind(s, start, start + pages * PAGE_SIZE, &k);
	mutex_unlock(&s->lock);
	return err;
}

// Down to its limit, with a gap to what lies below; only what nothing may touch may be closer.
TEST(region, grows_down, 0)
{
	struct space *s = space_create();
	vaddr_t top = BASE + HUGE_SIZE, below = top - 16 * PAGE_SIZE;

	REQUIRE(s);
	EXPECT_EQ(map_stack(s, top - PAGE_SIZE, 1), 0);
	EXPECT_EQ(space_fault(s, below, true), -EFAULT);	// no limit was given
	s->stack_limit = 16 * PAGE_SIZE;
	EXPECT_EQ(space_fault(s, below - 8, true), -EFAULT);
	EXPECT_EQ(space_fault(s, top, true), -EFAULT);		// it does not grow up
	EXPECT_EQ(space_fault(s, below + 8, true), 0);
	EXPECT(s->mapped == 1 && mm_regions(s) == 1);
	EXPECT_EQ(space_fault(s, top - 8 * PAGE_SIZE, true), 0);
	EXPECT_EQ(gap(s, 1, BASE, top), below - STACK_GUARD - PAGE_SIZE);	// nothing is put close to it unasked
	s->stack_limit = HUGE_SIZE;
	EXPECT_EQ(space_map(s, below - STACK_GUARD - 2 * PAGE_SIZE, PAGE_SIZE, PROT_R, 1, 0), 0);
	EXPECT_EQ(space_fault(s, below - PAGE_SIZE, true), 0);
	EXPECT_EQ(space_fault(s, below - 2 * PAGE_SIZE, true), -EFAULT);
	EXPECT_EQ(space_protect(s, below - STACK_GUARD - 2 * PAGE_SIZE, PAGE_SIZE, 0), 0);
	EXPECT_EQ(space_fault(s, below - 2 * PAGE_SIZE, true), 0);
	space_put(s);
}

// However much room there is, not down to where a null pointer leads.
TEST(region, grows_down_to_the_lowest, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	s->stack_limit = HUGE_SIZE;
	EXPECT_EQ(map_stack(s, USER_LOWEST + 2 * PAGE_SIZE, 1), 0);
	EXPECT_EQ(space_fault(s, USER_LOWEST - PAGE_SIZE, true), -EFAULT);
	EXPECT_EQ(space_fault(s, 8, true), -EFAULT);
	EXPECT_EQ(space_fault(s, USER_LOWEST, true), 0);
	EXPECT_EQ(space_fault(s, USER_LOWEST - 8, true), -EFAULT);
	space_put(s);
}

// Each attribute by itself keeps neighbours apart.
TEST(region, kinds, 0)
{
	struct space *s = mm_populated(NULL, NULL, 3 * PAGE_SIZE);
	struct region_info r;

	REQUIRE(s);
	EXPECT_EQ(space_set_flags(s, BASE + PAGE_SIZE, PAGE_SIZE, REGION_LOCKED, 0), 0);
	EXPECT_EQ(mm_regions(s), 3);
	EXPECT(space_query(s, BASE + PAGE_SIZE, &r) && r.start == BASE + PAGE_SIZE && r.kind.flags == REGION_LOCKED);
	EXPECT_EQ(space_set_flags(s, BASE + 2 * PAGE_SIZE, 2 * PAGE_SIZE, REGION_LOCKED, 0), -ENOENT);	// what lies before …
	EXPECT_EQ(mm_regions(s), 2);					// … the hole has been set
	EXPECT_EQ(space_set_flags(s, BASE + 3 * PAGE_SIZE, PAGE_SIZE, REGION_LOCKED, 0), -ENOENT);
	space_set_flags_everywhere(s, 0, REGION_LOCKED);
	EXPECT_EQ(mm_regions(s), 1);
	EXPECT(!space_query(s, BASE + 3 * PAGE_SIZE, &r));
	space_put(s);
}

// A collapsed page lies in one region: a boundary of flags splits it, too.
TEST(region, flags_cut_collapsed_pages, 0)
{
	struct space *s = mm_populated(NULL, NULL, HUGE_SIZE);

	REQUIRE(s);
	EXPECT_EQ(space_collapse(s, BASE), 0);
	EXPECT_EQ(space_set_flags(s, BASE, HUGE_SIZE, REGION_LOCKED, 0), 0);
	EXPECT_EQ(leaf_level(s, BASE), 2);
	EXPECT_EQ(space_set_flags(s, BASE, PAGE_SIZE, 0, REGION_LOCKED), 0);
	EXPECT_EQ(leaf_level(s, BASE), 1);
	space_put(s);
}
