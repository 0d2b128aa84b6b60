// SPDX-License-Identifier: MIT
// Mapping in the place of what is there and wherever there is room, mremap(), shared objects, and what is resident.
#include "mm/map.h"
#include "kernel/errno.h"
#include "lab/inject.h"
#include "lab/test.h"
#include "mm/frame/page.h"
#include "mm/held.h"
#include "mm/object.h"
#include "mm/range.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/stamps.h"

static const struct region_kind small = { .prot = RW, .level = 1 };

static void replaces(const struct table_policy *p, const struct flush_backend *b)
{
	struct mm_balance balance;
	struct space *s;

	mm_balance_begin(&balance);
	s = mm_populated(p, b, 2 * HUGE_SIZE);
	REQUIRE(s);
	space_attach(s);
	stamp_pages(BASE, 2 * PT_ENTRIES, 1);
	EXPECT_EQ(space_collapse(s, BASE), 0);
	EXPECT_EQ(space_map_over(s, BASE + PAGE_SIZE, HUGE_SIZE, &small), 0);
	EXPECT_EQ(mm_regions(s), 1);			// of the same kind as what it replaces
	EXPECT_EQ(s->mapped, PT_ENTRIES);
	EXPECT(mm_reads(BASE, 1ull << 32 | 1) && mm_reads(BASE + PAGE_SIZE, 0));
	EXPECT(mm_reads(BASE + HUGE_SIZE, 0) && mm_reads(BASE + HUGE_SIZE + PAGE_SIZE, 1ull << 32 | (PT_ENTRIES + 2)));
	EXPECT_EQ(space_map_over(s, BASE - PAGE_SIZE, 2 * PAGE_SIZE, &(struct region_kind){ .prot = PROT_R, .level = 1 }), 0);
	EXPECT(mm_reads(BASE, 0) && space_fault(s, BASE, true) == -EFAULT);
	EXPECT_EQ(mm_regions(s), 2);
	space_detach();
	space_put(s);
	mm_balance_end(&balance);
}

TEST(map, over, 0) { under_each_pair(replaces); }

// Nothing was changed.
TEST(map, over_without_memory, NEEDS_CHECK)
{
	struct space *s = mm_populated(mm_freeing_policy(), NULL, 4 * PAGE_SIZE);
	int err = -ENOMEM;

	REQUIRE(s);
	for (unsigned n = 1; n < 8 && err; n++) {
		inject_alloc_failure(n);
		err = space_map_over(s, BASE + PAGE_SIZE, PAGE_SIZE, &(struct region_kind){ .prot = PROT_R, .level = 1 });
		EXPECT(!err || (err == -ENOMEM && inject_fired()));
		EXPECT(err || n > 2);				// the region, and the upper part of the one that it cuts
		inject_alloc_failure(0);
		if (err)
			EXPECT(mm_regions(s) == 1 && s->mapped == 4);
	}
	EXPECT(!err && mm_regions(s) == 3 && s->mapped == 3);
	space_put(s);
}

TEST(map, anywhere, 0)
{
	struct map_place w = { .low = BASE, .high = BASE + 16 * PAGE_SIZE, .limit = BASE + 16 * PAGE_SIZE };
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map_anywhere(s, 2 * PAGE_SIZE, &small, &w), (s64)w.high - 2 * (s64)PAGE_SIZE);
	w.hint = BASE + 8 * PAGE_SIZE + 5;
	EXPECT_EQ(space_map_anywhere(s, 2 * PAGE_SIZE, &small, &w), (s64)(BASE + 8 * PAGE_SIZE));
	EXPECT_EQ(space_map_anywhere(s, 2 * PAGE_SIZE, &small, &w), (s64)(BASE + 12 * PAGE_SIZE));	// the hint is taken
	w.hint = w.high - PAGE_SIZE;							// and here it would not end in time
	EXPECT_EQ(space_map_anywhere(s, 2 * PAGE_SIZE, &small, &w), (s64)(BASE + 10 * PAGE_SIZE));
	EXPECT_EQ(space_map_anywhere(s, 9 * PAGE_SIZE, &small, &w), -ENOMEM);
	EXPECT_EQ(space_map_anywhere(s, 8 * PAGE_SIZE, &small, &w), (s64)BASE);
	EXPECT_EQ(mm_regions(s), 1);
	EXPECT_EQ(space_map_anywhere(s, PAGE_SIZE, &small, &w), -ENOMEM);
	w.hint = 0;
	w.limit += 8 * PAGE_SIZE;			// no room below `high`, so above it
	EXPECT_EQ(space_map_anywhere(s, PAGE_SIZE, &small, &w), (s64)w.limit - (s64)PAGE_SIZE);
	w.hint = w.high + PAGE_SIZE;			// a wish may lie above it anyway
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(space_map_anywhere(s, PAGE_SIZE, &small, &w), (s64)w.hint);
	EXPECT_EQ(space_map_anywhere(s, PAGE_SIZE, &small, &w), (s64)BASE);	// and what nobody wished for does not
	EXPECT_EQ(space_map_anywhere(s, 0, &small, &w), -EINVAL);
	EXPECT_EQ(space_map_anywhere(s, 8, &small, &w), -EINVAL);
	space_put(s);
}

// ---- Objects --------------------------------------------------------------------------------------------------------

static struct space *with_object(const struct table_policy *p, const struct flush_backend *b, u64 pages)
{
	struct space *s = space_create_with(p, b);
	struct region_kind k = { .prot = RW, .level = 1, .flags = REGION_SHARED, .object = object_create(pages * PAGE_SIZE) };

	if (!EXPECT(s && k.object))
		return NULL;
	EXPECT_EQ(space_map_kind(s, BASE, pages * PAGE_SIZE, &k), 0);
	space_object_put(s, k.object);
	return s;
}

static s64 again(struct space *s, u64 pages)
{
	const struct remap q = { .from = BASE, .to_len = pages * PAGE_SIZE, .may_move = true, .low = FAR, .high = FAR + HUGE_SIZE,
		.limit = FAR + HUGE_SIZE };

	return space_remap(s, &q);
}

// Two mappings of one object: what is written by one is read by the other, whatever happens to the page tables; the pages
// go with the last region.
static void shares(const struct table_policy *p, const struct flush_backend *b)
{
	struct mm_balance balance;
	u64 objects = object_count(), object[2], offset[2];
	struct page *pin;
	struct space *s;
	vaddr_t second;

	mm_balance_begin(&balance);
	s = with_object(p, b, 600);
	REQUIRE(s);
	space_attach(s);
	second = (vaddr_t)again(s, 8);
	EXPECT_EQ(second, FAR + HUGE_SIZE - 8 * PAGE_SIZE);
	stamp_pages(BASE, 600, 1);
	EXPECT_EQ(stamped_pages(second, 8, 1), 8);
	EXPECT(space_shared_object(s, BASE + 3 * PAGE_SIZE + 4, &object[0], &offset[0]));
	EXPECT(space_shared_object(s, second + 3 * PAGE_SIZE + 4, &object[1], &offset[1]));
	EXPECT(object[0] == object[1] && offset[0] == offset[1] && offset[0] == 3 * PAGE_SIZE + 4);
	EXPECT_EQ(space_discard(s, BASE, 600 * PAGE_SIZE), 0);		// the object keeps them
	EXPECT_EQ(s->mapped, 8);
	EXPECT_EQ(stamped_pages(BASE, 600, 1), 600);
	EXPECT_EQ(walk_pin(s, second, true, &pin), 0);
	EXPECT_EQ(space_collapse(s, BASE), -EINVAL);
	EXPECT_EQ(space_unmap(s, BASE + PAGE_SIZE, 599 * PAGE_SIZE), 0);
	EXPECT_EQ(stamped_pages(second, 8, 1), 8);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(object_count(), objects + 1);
	EXPECT_EQ(space_unmap(s, second, 8 * PAGE_SIZE), 0);
	EXPECT_EQ(object_count(), objects);
	EXPECT_EQ(*(u64 *)page_to_virt(pin), 1ull << 32 | 1);		// a pin outlives it all
	page_unpin(pin, false);
	space_detach();
	space_put(s);
	mm_balance_end(&balance);
}

TEST(map, shared, 0) { under_each_pair(shares); }

// What goes with the space: what an object keeps although it is mapped nowhere, and once what is mapped twice.
TEST(map, held, 0)
{
	struct space *s = with_object(NULL, NULL, 600);

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE + 4 * HUGE_SIZE, HUGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_collapse(s, BASE + 4 * HUGE_SIZE), 0);
	EXPECT_EQ(space_held_pages(s), PT_ENTRIES);
	EXPECT_EQ(space_populate(s, BASE, 600 * PAGE_SIZE, PROT_W), 0);
	EXPECT_EQ(space_held_pages(s), PT_ENTRIES + 600);
	EXPECT(again(s, 8) > 0);
	EXPECT_EQ(space_populate(s, FAR + HUGE_SIZE - 8 * PAGE_SIZE, 7 * PAGE_SIZE, PROT_R), 0);
	EXPECT(s->mapped == PT_ENTRIES + 607 && space_held_pages(s) == PT_ENTRIES + 600);
	EXPECT_EQ(space_protect(s, BASE + PAGE_SIZE, PAGE_SIZE, PROT_R), 0);	// three regions of one object
	EXPECT_EQ(space_held_pages(s), PT_ENTRIES + 600);
	EXPECT_EQ(space_discard(s, BASE, 600 * PAGE_SIZE), 0);
	EXPECT(s->mapped == PT_ENTRIES + 7 && space_held_pages(s) == PT_ENTRIES + 600);
	EXPECT_EQ(space_unmap(s, BASE, 600 * PAGE_SIZE), 0);
	EXPECT_EQ(space_held_pages(s), PT_ENTRIES + 600);
	EXPECT_EQ(space_unmap(s, FAR, HUGE_SIZE), 0);
	EXPECT_EQ(space_held_pages(s), PT_ENTRIES);
	space_put(s);
}

// Neighbours are one region only where the object goes on, too; behind its end nothing can be touched.
TEST(map, offsets_and_ends, 0)
{
	struct space *s = with_object(NULL, NULL, 4);
	struct remap q = { .from = BASE, .from_len = 4 * PAGE_SIZE, .to_len = 6 * PAGE_SIZE, .low = FAR, .high = USER_END,
		.limit = USER_END };
	u64 object, offset;

	REQUIRE(s);
	EXPECT_EQ(space_protect(s, BASE + PAGE_SIZE, PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(mm_regions(s), 3);
	EXPECT_EQ(space_protect(s, BASE + PAGE_SIZE, PAGE_SIZE, RW), 0);
	EXPECT_EQ(mm_regions(s), 1);
	EXPECT_EQ(space_remap(s, &q), (s64)BASE);
	EXPECT_EQ(mm_regions(s), 1);
	EXPECT_EQ(space_fault_access(s, BASE + 3 * PAGE_SIZE, PROT_W), 0);
	EXPECT_EQ(space_fault_access(s, BASE + 4 * PAGE_SIZE, PROT_R), -ENXIO);
	EXPECT_EQ(space_fault(s, BASE + 4 * PAGE_SIZE, false), -EFAULT);
	EXPECT_EQ(space_move(s, BASE + 2 * PAGE_SIZE, FAR, PAGE_SIZE), 0);
	EXPECT_EQ(space_move(s, BASE, FAR + PAGE_SIZE, PAGE_SIZE), 0);	// the first page behind the third
	EXPECT_EQ(mm_regions(s), 4);
	EXPECT(space_shared_object(s, FAR + PAGE_SIZE + 8, &object, &offset) && offset == 8);
	EXPECT(!space_shared_object(s, BASE, &object, &offset));
	space_put(s);
}

// Shared memory that moves and grows goes on where the object does, which has kept what was there.
TEST(map, shared_moves_and_grows, 0)
{
	struct remap q = { .from = BASE, .from_len = 2 * PAGE_SIZE, .to_len = 6 * PAGE_SIZE, .may_move = true, .low = FAR,
		.high = FAR + HUGE_SIZE, .limit = FAR + HUGE_SIZE };
	struct space *s = with_object(NULL, NULL, 6);
	s64 to;

	REQUIRE(s);
	space_attach(s);
	stamp_pages(BASE, 6, 1);
	EXPECT_EQ(space_map_over(s, BASE + 2 * PAGE_SIZE, 4 * PAGE_SIZE, &small), 0);
	to = space_remap(s, &q);
	EXPECT_EQ(to, (s64)(FAR + HUGE_SIZE - 6 * PAGE_SIZE));
	EXPECT_EQ(stamped_pages((vaddr_t)to, 6, 1), 6);
	EXPECT_EQ(mm_regions(s), 2);
	space_detach();
	space_put(s);
}

TEST(map, objects_without_memory, NEEDS_CHECK)
{
	struct space *s = with_object(mm_freeing_policy(), NULL, 600);
	struct mm_balance b;
	int err = -ENOMEM;

	REQUIRE(s);
	mm_balance_begin(&b);
	for (unsigned n = 1; n < 10 && err; n++) {
		inject_alloc_failure(n);
		err = space_fault(s, BASE + 599 * PAGE_SIZE, true);
		EXPECT(!err || (err == -ENOMEM && inject_fired()));
		EXPECT(err || n > 5);	// three tables; two frames of pointers, of which the first, once made, stays
		inject_alloc_failure(0);
		if (err)
			EXPECT(!s->mapped && !mm_table(s, BASE, 3));
	}
	EXPECT_EQ(err, 0);
	space_put(s);
}

// ---- mremap() -------------------------------------------------------------------------------------------------------

TEST(map, remap, 0)
{
	struct remap q = { .from = BASE, .from_len = 4 * PAGE_SIZE, .to_len = 8 * PAGE_SIZE, .low = FAR, .high = FAR + HUGE_SIZE,
		.limit = FAR + HUGE_SIZE };
	struct space *s = mm_populated(NULL, NULL, 4 * PAGE_SIZE);

	REQUIRE(s);
	space_attach(s);
	stamp_pages(BASE, 4, 1);
	EXPECT_EQ(space_map(s, BASE + 6 * PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_remap(s, &q), -ENOMEM);		// no room, and it may not move
	q.may_move = true;
	EXPECT_EQ(space_remap(s, &q), (s64)(FAR + HUGE_SIZE - 8 * PAGE_SIZE));
	EXPECT_EQ(stamped_pages(FAR + HUGE_SIZE - 8 * PAGE_SIZE, 4, 1), 4);
	EXPECT_EQ(zero_pages(FAR + HUGE_SIZE - 4 * PAGE_SIZE, 4), 4);
	EXPECT(mm_faults(BASE) && mm_regions(s) == 2);
	// Back, shorter; the old place stays mapped, and empty.
	q = (struct remap){ .from = FAR + HUGE_SIZE - 8 * PAGE_SIZE, .from_len = 2 * PAGE_SIZE, .to_len = 2 * PAGE_SIZE,
		.fixed = true, .leave = true, .to = BASE + 5 * PAGE_SIZE, .low = BASE, .limit = USER_END };
	EXPECT_EQ(space_remap(s, &q), (s64)(BASE + 5 * PAGE_SIZE));	// over a region that was there
	EXPECT_EQ(stamped_pages(BASE + 5 * PAGE_SIZE, 2, 1), 2);
	EXPECT_EQ(zero_pages(FAR + HUGE_SIZE - 8 * PAGE_SIZE, 2), 2);
	EXPECT_EQ(mm_regions(s), 2);
	q.from_len = 0;
	q.leave = q.fixed = false;
	EXPECT_EQ(space_remap(s, &q), -EINVAL);		// private memory is not mapped twice
	q.from = FAR;
	EXPECT_EQ(space_remap(s, &q), -EFAULT);
	space_detach();
	space_put(s);
}

// A second mapping in the place of the first, which goes first, as on Linux; also where it goes in part.
TEST(map, remap_onto_itself, 0)
{
	struct remap q = { .from = BASE, .to_len = 2 * PAGE_SIZE, .fixed = true, .to = BASE, .low = BASE, .limit = USER_END };
	u64 objects = object_count();
	struct space *s = with_object(NULL, NULL, 2);

	REQUIRE(s);
	EXPECT_EQ(space_fault(s, BASE, true), 0);
	EXPECT_EQ(space_remap(s, &q), -EFAULT);
	EXPECT(!mm_regions(s) && !s->mapped && object_count() == objects);
	space_put(s);
	s = with_object(NULL, NULL, 2);
	REQUIRE(s);
	q.to = BASE + PAGE_SIZE;
	EXPECT_EQ(space_remap(s, &q), (s64)q.to);
	EXPECT_EQ(mm_regions(s), 2);
	space_put(s);
	EXPECT_EQ(object_count(), objects);
}

static void move_in_vain(struct space *s, const struct remap *q)
{
	EXPECT_EQ(space_remap(s, q), -EBUSY);
	EXPECT(mm_regions(s) == 2 && s->mapped == 2 * PT_ENTRIES);
	EXPECT_EQ(stamped_pages(BASE, PT_ENTRIES, 1), PT_ENTRIES);
	EXPECT_EQ(stamped_pages(FAR, PT_ENTRIES, 2), PT_ENTRIES);
}

// Whatever is pinned, a refusal leaves all as it was: the caller tries again. From BASE to FAR, a collapsed page each.
TEST(map, remap_refused_changes_nothing, 0)
{
	struct remap q = { .from = BASE, .from_len = 4 * PAGE_SIZE, .to_len = 2 * PAGE_SIZE, .fixed = true, .to = FAR, .low = BASE,
		.limit = USER_END };
	struct space *s = mm_populated(NULL, NULL, HUGE_SIZE);
	struct page *pin;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, FAR, HUGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(s);
	stamp_pages(BASE, PT_ENTRIES, 1);
	stamp_pages(FAR, PT_ENTRIES, 2);
	EXPECT(!space_collapse(s, BASE) && !space_collapse(s, FAR));
	EXPECT_EQ(walk_pin(s, BASE, false, &pin), 0);
	move_in_vain(s, &q);				// both its ends cut the page
	q.from_len = HUGE_SIZE;
	move_in_vain(s, &q);				// where it is shortened
	q.to_len = HUGE_SIZE;
	q.to = FAR + PAGE_SIZE;
	move_in_vain(s, &q);				// not aligned there: it moves in small pages
	page_unpin(pin, false);
	EXPECT_EQ(space_collapse(s, FAR), 0);
	EXPECT_EQ(walk_pin(s, FAR, false, &pin), 0);
	move_in_vain(s, &q);				// what is in the way is cut
	page_unpin(pin, false);
	EXPECT_EQ(space_remap(s, &q), (s64)q.to);
	EXPECT_EQ(stamped_pages(q.to, PT_ENTRIES, 1), PT_ENTRIES);
	space_detach();
	space_put(s);
}

// Where it fails for lack of memory, what was to move is where it was.
TEST(map, remap_without_memory, NEEDS_CHECK)
{
	struct remap q = { .from = BASE, .from_len = 4 * PAGE_SIZE, .to_len = 8 * PAGE_SIZE, .fixed = true, .to = FAR, .low = FAR,
		.limit = USER_END };
	struct space *s = mm_populated(mm_freeing_policy(), NULL, 5 * PAGE_SIZE);
	struct mm_balance b;
	s64 result = -ENOMEM;

	REQUIRE(s);
	space_attach(s);
	stamp_pages(BASE, 5, 1);
	mm_balance_begin(&b);
	for (unsigned n = 1; n < 12 && result < 0; n++) {
		inject_alloc_failure(n);
		result = space_remap(s, &q);
		EXPECT(result > 0 || (result == -ENOMEM && inject_fired()));
		EXPECT(result < 0 || n > 5);		// two regions, three tables
		inject_alloc_failure(0);
		if (result < 0) {
			EXPECT(mm_regions(s) == 1 && !mm_table(s, FAR, 3) && stamped_pages(BASE, 5, 1) == 5);
			mm_balance_end(&b);
		}
	}
	EXPECT_EQ(result, (s64)FAR);
	EXPECT(stamped_pages(FAR, 4, 1) == 4 && mm_regions(s) == 2);
	space_detach();
	space_put(s);
}

// ---- Ranges ---------------------------------------------------------------------------------------------------------

TEST(map, access, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, PROT_R, 1, 0), 0);
	EXPECT_EQ(space_map(s, BASE + PAGE_SIZE, PAGE_SIZE, PROT_R | PROT_X, 1, 0), 0);
	EXPECT_EQ(space_map(s, BASE + 2 * PAGE_SIZE, PAGE_SIZE, 0, 1, 0), 0);
	EXPECT_EQ(space_fault_access(s, BASE, PROT_R), 0);
	EXPECT_EQ(space_fault_access(s, BASE, PROT_X), -EACCES);
	EXPECT_EQ(space_fault_access(s, BASE, PROT_W), -EACCES);
	EXPECT_EQ(space_fault_access(s, BASE + PAGE_SIZE, PROT_X), 0);
	EXPECT_EQ(space_fault_access(s, BASE + 2 * PAGE_SIZE, PROT_R), -EACCES);
	EXPECT_EQ(space_fault_access(s, BASE + 3 * PAGE_SIZE, PROT_R), -EFAULT);
	EXPECT_EQ(space_fault_access(s, USER_END, PROT_R), -EFAULT);
	EXPECT_EQ(s->mapped, 2);
	EXPECT_EQ(space_populate(s, BASE, 2 * PAGE_SIZE, PROT_W), -EACCES);
	EXPECT_EQ(space_populate(s, BASE, 3 * PAGE_SIZE, PROT_R), -EACCES);
	space_put(s);
}

TEST(map, resident, 0)
{
	struct space *s = with_object(NULL, NULL, 4);
	u8 vec[8];

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE + 4 * PAGE_SIZE, 4 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_fault(s, BASE + PAGE_SIZE, true), 0);
	EXPECT_EQ(space_populate(s, BASE + 6 * PAGE_SIZE, 2 * PAGE_SIZE, PROT_W), 0);
	EXPECT_EQ(space_resident(s, BASE, 8, vec), 0);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(vec[i], i == 1 || i >= 6);
	EXPECT_EQ(space_discard(s, BASE, 8 * PAGE_SIZE), 0);
	EXPECT_EQ(space_resident(s, BASE, 8, vec), 0);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(vec[i], i == 1);		// the object's
	EXPECT_EQ(space_resident(s, BASE, 9, vec), -ENOENT);
	space_put(s);
}
