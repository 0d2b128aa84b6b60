// SPDX-License-Identifier: MIT
// The lockless walk, one thread: what it pins, what it refuses, what it does not do on the way.
#include "mm/walk.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/xcall.h"
#include "lab/inject.h"
#include "lab/lockcheck.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/tlb.h"
#include "mm/tree.h"
#include "tests/mm/frame/page/help.h"
#include "tests/mm/help.h"

static u64 *word_of(struct page *page) { return page_to_virt(page); }

static bool pins(struct space *s, vaddr_t va, bool write)
{
	struct page *page;

	if (walk_pin_fast(s, va, 1, write, &page) != 1)
		return false;
	page_unpin(page, false);
	return true;
}

// The walk finds the page that user accesses reach, to the word.
static void content_at(struct space *s, vaddr_t va)
{
	vaddr_t word = va & ~7ull;
	struct page *page;
	u64 v = 0;

	EXPECT_EQ(arch_user_write64(word, word ^ 0x55), 0);
	REQUIRE(walk_pin_fast(s, va, 1, true, &page) == 1);
	EXPECT_EQ(word_of(page)[word % PAGE_SIZE / 8], word ^ 0x55);
	word_of(page)[word % PAGE_SIZE / 8] = word ^ 0xaa;
	EXPECT(!arch_user_read64(word, &v) && v == (word ^ 0xaa));
	EXPECT_EQ(page_head(page)->refs, 2);
	page_unpin(page, true);
}

static void content(int level)
{
	u64 size = level_size(level);
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create();
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, size, RW, level, MAP_POPULATE), 0);
	space_attach(s);
	content_at(s, BASE);
	content_at(s, BASE + 4095);
	content_at(s, BASE + size / 2);
	content_at(s, BASE + size - PAGE_SIZE);
	content_at(s, BASE + size - 1);
	EXPECT(!pins(s, BASE - 1, false) && !pins(s, BASE + size, false));
	space_detach();
	space_put(s);
	mm_balance_end(&b);
}

TEST(walk, content_4k, 0) { content(1); }
TEST(walk, content_2m, 0) { content(2); }
TEST(walk, content_1g, NEEDS_MEM_1G)
{
	if (!arch_has_page_size(3))
		SKIP("the CPU has no 1 GiB pages");
	content(3);
}

// The pages of a large one: its frames in order, one count for all on the head.
TEST(walk, subpages, 0)
{
	struct space *s = space_create();
	struct page *pages[PT_ENTRIES], *head;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, level_size(2), RW, 2, MAP_POPULATE), 0);
	EXPECT_EQ(walk_pin_range(s, BASE, PT_ENTRIES, true, pages), PT_ENTRIES);
	head = page_head(pages[1]);
	EXPECT(head == pages[0]);
	EXPECT_EQ(head->refs, 1 + PT_ENTRIES);
	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		EXPECT(pages[i] == head + i && page_head(pages[i]) == head);
		page_unpin(pages[i], i == 7);
	}
	EXPECT_EQ(head->refs, 1);
	EXPECT(head->private & PAGE_PIN_DIRTY);
	space_put(s);
}

TEST(walk, permissions, 0)
{
	struct space *s = space_create();
	struct page *page;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, PROT_R, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE + level_size(2), level_size(2), PROT_R, 2, MAP_POPULATE), 0);
	for (unsigned i = 0; i < 2; i++) {
		vaddr_t va = BASE + i * level_size(2);

		EXPECT(pins(s, va, false));
		EXPECT(!pins(s, va, true));
		EXPECT_EQ(walk_pin(s, va, true, &page), -EFAULT);
		EXPECT_EQ(walk_pin_range(s, va, 1, true, &page), 0);
		EXPECT_EQ(space_protect(s, va, level_size((int)i + 1), RW), 0);
		EXPECT(pins(s, va, true));
		EXPECT_EQ(space_protect(s, va, level_size((int)i + 1), 0), 0);
		EXPECT(!pins(s, va, false));
	}
	space_put(s);
}

// Take a permission from the entry of `level` on the way to va, walk, and restore it.
static void without(struct space *s, vaddr_t va, int level, pte_t (*less)(pte_t))
{
	pte_t *e, old;

	mutex_lock(&s->lock);
	e = tree_find(s, va, level, NULL);
	mutex_unlock(&s->lock);
	REQUIRE(e);
	old = pte_read(e);
	pte_write(e, less(old));
	EXPECT(!pins(s, va, true));
	EXPECT_EQ(pins(s, va, false), less == pte_without_write);
	pte_write(e, old);
	EXPECT(pins(s, va, true));
}

TEST(walk, permissions_are_anded, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	for (int level = 1; level <= PT_LEVELS; level++) {
		without(s, BASE, level, pte_without_write);
		without(s, BASE, level, pte_without_user);
		without(s, BASE, level, pte_without_valid);
	}
	space_put(s);
}

// A walker that may read garbage must not follow an entry out of RAM, let alone touch a descriptor for it.
static void expect_not_followed(struct space *s, int level, paddr_t bad)
{
	pte_t *e, old;

	mutex_lock(&s->lock);
	e = tree_find(s, BASE, level, NULL);
	mutex_unlock(&s->lock);
	REQUIRE(e);
	old = pte_read(e);
	pte_write(e, pte_with_addr(old, bad));
	EXPECT(!pins(s, BASE, false));
	pte_write(e, old);
}

TEST(walk, entry_out_of_ram, 0)
{
	FOR_EACH_POLICY(p) {
		struct space *s;

		if (!(*p)->distrusts)
			continue;
		s = space_create_with(*p, flush_find("ipi"));
		REQUIRE(s);
		EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		for (int level = 1; level <= PT_LEVELS; level++) {
			expect_not_followed(s, level, page_map_frames << PAGE_SHIFT);
			expect_not_followed(s, level, page_hole());
			expect_not_followed(s, level, pte_addr(~0ull) & ~(level_size(4) - 1));
		}
		EXPECT(pins(s, BASE, false));
		space_put(s);
	}
}

TEST(walk, faults_in_by_the_slow_path, 0)
{
	struct space *s = space_create();
	struct page *page, *again;
	struct counters before, after;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 4 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(walk_pin_fast(s, BASE, 1, false, &page), 0);
	counters_snapshot(&before);
	EXPECT_EQ(walk_pin(s, BASE, true, &page), 0);
	EXPECT_EQ(walk_pin(s, BASE, true, &again), 0);
	counters_snapshot(&after);
	counters_sub(&after, &after, &before);
	EXPECT(page == again);
	EXPECT_EQ(page->refs, 3);
	if (CHECK)
		EXPECT_EQ(after.walks, 2);
	if (CHECK)
		EXPECT_EQ(after.walks_fast, 1);
	EXPECT_EQ(after.walks_slow, 1);
	EXPECT_EQ(after.faults, 1);
	page_unpin(page, false);
	page_unpin(again, false);
	EXPECT_EQ(page->refs, 1);
	EXPECT_EQ(s->mapped, 1);
	space_put(s);
}

// The page is pinned, then unmapped, then even its space is freed: the frame and its contents stay until the pin ends.
static void survives(int level)
{
	struct mm_balance b;
	struct space *s;
	struct page *page;

	mm_balance_begin(&b);
	s = space_create();
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, level_size(level), RW, level, MAP_POPULATE), 0);
	EXPECT_EQ(walk_pin(s, BASE + level_size(level) - 1, true, &page), 0);
	word_of(page)[3] = 0x1234;
	EXPECT_EQ(space_unmap(s, BASE, level_size(level)), 0);
	space_put(s);
	for (int i = 0; i < 32; i++) {		// these would take the frame if it were free
		struct page *p = page_alloc((unsigned)(level - 1) * PT_BITS, PAGE_KERNEL, 0);

		if (!p)
			break;
		memset(page_to_virt(p), 0xff, PAGE_SIZE);
		page_put(p);
	}
	EXPECT_EQ(page_head(page)->refs, 1);
	EXPECT_EQ(page_head(page)->kind, PAGE_ANON);
	EXPECT_EQ(word_of(page)[3], 0x1234);
	EXPECT_EQ(word_of(page)[4], 0);
	page_unpin(page, true);
	mm_balance_end(&b);
}

TEST(walk, pinned_survives_unmap_4k, 0) { survives(1); }
TEST(walk, pinned_survives_unmap_2m, 0) { survives(2); }

struct cost {
	u64 cr3, locks, interrupts_off, joined;
	unsigned got;
	bool allocated;
};

// Interrupts are off around the walk, so that only the walk itself is counted.
static void measure(struct space *s, unsigned n, struct page **pages, struct cost *c)
{
	irqflags_t flags = irq_save();
	u64 cr3 = mm_counted_here(cr3_writes), locks = spin_locks_taken();

	inject_alloc_failures_from(1);
	c->got = walk_pin_fast(s, BASE, n, true, pages);
	c->allocated = inject_fired();
	inject_alloc_failure(0);
	c->cr3 = mm_counted_here(cr3_writes) - cr3;
	c->locks = spin_locks_taken() - locks;
	irq_restore(flags);
}

static void costs_nothing(const struct table_policy *p, bool local)
{
	struct space *s = space_create_with(p, flush_find("ipi"));
	struct page *pages[16];
	struct cost c;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, sizeof(pages) / sizeof(*pages) * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	if (local)
		space_attach(s);
	for (unsigned n = 1; n <= ARRAY_SIZE(pages); n += ARRAY_SIZE(pages) - 1) {
		measure(s, n, pages, &c);
		EXPECT_EQ(c.got, n);
		EXPECT_EQ(c.cr3, 0);
		EXPECT_EQ(c.locks, 0);
		EXPECT(!c.allocated);
		for (unsigned i = 0; i < c.got; i++)
			page_unpin(pages[i], false);
	}
	EXPECT(cpumask_empty(&s->walkers));
	if (local)
		space_detach();
	space_put(s);
}

// No lock, no root, no memory, under any policy, whether the space is loaded here or not.
TEST(walk, fast_path_costs_nothing, NEEDS_CHECK)
{
	FOR_EACH_POLICY(p) {
		costs_nothing(*p, true);
		costs_nothing(*p, false);
	}
}

TEST(walk, remote, 0)
{
	struct space *here = space_create(), *s = space_create();
	struct counters before, after;

	REQUIRE(here && s);
	EXPECT_EQ(space_map(here, BASE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(here);
	EXPECT_EQ(arch_user_write64(BASE, 1), 0);
	counters_snapshot(&before);
	EXPECT(pins(s, BASE, true));
	EXPECT(pins(here, BASE, true));
	counters_snapshot(&after);
	if (CHECK)
		EXPECT_EQ(after.walks_remote - before.walks_remote, 1);
	EXPECT(arch_current_root() == here->root_pa);
	space_detach();
	space_put(here);
	space_put(s);
}

struct interrupt_walk {
	struct space *s;
	unsigned got;
	bool was_in_irq;
};

static void walk_in_interrupt(void *arg)
{
	struct interrupt_walk *i = arg;
	struct page *page;

	i->was_in_irq = in_irq();
	i->got = walk_pin_fast(i->s, BASE, 1, false, &page);
	if (i->got)
		page_unpin(page, false);
}

TEST(walk, in_an_interrupt, NEEDS_CPUS2)
{
	FOR_EACH_POLICY(p) {
		struct interrupt_walk i = { .s = space_create_with(*p, flush_find("ipi")) };

		REQUIRE(i.s);
		EXPECT_EQ(space_map(i.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		xcall_one(mm_other_cpu(0), walk_in_interrupt, &i);
		EXPECT(i.was_in_irq);
		EXPECT_EQ(i.got, 1);
		EXPECT(cpumask_empty(&i.s->walkers));
		space_put(i.s);
	}
}
