// SPDX-License-Identifier: MIT
// The lockless walk over ranges, and addresses that no walk may accept.
#include "kernel/errno.h"
#include "lab/test.h"
#include "mm/walk.h"
#include "tests/mm/help.h"

// Across the edges of tables of all levels, from 4 KiB to 2 MiB pages and back, and up to a hole.
TEST(walk, ranges, 0)
{
	enum { N = 8 };
	static const int edges[] = { 2, 3, 4 };
	struct space *s = space_create();
	struct page *pages[2 * PT_ENTRIES];

	REQUIRE(s);
	for (unsigned i = 0; i < ARRAY_SIZE(edges); i++) {
		vaddr_t va = BASE + level_size(edges[i]) - N / 2 * PAGE_SIZE;

		EXPECT_EQ(space_map(s, va, N * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		EXPECT_EQ(walk_pin_fast(s, va, N, true, pages), N);
		for (unsigned k = 0; k < N; k++) {
			struct page *one;

			EXPECT_EQ(walk_pin_fast(s, va + k * PAGE_SIZE, 1, true, &one), 1);
			EXPECT(one == pages[k] && one->refs == 3);
			page_unpin(one, false);
			page_unpin(pages[k], false);
		}
		EXPECT_EQ(walk_pin_fast(s, va, N + 1, true, pages), N);	// then a hole
		for (unsigned k = 0; k < N; k++)
			page_unpin(pages[k], false);
		EXPECT_EQ(walk_pin_fast(s, va - PAGE_SIZE, N, true, pages), 0);	// begins with one
		EXPECT_EQ(space_unmap(s, va, N * PAGE_SIZE), 0);
	}
	space_put(s);
}

// Returns a frame of ours right behind the frame that the next table will get: the first half of a split block was put
// just now, so its CPU hands it out next.
static struct page *frame_behind_the_next_table(void)
{
	struct page *block = page_alloc(1, PAGE_ANON, PG_ZERO);

	if (!block)
		return NULL;
	EXPECT(page_split(block));
	page_put(block);
	return block + 1;
}

// A walk must not read beyond the end of a table, even if what lies there looks like an entry: here, one for a decoy.
TEST(walk, range_ends_with_the_table, 0)
{
	enum { TABLES = 16 };
	struct space *s = space_create();
	struct page *decoy = page_alloc(0, PAGE_ANON, PG_ZERO), *behind, *pages[2], *one;
	unsigned baited = 0;

	REQUIRE(s && decoy);
	for (unsigned i = 1; i <= TABLES; i++) {
		vaddr_t edge = BASE + 2 * i * level_size(2);	// the last page of one table, the first of the next

		EXPECT_EQ(space_map(s, edge, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		behind = frame_behind_the_next_table();
		REQUIRE(behind);
		EXPECT_EQ(space_map(s, edge - PAGE_SIZE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		baited += mm_table(s, edge - PAGE_SIZE, 1) + 1 == behind;	// unless another allocation came between
		pte_write(page_to_virt(behind), pte_make_leaf(page_to_phys(decoy), 1, RW));
		EXPECT_EQ(walk_pin_fast(s, edge, 1, true, &one), 1);
		EXPECT_EQ(walk_pin_fast(s, edge - PAGE_SIZE, 2, true, pages), 2);
		EXPECT(pages[1] == one);
		page_unpin(one, false);
		page_unpin(pages[0], false);
		page_unpin(pages[1], false);
		page_put(behind);
	}
	EXPECT(baited > 0);
	EXPECT_EQ(decoy->refs, 1);
	page_put(decoy);
	space_put(s);
}

TEST(walk, range_of_mixed_sizes, 0)
{
	struct space *s = space_create();
	struct page *pages[PT_ENTRIES + 4];
	vaddr_t large = BASE + level_size(2);

	REQUIRE(s);
	EXPECT_EQ(space_map(s, large - 2 * PAGE_SIZE, 2 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_map(s, large, level_size(2), RW, 2, 0), 0);
	EXPECT_EQ(space_map(s, large + level_size(2), 2 * PAGE_SIZE, RW, 1, 0), 0);
	space_attach(s);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		EXPECT_EQ(arch_user_write64(large + (i - 2ull) * PAGE_SIZE, i), 0);
	space_detach();
	EXPECT_EQ(walk_pin_fast(s, large - 2 * PAGE_SIZE, ARRAY_SIZE(pages), false, pages), ARRAY_SIZE(pages));
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		EXPECT_EQ(READ_ONCE(*(u64 *)page_to_virt(pages[i])), i);
		page_unpin(pages[i], false);
	}
	space_put(s);
}

// As if pins had taken all references but `left`; and as if these were returned.
static void take_all_but(struct page *head, u32 left) { fetch_add(&head->refs, PAGE_REFS_MAX - 1 - left); }
static void give_all_but(struct page *head, u32 left) { fetch_sub(&head->refs, PAGE_REFS_MAX - 1 - left); }

static void unpin(struct page **pages, unsigned n)
{
	while (n)
		page_unpin(pages[--n], false);
}

// Of the small pages, the third can take no more references; the large page's head can take three.
static void pins_end(struct space *s, bool write)
{
	vaddr_t large = BASE + level_size(2);
	struct page *pages[3 + PT_ENTRIES], *third, *head;

	REQUIRE(!walk_pin(s, BASE + 2 * PAGE_SIZE, write, &third) && !walk_pin(s, large, write, &head));
	page_unpin(third, false);
	page_unpin(head, false);
	take_all_but(third, 0);
	EXPECT_EQ(walk_pin_fast(s, BASE, 4, write, pages), 2);
	unpin(pages, 2);
	EXPECT_EQ(walk_pin_range(s, BASE, 4, write, pages), 2);
	unpin(pages, 2);
	EXPECT_EQ(walk_pin(s, BASE + 2 * PAGE_SIZE, write, pages), -ENOMEM);
	EXPECT_EQ(walk_slow(s, BASE + 2 * PAGE_SIZE, write, pages), -ENOMEM);
	EXPECT_EQ(READ_ONCE(third->refs), PAGE_REFS_MAX);
	give_all_but(third, 0);
	EXPECT_EQ(walk_pin_fast(s, BASE, 4, write, pages), 4);
	unpin(pages, 4);

	take_all_but(head, 3);
	EXPECT_EQ(walk_pin_fast(s, large, PT_ENTRIES, write, pages), 3);
	EXPECT_EQ(READ_ONCE(head->refs), PAGE_REFS_MAX);
	EXPECT_EQ(walk_pin_fast(s, large + PAGE_SIZE, 1, write, pages + 3), 0);
	EXPECT_EQ(walk_pin_range(s, large, PT_ENTRIES, write, pages + 3), 0);
	EXPECT_EQ(walk_pin(s, large + 7 * PAGE_SIZE, write, pages + 3), -ENOMEM);
	EXPECT_EQ(walk_slow(s, large + 7 * PAGE_SIZE, write, pages + 3), -ENOMEM);
	EXPECT_EQ(READ_ONCE(head->refs), PAGE_REFS_MAX);
	page_unpin(pages[2], false);
	EXPECT_EQ(walk_pin(s, large + 7 * PAGE_SIZE, write, pages + 2), 0);	// one reference was returned
	unpin(pages, 3);
	give_all_but(head, 3);
	EXPECT_EQ(READ_ONCE(head->refs), 1);
}

// A caller that pins a page again and again is refused before the page's count reaches 0 and its frame is freed.
TEST(walk, pins_end_before_they_wrap, 0)
{
	FOR_EACH_POLICY(p) {
		struct space *s = space_create_with(*p, flush_find("ipi"));

		REQUIRE(s);
		EXPECT_EQ(space_map(s, BASE, 4 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		EXPECT_EQ(space_map(s, BASE + level_size(2), level_size(2), RW, 2, MAP_POPULATE), 0);
		pins_end(s, false);
		pins_end(s, true);
		space_put(s);
	}
}

// The range form faults in what is missing and goes on: longer than a chunk, and stopped by what is forbidden.
TEST(walk, range_faults_in, 0)
{
	enum { N = 3 * WALK_CHUNK + 5 };
	struct space *s = space_create();
	struct page *pages[N];

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, N * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_protect(s, BASE + (N - 1) * PAGE_SIZE, PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(walk_pin_range(s, BASE, N, true, pages), N - 1);
	for (unsigned i = 0; i < N - 1; i++) {
		EXPECT_EQ(pages[i]->refs, 2);
		page_unpin(pages[i], false);
	}
	EXPECT_EQ(walk_pin_range(s, BASE, N, false, pages), N);
	for (unsigned i = 0; i < N; i++)
		page_unpin(pages[i], false);
	EXPECT_EQ(s->mapped, N);
	space_put(s);
}

// Of two pages the first `most` are pinned, by either way.
static void pins_of_two(struct space *s, vaddr_t va, bool write, unsigned most)
{
	struct page *pages[2], *head;
	unsigned got = walk_pin_fast(s, va, 2, write, pages);

	EXPECT_EQ(got, most);
	while (got--)
		page_unpin(pages[got], false);
	got = walk_pin_range(s, va, 2, write, pages);
	EXPECT_EQ(got, most);
	while (got--) {
		head = page_head(pages[got]);
		page_unpin(pages[got], false);
		EXPECT_EQ(head->refs, 1);
	}
}

// A range checks the permission of each of its pages: a walk for writing ends before a page that may only be read. From
// page to page by the next entry of a table, and from large page to large page.
static void ends_where_it_may_not_write(const struct table_policy *p, int level)
{
	struct space *s = space_create_with(p, flush_find("ipi"));
	u64 size = level_size(level);
	vaddr_t last_of_first = BASE + size - PAGE_SIZE, last_of_third = BASE + 3 * size - PAGE_SIZE;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 4 * size, RW, level, MAP_POPULATE), 0);
	EXPECT_EQ(space_protect(s, BASE + size, size, PROT_R), 0);
	EXPECT_EQ(space_protect(s, BASE + 3 * size, size, 0), 0);
	pins_of_two(s, last_of_first, false, 2);
	pins_of_two(s, last_of_first, true, 1);
	pins_of_two(s, last_of_first + PAGE_SIZE, true, 0);
	pins_of_two(s, last_of_third, false, 1);
	pins_of_two(s, last_of_third, true, 1);
	space_put(s);
}

TEST(walk, range_ends_where_it_may_not_write, 0)
{
	FOR_EACH_POLICY(p) {
		ends_where_it_may_not_write(*p, 1);
		ends_where_it_may_not_write(*p, 2);
	}
}

TEST(walk, hostile_addresses, 0)
{
	static const vaddr_t bad[] = {
		USER_END, USER_END + PAGE_SIZE, 0x800000000000ull, 0xffff800000000000ull, ~0ull, 1ull << 63,
	};
	struct space *s = space_create();
	struct page *pages[4];

	REQUIRE(s);
	EXPECT_EQ(space_map(s, USER_END - 2 * PAGE_SIZE, 2 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(walk_pin(s, bad[i], false, pages), -EFAULT);
		EXPECT_EQ(walk_pin_fast(s, bad[i], 1, false, pages), 0);
		EXPECT_EQ(walk_pin_range(s, bad[i], 1, false, pages), 0);
		EXPECT_EQ(walk_pin_range(s, bad[i], ~0u, false, pages), 0);
	}
	// The whole range must lie in the user half.
	EXPECT_EQ(walk_pin_fast(s, USER_END - 2 * PAGE_SIZE, 3, false, pages), 0);
	EXPECT_EQ(walk_pin_range(s, USER_END - PAGE_SIZE, ~0u, false, pages), 0);
	EXPECT_EQ(walk_pin_range(s, USER_END - 2 * PAGE_SIZE, 0, false, pages), 0);
	EXPECT_EQ(walk_pin_range(s, USER_END - 2 * PAGE_SIZE, 2, false, pages), 2);
	page_unpin(pages[0], false);
	page_unpin(pages[1], false);
	EXPECT_EQ(walk_pin(s, USER_END - 1, false, pages), 0);
	page_unpin(pages[0], false);
	EXPECT_EQ(walk_pin(s, 0, false, pages), -EFAULT);	// a hole
	space_put(s);
}
