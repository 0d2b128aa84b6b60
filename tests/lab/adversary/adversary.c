// SPDX-License-Identifier: MIT
// The software MMU: what each invalidation drops, in both modes; and what it finds when a flush is left out.
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/inval.h"
#include "mm/space.h"
#include "mm/tree.h"
#include "mm/walk.h"
#include "tests/mm/help.h"

#if CHECK

static bool tables_cached(unsigned cpu)
{
	return swmmu_has_table(cpu, BASE, 3) && swmmu_has_table(cpu, BASE, 2) && swmmu_has_table(cpu, BASE, 1);
}

static bool any_cached(unsigned cpu)
{
	return swmmu_has_leaf(cpu, BASE) || swmmu_has_leaf(cpu, BASE + PAGE_SIZE) || swmmu_has_table(cpu, BASE, 3) ||
	       swmmu_has_table(cpu, BASE, 2) || swmmu_has_table(cpu, BASE, 1);
}

static void prime_both(unsigned cpu)
{
	EXPECT(swmmu_prime(cpu, BASE) && swmmu_prime(cpu, BASE + PAGE_SIZE));
	EXPECT(swmmu_has_leaf(cpu, BASE) && swmmu_has_leaf(cpu, BASE + PAGE_SIZE) && tables_cached(cpu));
}

// Interrupts are off throughout, so that nothing is cached but what is primed here.
static void each_invalidation(struct space *s)
{
	irqflags_t flags = irq_save();
	unsigned cpu = cpu_id();

	prime_both(cpu);
	inval_page(BASE, false);
	EXPECT(!swmmu_has_leaf(cpu, BASE) && swmmu_has_leaf(cpu, BASE + PAGE_SIZE));
	EXPECT(!swmmu_has_table(cpu, BASE, 3) && !swmmu_has_table(cpu, BASE, 2) && !swmmu_has_table(cpu, BASE, 1));
	swmmu_set_mode(SWMMU_WEAKEST);
	prime_both(cpu);
	inval_page(BASE, false);
	EXPECT(!swmmu_has_leaf(cpu, BASE) && swmmu_has_leaf(cpu, BASE + PAGE_SIZE) && tables_cached(cpu));
	inval_page(BASE, true);
	EXPECT(!swmmu_has_table(cpu, BASE, 3) && !swmmu_has_table(cpu, BASE, 2) && !swmmu_has_table(cpu, BASE, 1));
	swmmu_set_mode(SWMMU_X86);
	prime_both(cpu);
	inval_user();
	EXPECT(!any_cached(cpu));
	prime_both(cpu);
	inval_all();
	EXPECT(!any_cached(cpu));
	prime_both(cpu);
	inval_load_root(s->root_pa);
	EXPECT(!any_cached(cpu));
	irq_restore(flags);
}

// A stale table pointer may lead anywhere, even to a reserved frame, which need not be memory that the kernel can read.
// In QEMU this frame is, on the host it is not; the software MMU must not read it.
TEST(adversary, reserved_frame_is_no_table, 0)
{
	struct page *reserved = page_of(0);
	struct space *s = space_create_with(policy_find("ipi"), flush_find("ipi"));
	irqflags_t flags;
	u64 before;
	pte_t *e;

	REQUIRE(s && reserved->kind == PAGE_RESERVED);
	EXPECT_EQ(space_map(s, BASE + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	mutex_lock(&s->lock);
	e = tree_find(s, BASE, 2, NULL);
	mutex_unlock(&s->lock);
	REQUIRE(e);
	space_attach(s);
	flags = irq_save();
	before = mm_counted_here(swmmu_dead_ends);
	pte_write(e, pte_make_table(page_to_phys(reserved)));
	EXPECT(!swmmu_prime(cpu_id(), BASE));
	EXPECT(swmmu_has_table(cpu_id(), BASE, 1));	// … but has cached the pointer to it, as hardware does
	EXPECT_EQ(mm_counted_here(swmmu_dead_ends) - before, 1);
	pte_write(e, 0);
	inval_user();
	irq_restore(flags);
	space_detach();
	space_put(s);
}

static struct space *two_pages(void) { return mm_populated(policy_find("ipi"), flush_find("ipi"), 2 * PAGE_SIZE); }

TEST(adversary, each_invalidation_drops_what_it_must, NEEDS_CHECK)
{
	struct space *s;

	swmmu_quiet(true);
	s = two_pages();
	if (s) {
		space_attach(s);
		each_invalidation(s);
		space_detach();
		space_put(s);
	}
	swmmu_quiet(false);
}

// ---- What the scans find -------------------------------------------------------------------------------------------------

static u64 found_in(struct page *head, unsigned order)
{
	u64 before = swmmu_violations();

	swmmu_page_freed(head, order);
	return swmmu_violations() - before;
}

static struct page *frame_of(struct space *s, vaddr_t va)
{
	struct page *page = NULL;

	if (EXPECT_EQ(walk_pin(s, va, false, &page), 0))
		page_unpin(page, false);
	return page;
}

#define LARGE (BASE + level_size(3))

// This CPU has cached a small leaf and a large one: any block that shares a frame with them is found, and no other.
static void scan_by_frames(struct space *s, struct page *small, struct page *large, struct page *table)
{
	struct page *block = page_of(ALIGN_DOWN(page_to_phys(small), 8 * PAGE_SIZE));
	irqflags_t flags = irq_save();

	EXPECT(swmmu_prime(cpu_id(), BASE) && swmmu_prime(cpu_id(), LARGE));
	EXPECT_EQ(found_in(small, 0), 1);
	EXPECT_EQ(found_in(block, 3), 1);		// wherever in it the frame is
	EXPECT(found_in(small - 1, 1) && found_in(large - 1, 1));	// not the first frame of the block
	EXPECT_EQ(found_in(block + 8, 3), block + 8 == large);	// the large one may lie there
	EXPECT_EQ(found_in(large, PT_BITS), 1);
	EXPECT_EQ(found_in(large, 0), 1);
	EXPECT_EQ(found_in(large + 77, 0), 1);		// a part of what the leaf maps
	EXPECT_EQ(found_in(large + PT_ENTRIES - 1, 0), 1);
	EXPECT_EQ(found_in(large + PT_ENTRIES, 0), large + PT_ENTRIES == small);
	EXPECT_EQ(found_in(large - 1, 0), large - 1 == small);
	EXPECT_EQ(found_in(table, 0), 0);		// a pointer to it is cached, and no leaf
	EXPECT(swmmu_table_freed(table, s->policy));
	EXPECT(!swmmu_table_freed(small, s->policy));	// a leaf is cached, and no pointer to it
	inval_user();
	EXPECT_EQ(found_in(block, 3) + found_in(large, PT_BITS), 0);
	EXPECT(!swmmu_table_freed(table, s->policy));
	EXPECT(swmmu_table_freed(page_of(s->root_pa), s->policy));	// the loaded root
	EXPECT(swmmu_prime(cpu_id(), BASE));
	swmmu_vouch(cpu_id());				// the caller says that it has been flushed
	EXPECT_EQ(found_in(small, 0), 0);
	irq_restore(flags);
}

TEST(adversary, scans_by_frames, NEEDS_CHECK)
{
	struct space *s = space_create_with(policy_find("ipi"), flush_find("ipi"));
	struct page *small, *large, *table;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, LARGE, level_size(2), RW, 2, MAP_POPULATE), 0);
	small = frame_of(s, BASE);
	large = frame_of(s, LARGE);
	table = mm_table(s, BASE, 1);
	REQUIRE(small && large && table);
	swmmu_quiet(true);
	space_attach(s);
	oracle_expect_violations(true);
	scan_by_frames(s, small, large, table);
	oracle_expect_violations(false);
	space_detach();
	swmmu_quiet(false);
	space_put(s);
}

struct pending {
	struct page *page;
	u64 found;
	bool used;
};

static void look_at_pending(struct stall_point *p, void *arg)
{
	struct pending *pending = arg;

	pending->found = found_in(pending->page, 0);
	pending->used = swmmu_has_leaf(cpu_id(), BASE + PAGE_SIZE);
}

// An entry that a walk has stored and not yet confirmed may be older than a flush that has come in between. Then it is
// dropped, and nothing has used it.
TEST(adversary, what_is_pending_does_not_count, 0)
{
	struct pending pending = { .found = 1 };
	struct space *s;
	irqflags_t flags;

	swmmu_quiet(true);
	s = two_pages();
	REQUIRE(s);
	pending.page = frame_of(s, BASE + PAGE_SIZE);
	space_attach(s);
	oracle_expect_violations(true);
	flags = irq_save();
	stall_point("swmmu_pending")->action = look_at_pending;
	stall_point("swmmu_pending")->arg = &pending;
	stall_point("swmmu_pending")->cpu = (int)cpu_id();
	stall_arm(stall_point("swmmu_pending"), NULL, BASE + PAGE_SIZE, BASE + 2 * PAGE_SIZE, 1);
	EXPECT(swmmu_prime(cpu_id(), BASE + PAGE_SIZE));
	EXPECT_EQ(stall_point("swmmu_pending")->hits, 1);
	stall_release(stall_point("swmmu_pending"));
	EXPECT(pending.found == 0 && !pending.used);
	EXPECT_EQ(found_in(pending.page, 0), 1);	// confirmed
	inval_user();
	irq_restore(flags);
	oracle_expect_violations(false);
	space_detach();
	space_put(s);
	swmmu_quiet(false);
}

// ---- What it caches ------------------------------------------------------------------------------------------------------

// The entry that names the table is cleared in memory, but this CPU has cached it: its walk goes on from there.
TEST(adversary, walks_on_from_what_is_cached, 0)
{
	struct space *s;
	irqflags_t flags;
	pte_t *e, was;

	swmmu_quiet(true);
	s = two_pages();
	REQUIRE(s);
	e = (pte_t *)page_to_virt(mm_table(s, BASE, 2)) + pt_index(BASE, 2);
	space_attach(s);
	flags = irq_save();
	EXPECT(swmmu_prime(cpu_id(), BASE));
	was = pte_xchg(e, 0);
	EXPECT(swmmu_prime(cpu_id(), BASE + PAGE_SIZE));
	inval_user();
	EXPECT(!swmmu_prime(cpu_id(), BASE));
	pte_xchg(e, was);
	EXPECT(swmmu_prime(cpu_id(), BASE));
	irq_restore(flags);
	space_detach();
	space_put(s);
	swmmu_quiet(false);
}

#define MANY 128	// pages
#define PRIMED 39	// all places for leaves but one
#define FILLS 8		// of entries that are not primed: enough to evict something
#define TRIES 200000	// most of them find nothing to cache

static u64 fill(u64 most, unsigned tries)
{
	u64 before = mm_counted_here(swmmu_fills);

	while (tries-- && mm_counted_here(swmmu_fills) - before < most)
		swmmu_speculate();
	return mm_counted_here(swmmu_fills) - before;
}

static void fill_beside_what_is_primed(void)
{
	irqflags_t flags = irq_save();

	inval_user();
	swmmu_quiet(true);
	swmmu_quiet(true);
	swmmu_quiet(false);		// they nest
	EXPECT_EQ(fill(FILLS, 1000), 0);
	for (unsigned i = 0; i < PRIMED; i++)
		EXPECT(swmmu_prime(cpu_id(), BASE + i * PAGE_SIZE));
	swmmu_quiet(false);
	EXPECT_EQ(fill(FILLS, TRIES), FILLS);
	for (unsigned i = 0; i < PRIMED; i++)
		EXPECT(swmmu_has_leaf(cpu_id(), BASE + i * PAGE_SIZE));
	irq_restore(flags);
}

TEST(adversary, fills_at_random_beside_what_is_primed, 0)
{
	struct space *s = space_create_with(policy_find("ipi"), flush_find("ipi"));

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, MANY * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(s);
	fill_beside_what_is_primed();
	space_detach();
	space_put(s);
}

// Without priming, what an invalidation has dropped is cached again at ticks. Each tick looks at a few entries of a
// table, from where the last one ended.
#define MOST_TICKS 4000
TEST(adversary, fills_at_random, 0)
{
	struct space *s = mm_populated(policy_find("rcu"), flush_find("ipi"), PAGE_SIZE);
	irqflags_t flags;
	u64 before, start;

	REQUIRE(s);
	space_attach(s);
	flags = irq_save();
	inval_user();
	before = mm_counted_here(swmmu_fills);
	start = this_cpu_read(ticks);
	irq_restore(flags);
	while (mm_counted_here(swmmu_fills) == before && this_cpu_read(ticks) - start < MOST_TICKS)
		cpu_relax();
	log_info("filled after %lu ticks", this_cpu_read(ticks) - start);
	EXPECT(mm_counted_here(swmmu_fills) > before);
	space_detach();
	space_put(s);
}
#endif
