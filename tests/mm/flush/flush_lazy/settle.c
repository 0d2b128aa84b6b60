// SPDX-License-Identifier: MIT
// tlb_flush=lazy: operations that must not begin before a waiting flush is done.
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/map.h"
#include "mm/policy/switch.h"
#include "tests/mm/flush/flush_lazy/reader.h"
#include "tests/mm/help.h"

#if CHECK
static void map_anew(const struct reader *r)
{
	EXPECT_EQ(space_map(r->s, r->va, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(r->s);
	EXPECT_EQ(arch_user_write64(r->va, NEW), 0);
	space_detach();
}

static void map_only(const struct reader *r) { EXPECT_EQ(space_map(r->s, r->va, PAGE_SIZE, RW, 1, 0), 0); }

static void map_neighbour(const struct reader *r)
{
	EXPECT_EQ(space_map(r->s, r->va + PAGE_SIZE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
}

static void reserve_beside(const struct reader *r)
{
	EXPECT_EQ(space_map(r->s, r->va + 2 * PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
}

static void fault_beside(const struct reader *r) { EXPECT_EQ(space_fault(r->s, r->va + 2 * PAGE_SIZE, true), 0); }

// Above the page, in the same table, which stays.
static void stack_above(const struct reader *r)
{
	const struct region_kind k = { .prot = RW, .level = 1, .flags = REGION_GROWSDOWN };

	r->s->stack_limit = 16 * PAGE_SIZE;
	EXPECT_EQ(space_map_kind(r->s, r->va + 4 * PAGE_SIZE, PAGE_SIZE, &k), 0);
	EXPECT_EQ(space_fault(r->s, r->va + 4 * PAGE_SIZE, true), 0);
}

static void grow_over(const struct reader *r) { EXPECT_EQ(space_fault(r->s, r->va - PAGE_SIZE, true), 0); }

static void move_there(const struct reader *r)
{
	vaddr_t far = BASE - level_size(4);	// under other tables, for which nothing waits

	EXPECT_EQ(space_map(r->s, far, level_size(2), RW, 1, 0), 0);
	EXPECT_EQ(space_move(r->s, far, ALIGN_DOWN(r->va, level_size(2)), level_size(2)), 0);
}

static const struct region_kind small = { .prot = RW, .level = 1 };

static void map_kind(const struct reader *r) { EXPECT_EQ(space_map_kind(r->s, r->va, PAGE_SIZE, &small), 0); }
static void map_over(const struct reader *r) { EXPECT_EQ(space_map_over(r->s, r->va, PAGE_SIZE, &small), 0); }

static void map_anywhere(const struct reader *r)
{
	const struct map_place w = { .low = r->va, .high = r->va + PAGE_SIZE, .limit = r->va + PAGE_SIZE };

	EXPECT_EQ(space_map_anywhere(r->s, PAGE_SIZE, &small, &w), (s64)r->va);
}

// In place, over the page that was unmapped.
static void grow_there(const struct reader *r)
{
	const struct remap q = { .from = r->va - PAGE_SIZE, .from_len = PAGE_SIZE, .to_len = 2 * PAGE_SIZE, .low = BASE,
		.limit = USER_END };

	EXPECT_EQ(space_map(r->s, q.from, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_remap(r->s, &q), (s64)q.from);
}

// A page moves there by its leaf.
static void move_page_there(const struct reader *r)
{
	vaddr_t far = BASE - level_size(4);

	EXPECT_EQ(space_map(r->s, far, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_move(r->s, far, r->va, PAGE_SIZE), 0);
}

static void discard_it(const struct reader *r) { EXPECT_EQ(space_discard(r->s, r->va, PAGE_SIZE), 0); }

// Something new at the same address: without settling, the old page would be seen through the new mapping.
TEST(flush_lazy, same_address_settles_first, NEEDS_CPUS2) { reader_needs_settling(map_anew, NULL); }
// Also if the address is only reserved: the first access must fault and find zeroes.
TEST(flush_lazy, reserving_settles_first, NEEDS_CPUS2) { reader_needs_settling(map_only, NULL); }
TEST(flush_lazy, moving_there_settles_first, NEEDS_CPUS2) { reader_needs_settling(move_there, NULL); }
TEST(flush_lazy, every_way_to_reserve_settles_first, NEEDS_CPUS2)
{
	reader_needs_settling(map_kind, NULL);
	reader_needs_settling(map_over, NULL);
	reader_needs_settling(map_anywhere, NULL);
	reader_needs_settling(grow_there, NULL);
	reader_needs_settling(move_page_there, NULL);
}

// Another page under a waiting table: a CPU that still has the old table cached would not find it.
TEST(flush_lazy, under_a_waiting_table_settles_first, NEEDS_CPUS2) { reader_needs_settling(map_neighbour, NULL); }

TEST(flush_lazy, touched_under_a_waiting_table_settles_first, NEEDS_CPUS2) { reader_needs_settling(fault_beside, reserve_beside); }
// A stack grows over the page, at a touch of the page below it.
TEST(flush_lazy, growing_over_it_settles_first, NEEDS_CPUS2) { reader_needs_settling(grow_over, stack_above); }

// The space has another back-end by now, and what the old one has deferred still waits: a switch is under way, and has
// not drained yet.
static struct thread *changer;

static void join_changer(void)
{
	if (changer)
		mm_join(changer);
	changer = NULL;
}

static int change_to_ipi(void *space)
{
	return space_switch_pair(space, ((struct space *)space)->freer, flush_find("ipi"));
}

static void map_anew_under_another_back_end(const struct reader *r)
{
	struct stall_point *moved = stall_point("switch_moved");

	join_changer();			// of the previous round: it waits for that round's reader to sweep
	stall_arm(moved, r->s, 0, 0, 0);
	changer = mm_thread("changer", change_to_ipi, r->s, cpu_id());
	if (changer)
		stall_wait_parked(moved);
	EXPECT(r->s->backend == flush_find("ipi"));
	map_anew(r);
	stall_release(moved);
}

TEST(flush_lazy, another_back_end_settles_first, NEEDS_CPUS2)
{
	reader_needs_settling(map_anew_under_another_back_end, NULL);
	join_changer();
}

TEST(flush_lazy, discard_settles_what_it_does_not_find, NEEDS_CPUS2) { reader_needs_settling(discard_it, NULL); }
#endif
