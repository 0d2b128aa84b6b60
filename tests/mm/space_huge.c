// SPDX-License-Identifier: MIT
// Collapse of small pages into a large one, and split: contents, permissions, pins, errors, frames.
#include "kernel/errno.h"
#include "kernel/xcall.h"
#include "lab/inject.h"
#include "lab/test.h"
#include "mm/tlb.h"
#include "mm/tree.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/stamps.h"

static bool use_bits(struct space *s, vaddr_t va)
{
	pte_t *e;
	int level;

	mutex_lock(&s->lock);
	e = leaf_at(s, va, &level);
	mutex_unlock(&s->lock);
	return e && pte_dirty(pte_read(e)) && pte_accessed(pte_read(e));
}

// Collapse and split, twice: the second collapse deposits the table that the split used.
static void there_and_back(const struct table_policy *p, const struct flush_backend *b)
{
	struct mm_balance balance;
	struct page *table;
	struct space *s;

	mm_balance_begin(&balance);
	s = mm_populated(p, b, 2 * HUGE_SIZE);
	REQUIRE(s);
	space_attach(s);
	stamp_pages(BASE, 2 * PT_ENTRIES, 3);
	table = mm_table(s, BASE, 1);
	for (unsigned round = 0; round < 2; round++) {
		EXPECT_EQ(space_collapse(s, BASE), 0);
		EXPECT_EQ(leaf_level(s, BASE), 2);
		EXPECT_EQ(leaf_level(s, BASE + HUGE_SIZE), 1);
		EXPECT_EQ(mm_state(table), TABLE_QUIESCED);
		EXPECT_EQ(s->mapped, 2 * PT_ENTRIES);
		EXPECT(use_bits(s, BASE));
		EXPECT_EQ(stamped_pages(BASE, 2 * PT_ENTRIES, 3 + round), 2 * PT_ENTRIES);
		EXPECT_EQ(space_collapse(s, BASE), -EEXIST);
		EXPECT_EQ(space_split(s, BASE + 5 * PAGE_SIZE), 0);
		EXPECT_EQ(leaf_level(s, BASE), 1);
		EXPECT(mm_table(s, BASE, 1) == table && mm_state(table) == TABLE_LIVE);
		EXPECT_EQ(table->private, PT_ENTRIES);
		EXPECT(use_bits(s, BASE + 7 * PAGE_SIZE));
		EXPECT_EQ(stamped_pages(BASE, 2 * PT_ENTRIES, 3 + round), 2 * PT_ENTRIES);
		EXPECT_EQ(space_split(s, BASE), -ENOENT);
		stamp_pages(BASE, 2 * PT_ENTRIES, 4 + round);
	}
	EXPECT_EQ(space_collapse(s, BASE + HUGE_SIZE), 0);	// freed with the space
	EXPECT_EQ(mm_regions(s), 1);
	space_detach();
	space_put(s);
	mm_balance_end(&balance);
}

TEST(space_huge, there_and_back, 0) { under_each_pair(there_and_back); }

// An unmap, a protect or a discard that cuts a collapsed page splits it first; one that covers it does not.
static void cut(const struct table_policy *p, const struct flush_backend *b)
{
	struct mm_balance balance;
	struct space *s;

	mm_balance_begin(&balance);
	s = mm_populated(p, b, 3 * HUGE_SIZE);
	REQUIRE(s);
	space_attach(s);
	stamp_pages(BASE, 3 * PT_ENTRIES, 7);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(space_collapse(s, BASE + i * HUGE_SIZE), 0);
	EXPECT_EQ(space_unmap(s, BASE + 4 * PAGE_SIZE, PAGE_SIZE), 0);
	EXPECT(leaf_level(s, BASE) == 1 && leaf_level(s, BASE + HUGE_SIZE) == 2);
	EXPECT(mm_faults(BASE + 4 * PAGE_SIZE));
	EXPECT_EQ(stamped_pages(BASE, 4, 7), 4);
	EXPECT_EQ(s->mapped, 3 * PT_ENTRIES - 1);
	// from inside one collapsed page to inside the next but one, all of the middle one
	EXPECT_EQ(space_protect(s, BASE + PAGE_SIZE * 510, (u64)PAGE_SIZE * (PT_ENTRIES + 4), PROT_R), 0);
	EXPECT(leaf_level(s, BASE + HUGE_SIZE) == 2 && leaf_level(s, BASE + 2 * HUGE_SIZE) == 1);
	EXPECT_EQ(arch_user_write64(BASE + HUGE_SIZE + 8 * PAGE_SIZE, 1), -EFAULT);
	EXPECT_EQ(arch_user_write64(BASE + 2 * HUGE_SIZE + PAGE_SIZE, 1), -EFAULT);
	EXPECT_EQ(arch_user_write64(BASE + 2 * HUGE_SIZE + 2 * PAGE_SIZE + 8, 1), 0);
	EXPECT_EQ(space_discard(s, BASE + HUGE_SIZE + PAGE_SIZE, PAGE_SIZE), 0);
	EXPECT_EQ(leaf_level(s, BASE + HUGE_SIZE), 1);
	EXPECT_EQ(zero_pages(BASE + HUGE_SIZE + PAGE_SIZE, 1), 1);
	EXPECT_EQ(s->mapped, 3 * PT_ENTRIES - 1);
	EXPECT_EQ(space_collapse(s, BASE + HUGE_SIZE), 0);
	EXPECT_EQ(arch_user_write64(BASE + HUGE_SIZE, 1), -EFAULT);	// still forbidden
	EXPECT_EQ(space_unmap(s, BASE + HUGE_SIZE, 2 * HUGE_SIZE), 0);	// covered whole, with its deposit
	EXPECT_EQ(stamped_pages(BASE, 4, 7), 4);
	EXPECT_EQ(s->mapped, PT_ENTRIES - 1);
	space_detach();
	space_put(s);
	mm_balance_end(&balance);
}

TEST(space_huge, cut, 0) { under_each_pair(cut); }

TEST(space_huge, errors, 0)
{
	struct space *s = space_create_with(mm_freeing_policy(), NULL);
	struct mm_balance b;

	REQUIRE(s);
	mm_balance_begin(&b);
	EXPECT_EQ(space_collapse(s, BASE + PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_collapse(s, USER_END), -EINVAL);
	EXPECT_EQ(space_split(s, USER_END), -EINVAL);
	EXPECT_EQ(space_collapse(s, BASE), -ENOENT);
	EXPECT_EQ(space_split(s, BASE), -ENOENT);
	EXPECT_EQ(space_map(s, BASE, HUGE_SIZE - PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_collapse(s, BASE), -ENOENT);		// the region ends before
	EXPECT_EQ(space_map(s, BASE + HUGE_SIZE - PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_collapse(s, BASE), -ENOENT);		// one page is missing
	EXPECT_EQ(space_fault(s, BASE + HUGE_SIZE - 1, true), 0);
	EXPECT_EQ(space_protect(s, BASE, PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(space_collapse(s, BASE), -ENOENT);		// two permissions, two regions
	EXPECT_EQ(space_protect(s, BASE, PAGE_SIZE, RW), 0);
	EXPECT_EQ(space_collapse(s, BASE), 0);
	EXPECT_EQ(space_map(s, BASE + HUGE_SIZE, HUGE_SIZE, RW, 2, MAP_POPULATE), 0);
	EXPECT_EQ(space_collapse(s, BASE + HUGE_SIZE), -EINVAL);
	EXPECT_EQ(space_split(s, BASE + HUGE_SIZE), -EINVAL);
	EXPECT_EQ(space_discard(s, BASE + HUGE_SIZE, PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	mm_balance_end(&b);
	space_put(s);
}

// A pinned small page makes a collapse fail, a pinned large one a split and everything that needs it; nothing changes.
static void pins(const struct table_policy *p, const struct flush_backend *b)
{
	struct mm_balance balance;
	struct page *page, *table;
	struct space *s;

	mm_balance_begin(&balance);
	s = mm_populated(p, b, HUGE_SIZE);
	REQUIRE(s);
	space_attach(s);
	stamp_pages(BASE, PT_ENTRIES, 9);
	table = mm_table(s, BASE, 1);
	EXPECT_EQ(walk_pin(s, BASE + 300 * PAGE_SIZE, true, &page), 0);
	EXPECT_EQ(space_collapse(s, BASE), -EBUSY);
	EXPECT(mm_table(s, BASE, 1) == table && mm_state(table) == TABLE_LIVE && leaf_level(s, BASE) == 1);
	EXPECT_EQ(stamped_pages(BASE, PT_ENTRIES, 9), PT_ENTRIES);
	page_unpin(page, true);
	EXPECT_EQ(space_collapse(s, BASE), 0);
	EXPECT_EQ(walk_pin(s, BASE + 300 * PAGE_SIZE, true, &page), 0);
	EXPECT(page_head(page) == page - 300 && page_head(page)->private & PAGE_PIN_DIRTY);
	EXPECT_EQ(space_split(s, BASE), -EBUSY);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), -EBUSY);
	EXPECT_EQ(space_protect(s, BASE + PAGE_SIZE, PAGE_SIZE, PROT_R), -EBUSY);
	EXPECT_EQ(space_discard(s, BASE + PAGE_SIZE, PAGE_SIZE), -EBUSY);
	EXPECT(mm_regions(s) == 1 && leaf_level(s, BASE) == 2);
	EXPECT_EQ(stamped_pages(BASE, PT_ENTRIES, 9), PT_ENTRIES);
	EXPECT_EQ(space_unmap(s, BASE, HUGE_SIZE), 0);		// whole: the pin keeps the page
	EXPECT_EQ(*(u64 *)page_to_virt(page) & 0xffffffff, 301);
	page_unpin(page, true);
	space_detach();
	space_put(s);
	mm_balance_end(&balance);
}

TEST(space_huge, pins, 0) { under_each_pair(pins); }

// What a pin's holder wrote marks all pages of the large one as dirty, because nobody knows which page it was.
TEST(space_huge, pinned_dirty_is_kept, 0)
{
	struct space *s = mm_populated(policy_default(), flush_default(), HUGE_SIZE);
	struct page *page;

	REQUIRE(s);
	EXPECT_EQ(space_collapse(s, BASE), 0);
	EXPECT_EQ(walk_pin(s, BASE + 2 * PAGE_SIZE, true, &page), 0);
	page_unpin(page, true);
	EXPECT_EQ(space_split(s, BASE), 0);
	for (unsigned i = 0; i < PT_ENTRIES; i += 73)
		EXPECT_EQ(frame_at(s, BASE + i * PAGE_SIZE)->private, PAGE_PIN_DIRTY);
	EXPECT_EQ(frame_at(s, BASE + 2 * PAGE_SIZE)->refs, 1);
	space_put(s);
}

// No memory: a collapse needs a large frame, a split nothing; a cut allocates only for the regions.
TEST(space_huge, no_memory, NEEDS_CHECK)
{
	struct space *s = mm_populated(policy_default(), flush_default(), HUGE_SIZE);
	struct mm_balance b;

	REQUIRE(s);
	mm_balance_begin(&b);
	inject_alloc_failures_from(1);
	EXPECT_EQ(space_collapse(s, BASE), -ENOMEM);
	inject_alloc_failure(0);
	EXPECT_EQ(leaf_level(s, BASE), 1);
	mm_balance_end(&b);
	EXPECT_EQ(space_collapse(s, BASE), 0);
	inject_alloc_failures_from(1);
	EXPECT_EQ(space_unmap(s, BASE + PAGE_SIZE, PAGE_SIZE), -ENOMEM);
	EXPECT(leaf_level(s, BASE) == 2 && mm_regions(s) == 1);
	EXPECT_EQ(space_discard(s, BASE + PAGE_SIZE, PAGE_SIZE), 0);
	EXPECT(leaf_level(s, BASE) == 1 && mm_regions(s) == 1);
	inject_alloc_failure(0);
	EXPECT_EQ(space_fault(s, BASE + PAGE_SIZE, true), 0);
	EXPECT_EQ(s->mapped, PT_ENTRIES);
	EXPECT_EQ(space_collapse(s, BASE), 0);
	inject_alloc_failures_from(1);
	space_put(s);		// with its deposit
	inject_alloc_failure(0);
}

// A fault in a collapsed page finds the page present; so does the walk's slow path.
TEST(space_huge, faults_and_slow_walks, 0)
{
	struct space *s = mm_populated(policy_default(), flush_default(), HUGE_SIZE);
	struct page *page;

	REQUIRE(s);
	EXPECT_EQ(space_collapse(s, BASE), 0);
	EXPECT_EQ(space_fault(s, BASE + 9 * PAGE_SIZE, true), 0);
	EXPECT_EQ(leaf_level(s, BASE), 2);
	EXPECT_EQ(space_protect(s, BASE, HUGE_SIZE, PROT_R), 0);
	EXPECT_EQ(walk_pin(s, BASE + 9 * PAGE_SIZE, true, &page), -EFAULT);	// after the slow path
	EXPECT_EQ(space_fault(s, BASE + 9 * PAGE_SIZE, false), 0);
	EXPECT_EQ(walk_pin(s, BASE + 9 * PAGE_SIZE, false, &page), 0);
	EXPECT(page == frame_at(s, BASE) + 9);
	page_unpin(page, false);
	EXPECT_EQ(s->mapped, PT_ENTRIES);
	space_put(s);
}

static void still_loaded(void *held)
{
	if (this_cpu_read(cpu_tlb.loaded))
		fetch_add((u32 *)held, 1);
}

// The end of a space that every CPU still holds, with a collapsed page and its deposit in it.
static void exit_held(const struct table_policy *p, const struct flush_backend *b)
{
	struct mm_balance balance;
	struct space *s;
	u32 held = 0;

	mm_balance_begin(&balance);
	s = mm_populated(p, b, HUGE_SIZE);
	REQUIRE(s);
	EXPECT_EQ(space_collapse(s, BASE), 0);
	EXPECT_EQ(threads_run_on(&cpus_online, mm_visit, s), 0);
	if (!b->defer)		// otherwise a CPU that idles leaves by itself
		EXPECT_EQ(cpumask_weight(&s->cpus), nr_cpus);
	space_put(s);
	xcall_mask(&cpus_online, still_loaded, &held);
	EXPECT_EQ(held, 0);
	mm_balance_end(&balance);
}

TEST(space_huge, exit_of_a_held_space, 0) { under_each_pair(exit_held); }
