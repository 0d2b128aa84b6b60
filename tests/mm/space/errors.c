// SPDX-License-Identifier: MIT
// Address spaces: regions, and requests that are refused.
#include "kernel/errno.h"
#include "lab/test.h"
#include "mm/space.h"
#include "tests/mm/help.h"

// Take blocks, the largest first, until fewer than `left` frames are free.
static void take_memory(struct list *taken, u64 left)
{
	for (unsigned order = MAX_ORDER; order >= PT_BITS; order--) {
		struct page *p;

		while (page_free_count() > left + (1ull << order) && (p = page_alloc(order, PAGE_KERNEL, 0)))
			list_push_back(taken, &p->link);
	}
}

// Too little memory for a populated mapping: -ENOMEM, and the space is as before.
static void no_memory(int level)
{
	enum { LEFT = 8 * PT_ENTRIES };
	u64 len = 4 * LEFT * PAGE_SIZE;
	struct list taken;
	struct mm_balance b;
	struct page *whole;	// kept back, so that the memory left is not all fragmented
	struct space *s;

	mm_balance_begin(&b);
	s = space_create();
	whole = page_alloc(PT_BITS, PAGE_KERNEL, 0);
	REQUIRE(s && whole);
	list_init(&taken);
	take_memory(&taken, LEFT);
	page_put(whole);
	EXPECT_EQ(space_map(s, BASE, len, RW, level, MAP_POPULATE), -ENOMEM);
	EXPECT_EQ(mm_regions(s), 0);
	EXPECT_EQ(s->mapped, 0);
	EXPECT(s->freer->keeps || !page_of(s->root_pa)->private);
	EXPECT_EQ(space_map(s, BASE, len, RW, level, 0), 0);	// without populating there is room enough
	EXPECT_EQ(space_fault(s, BASE + len - 1, true), 0);
	while (!list_empty(&taken))
		page_put(list_entry(list_pop_front(&taken), struct page, link));
	EXPECT_EQ(space_unmap(s, BASE, len), 0);
	EXPECT_EQ(space_map(s, BASE, level_size(level), RW, level, MAP_POPULATE), 0);
	space_put(s);
	mm_balance_end(&b);
}

TEST(space, no_memory_4k, 0) { no_memory(1); }
TEST(space, no_memory_2m, 0) { no_memory(2); }

// Regions split and merge; a test can see only their number.
TEST(space, regions_split_and_merge, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 4 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_map(s, BASE + 4 * PAGE_SIZE, 4 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(mm_regions(s), 1);
	EXPECT_EQ(space_map(s, BASE - PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(mm_regions(s), 1);
	EXPECT_EQ(space_protect(s, BASE + PAGE_SIZE, PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(mm_regions(s), 3);
	EXPECT_EQ(space_protect(s, BASE, 3 * PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(mm_regions(s), 3);
	EXPECT_EQ(space_protect(s, BASE, 3 * PAGE_SIZE, RW), 0);
	EXPECT_EQ(mm_regions(s), 1);
	EXPECT_EQ(space_unmap(s, BASE + 2 * PAGE_SIZE, 2 * PAGE_SIZE), 0);
	EXPECT_EQ(mm_regions(s), 2);
	EXPECT_EQ(space_map(s, BASE + 2 * PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(mm_regions(s), 2);
	EXPECT_EQ(space_map(s, BASE + 3 * PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(mm_regions(s), 1);
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	EXPECT_EQ(mm_regions(s), 0);
	// Neighbours of another level or permission stay apart.
	EXPECT_EQ(space_map(s, BASE, level_size(2), RW, 2, 0), 0);
	EXPECT_EQ(space_map(s, BASE + level_size(2), level_size(2), RW, 1, 0), 0);
	EXPECT_EQ(space_map(s, BASE + 2 * level_size(2), level_size(2), PROT_R, 1, 0), 0);
	EXPECT_EQ(mm_regions(s), 3);
	space_put(s);
}

TEST(space, errors, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE + 1, PAGE_SIZE, RW, 1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE + 1, RW, 1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, 0, RW, 1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE + PAGE_SIZE, level_size(2), RW, 2, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 2, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, level_size(2), RW, 3, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 0, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, -1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, 0, level_size(4), RW, 4, 0), -EINVAL);
	EXPECT_EQ(space_map(s, USER_END, PAGE_SIZE, RW, 1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, USER_END - PAGE_SIZE, 2 * PAGE_SIZE, RW, 1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, ~0ull & ~(PAGE_SIZE - 1), RW, 1, 0), -EINVAL);	// the sum overflows
	EXPECT_EQ(space_map(s, 0xffff800000000000ull, PAGE_SIZE, RW, 1, 0), -EINVAL);	// the kernel's half
	EXPECT_EQ(space_map(s, 0x800000000000ull, PAGE_SIZE, RW, 1, 0), -EINVAL);	// not canonical
	EXPECT_EQ(space_unmap(s, BASE + 1, PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_unmap(s, BASE, 0), -EINVAL);
	EXPECT_EQ(space_unmap(s, 0, USER_END + PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_unmap(s, ~0ull & ~(PAGE_SIZE - 1), 2 * PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_protect(s, BASE, 0, PROT_R), -EINVAL);
	EXPECT_EQ(space_protect(s, USER_END, PAGE_SIZE, PROT_R), -EINVAL);
	EXPECT_EQ(space_protect(s, BASE, PAGE_SIZE, PROT_R), -ENOENT);
	EXPECT_EQ(space_fault(s, BASE, false), -EFAULT);
	EXPECT_EQ(space_fault(s, USER_END, false), -EFAULT);
	EXPECT_EQ(space_fault(s, ~0ull, true), -EFAULT);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);		// a hole is fine
	EXPECT_EQ(mm_regions(s), 0);
	EXPECT_EQ(space_fault_current(BASE, false), -EFAULT);	// this thread runs in no space
	space_put(s);
}

TEST(space, overlaps, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 4 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, 0), -EEXIST);
	EXPECT_EQ(space_map(s, BASE + 3 * PAGE_SIZE, 2 * PAGE_SIZE, RW, 1, 0), -EEXIST);
	EXPECT_EQ(space_map(s, BASE - PAGE_SIZE, 2 * PAGE_SIZE, RW, 1, 0), -EEXIST);
	EXPECT_EQ(space_map(s, BASE - PAGE_SIZE, 8 * PAGE_SIZE, RW, 1, 0), -EEXIST);
	EXPECT_EQ(space_map(s, BASE, level_size(2), RW, 2, 0), -EEXIST);
	EXPECT_EQ(mm_regions(s), 1);
	EXPECT_EQ(s->mapped, 4);
	EXPECT_EQ(space_protect(s, BASE + 3 * PAGE_SIZE, 2 * PAGE_SIZE, PROT_R), -ENOENT);	// half a hole: what lies before it changes
	EXPECT_EQ(space_fault(s, BASE + 3 * PAGE_SIZE, true), -EFAULT);
	EXPECT_EQ(space_fault(s, BASE + 2 * PAGE_SIZE, true), 0);
	EXPECT_EQ(space_protect(s, BASE + 4 * PAGE_SIZE, 2 * PAGE_SIZE, PROT_R), -ENOENT);
	space_put(s);
}

TEST(space, cutting_large_pages, 0)
{
	struct space *s = space_create();
	u64 size = level_size(2);

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 2 * size, RW, 2, MAP_POPULATE), 0);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_unmap(s, BASE + PAGE_SIZE, size - PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_unmap(s, BASE - PAGE_SIZE, 2 * PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_unmap(s, BASE + 2 * size - PAGE_SIZE, 2 * PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_protect(s, BASE + size, PAGE_SIZE, PROT_R), -EINVAL);
	EXPECT_EQ(s->mapped, 2 * size >> PAGE_SHIFT);
	EXPECT_EQ(mm_regions(s), 1);
	EXPECT_EQ(space_unmap(s, BASE - PAGE_SIZE, size + PAGE_SIZE), 0);	// from a hole to the edge of a page
	EXPECT_EQ(s->mapped, size >> PAGE_SHIFT);
	space_put(s);
}

// The last page of the user half, and the first.
TEST(space, edges_of_the_user_half, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, USER_END - PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_map(s, 0, PAGE_SIZE, RW, 1, 0), 0);
	space_attach(s);
	EXPECT_EQ(arch_user_write64(USER_END - 8, 3), 0);
	EXPECT(mm_reads(USER_END - 8, 3) && mm_reads(0, 0));
	EXPECT(mm_faults(USER_END) && mm_faults(0xffff800000000000ull) && mm_faults(0x800000000000ull) && mm_faults(-8ull));
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	EXPECT(mm_faults(USER_END - 8) && mm_faults(0));
	space_detach();
	space_put(s);
}
