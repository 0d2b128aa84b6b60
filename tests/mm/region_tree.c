// SPDX-License-Identifier: MIT
// The tree of regions: balanced, and at one with the list, after random insertions, removals and changes of size; and
// the holes that it finds are those of a search from the top. Spaces that have few regions do without it.
#include "mm/region_tree.h"
#include "kernel/lib.h"
#include "lab/test.h"
#include "mm/map.h"
#include "mm/region.h"
#include "tests/mm/help.h"

#define PLACES_NR 2048		// pages, of which each region has some
#define ROUNDS 4000
#define STORM 8000
#define STACK_BITS (7ull << 26)	// of a random number: all clear make a region that grows down

struct tour {
	unsigned n;
	const struct list *at;	// the region that the list has next
	struct space *s;
};

// What r's subtree must know of itself, from its regions alone.
static int check_subtree(struct tour *seen, const struct region *r, vaddr_t *last_end)
{
	vaddr_t before = *last_end, first;
	int left, right;

	if (!r)
		return 0;
	left = check_subtree(seen, r->left, last_end);
	EXPECT(seen->at != &seen->s->regions && list_entry(seen->at, struct region, link) == r);
	seen->at = seen->at->next;
	seen->n++;
	EXPECT(r->start < r->end && *last_end <= r->start);
	*last_end = r->end;
	right = check_subtree(seen, r->right, last_end);
	EXPECT(left - right <= 1 && right - left <= 1);
	EXPECT_EQ(r->height, 1 + MAX(left, right));
	first = r->left ? r->left->first : r->start;
	EXPECT(r->first == first && r->last == *last_end && before <= first);
	return 1 + MAX(left, right);
}

static u64 largest_hole(struct space *s, struct region *from, vaddr_t last)
{
	u64 most = 0;

	for (struct region *r = from, *next; (next = region_next(s, r)) && next->end <= last; r = next)
		most = MAX(most, next->start - r->end);
	return most;
}

static void check(struct space *s)
{
	struct tour seen = { .at = s->regions.next, .s = s };
	vaddr_t last_end = 0;

	if (!s->region_tree) {
		EXPECT(s->nr_regions < 16);
		return;
	}
	check_subtree(&seen, s->region_tree, &last_end);
	EXPECT(seen.n == s->nr_regions && seen.at == &s->regions);
	list_for_each(it, &s->regions) {
		const struct region *r = list_entry(it, struct region, link);

		EXPECT_EQ(r->largest_hole, largest_hole(s, region_find(s, r->first), r->last));
	}
}

static vaddr_t place(u64 r) { return BASE + r % PLACES_NR * PAGE_SIZE; }

static void insert(struct space *s, vaddr_t start, vaddr_t end, u8 flags)
{
	const struct region_kind k = { .prot = RW, .level = 1, .flags = flags };
	struct region *r = region_make(s, start, end, &k);

	if (EXPECT(r))
		region_insert(s, r);
}

static bool change(struct space *s, u64 r)
{
	vaddr_t va = place(r), end = va + (1 + (r >> 16) % 4) * PAGE_SIZE;
	struct region *at = region_first_from(s, va);

	if (!(r >> 30 & 7)) {
		region_merge_range(s, va, va + 16 * PAGE_SIZE);
		return true;
	}
	if ((r >> 30 & 7) == 1)
		return !region_split_at(s, va, end);
	if (at && at->start < end) {
		if (r >> 24 & 1)
			return region_remove_whole(s, va, end);
		if (at->start >= va || at->end - va < PAGE_SIZE)
			return false;
		*(r >> 25 & 1 ? &at->end : &at->start) = va;
		if (s->region_tree)
			region_tree_resized(s, at);
		return true;
	}
	insert(s, va, end, r & STACK_BITS ? 0 : REGION_GROWSDOWN);
	return true;
}

TEST(region_tree, changes, 0)
{
	struct space *s = space_create();
	u64 rng = test_seed(), changes = 0;

	REQUIRE(s);
	mutex_lock(&s->lock);
	for (unsigned i = 0; i < ROUNDS && !test_failed(); i++) {
		changes += change(s, rand_next(&rng));
		if (i % 64 == 0 || s->nr_regions < 8)
			check(s);
	}
	EXPECT(changes > ROUNDS / 4 && s->nr_regions > 100);
	while (s->nr_regions && !test_failed()) {
		region_remove_range(s, place(rand_next(&rng)), FAR);
		check(s);
	}
	mutex_unlock(&s->lock);
	space_put(s);
}

// In order, as a program maps that asks for no address: the worst that a tree can be given.
TEST(region_tree, in_order, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	mutex_lock(&s->lock);
	for (unsigned i = 0; i < 1200; i++) {
		vaddr_t va = i % 2 ? BASE + i * 2 * PAGE_SIZE : FAR - i * 2 * PAGE_SIZE;

		insert(s, va, va + PAGE_SIZE, 0);
	}
	check(s);
	EXPECT(s->region_tree->height < 15);
	mutex_unlock(&s->lock);
	space_put(s);
}

// Is nothing there, and no region that grows down above? Then: page by page, from the top.
static bool is_free(struct space *s, vaddr_t va, u64 len)
{
	struct region *r = region_first_from(s, va);

	return !r || r->start >= va + len + (r->flags & REGION_GROWSDOWN ? STACK_GUARD : 0);
}

static vaddr_t plain_hole(struct space *s, vaddr_t low, vaddr_t high, u64 len)
{
	for (vaddr_t va = high - len; high >= low + len && va >= low; va -= PAGE_SIZE)
		if (is_free(s, va, len))
			return va;
	return 0;
}

TEST(region_tree, holes, 0)
{
	struct space *s = space_create();
	u64 rng = test_seed();
	unsigned found = 0, n = 0;

	REQUIRE(s);
	mutex_lock(&s->lock);
	for (unsigned i = 0; i < ROUNDS && !test_failed(); i++) {
		u64 r = rand_next(&rng), len = (1 + (r >> 40) % 24) * PAGE_SIZE;
		vaddr_t low = place(r >> 8), high = place(r >> 20), want, got;

		change(s, (rand_next(&rng) & ~STACK_BITS) | (i % 128 ? STACK_BITS : 0));	// a few stacks
		if (low >= high)
			continue;
		want = plain_hole(s, low, high, len);
		got = region_find_gap(s, len, PAGE_SIZE, low, high);
		if (!EXPECT_EQ(got, want))
			log_error("[%#llx, %#llx), %#llx bytes", (unsigned long long)low, (unsigned long long)high,
				  (unsigned long long)len);
		found += want != 0;
		n++;
	}
	EXPECT(found > n / 8 && found < n);	// both happen
	mutex_unlock(&s->lock);
	space_put(s);
}

// A program that maps page after page, and nowhere two alike side by side, asks for a place thousands of times; each
// answer is the highest hole.
TEST(region_tree, storm, 0)
{
	const struct region_kind odd = { .prot = PROT_R, .level = 1 }, even = { .prot = RW, .level = 1 };
	const struct map_place w = { .low = PAGE_SIZE, .high = FAR };
	struct space *s = space_create();

	REQUIRE(s);
	for (unsigned i = 1; i <= STORM; i++)
		EXPECT_EQ(space_map_anywhere(s, PAGE_SIZE, i & 1 ? &odd : &even, &w), FAR - i * PAGE_SIZE);
	EXPECT_EQ(mm_regions(s), STORM);
	for (unsigned i = 1; i <= STORM; i += 3)
		EXPECT_EQ(space_unmap(s, FAR - i * PAGE_SIZE, PAGE_SIZE), 0);
	// Below all the holes that are too small.
	EXPECT_EQ(space_map_anywhere(s, 2 * PAGE_SIZE, &odd, &w), FAR - (STORM + 2) * PAGE_SIZE);
	for (unsigned i = 1; i <= STORM; i += 3)
		EXPECT_EQ(space_map_anywhere(s, PAGE_SIZE, i & 1 ? &odd : &even, &w), FAR - i * PAGE_SIZE);
	mutex_lock(&s->lock);
	check(s);
	mutex_unlock(&s->lock);
	space_put(s);
}
