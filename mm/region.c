// SPDX-License-Identifier: MIT
// Regions: what may be where in a space. A sorted list; and, once there are many, a tree beside it, by which a region is
// found among thousands. Most spaces here have few, and there the list alone is faster.
#include "mm/region.h"
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "mm/frame/slab.h"
#include "mm/object.h"

enum { MANY = 16, FEW = 8 };	// from so many on there is a tree; from so few on there is none

static struct slab_cache *regions;

void region_init(void)
{
	regions = slab_create("region", sizeof(struct region), 8);
	BUG_ON(!regions);
	object_init();
}

// ---- In and out -----------------------------------------------------------------------------------------------------

static __noinline void make_tree(struct space *s)
{
	list_for_each(it, &s->regions)
		region_tree_insert(s, list_entry(it, struct region, link));
}

static __always_inline void link_before(struct space *s, struct region *next, struct region *r)
{
	list_push_back(next ? &next->link : &s->regions, &r->link);
	s->nr_regions++;
	if (unlikely(s->region_tree))
		region_tree_insert(s, r);
	else if (unlikely(s->nr_regions >= MANY))
		make_tree(s);
}

static __always_inline void unlink(struct space *s, struct region *r)
{
	list_remove(&r->link);
	s->nr_regions--;
	if (likely(!s->region_tree))
		return;
	region_tree_remove(s, r);
	if (s->nr_regions <= FEW)
		s->region_tree = NULL;
}

static __always_inline void resize(struct space *s, struct region *r, vaddr_t start, vaddr_t end)
{
	r->start = start;
	r->end = end;
	if (unlikely(s->region_tree))
		region_tree_resized(s, r);
}

void region_drop(struct region *r)
{
	if (r->object)
		object_put(r->object);
	slab_free(regions, r);
}

static __always_inline void region_free(struct space *s, struct region *r)
{
	unlink(s, r);
	if (unlikely(r->object))
		object_put(r->object);
	slab_free(regions, r);
}

struct region_kind region_kind_at(const struct region *r, vaddr_t va)
{
	return (struct region_kind){ .prot = r->prot, .level = r->level, .flags = r->flags, .object = r->object,
		.offset = r->object ? r->offset + (va - r->start) : 0 };
}

static __always_inline struct region *make(struct space *s, vaddr_t start, vaddr_t end, const struct region_kind *k)
{
	struct region *r = likely(s->nr_regions < REGIONS_MAX) ? slab_alloc(regions) : NULL;

	if (!r)
		return NULL;
	r->start = start;
	r->end = end;
	r->prot = k->prot;
	r->level = k->level;
	r->flags = k->flags;
	r->object = k->object;
	r->offset = k->offset;
	if (unlikely(k->object))
		object_get(k->object);
	return r;
}

struct region *region_make(struct space *s, vaddr_t start, vaddr_t end, const struct region_kind *k)
{
	return make(s, start, end, k);
}

void region_insert(struct space *s, struct region *r) { link_before(s, region_first_from(s, r->start), r); }

static __always_inline int add(struct space *s, vaddr_t start, vaddr_t end, const struct region_kind *k)
{
	struct region *next = region_first_from(s, start), *r;

	if (next && next->start < end)
		return -EEXIST;
	r = make(s, start, end, k);
	if (!r)
		return -ENOMEM;
	link_before(s, next, r);
	return 0;
}

int __hot region_add(struct space *s, vaddr_t start, vaddr_t end, unsigned prot, int level)
{
	const struct region_kind k = { .prot = (u8)prot, .level = (u8)level };

	return add(s, start, end, &k);
}

int region_add_kind(struct space *s, vaddr_t start, vaddr_t end, const struct region_kind *k)
{
	return add(s, start, end, k);
}

static __noinline bool remove_many(struct space *s, struct region *first, vaddr_t end)
{
	struct region *r, *next;

	for (r = first; r && r->start < end; r = region_next(s, r))
		if (r->end > end)
			return false;
	for (r = first; r && r->start < end; r = next) {
		next = region_next(s, r);
		region_free(s, r);
	}
	return true;
}

// Most often it is one.
bool __hot region_remove_whole(struct space *s, vaddr_t start, vaddr_t end)
{
	struct region *r = region_first_from(s, start);

	if (!r || r->start >= end)
		return true;
	if (r->start < start || r->end > end)
		return false;
	if (r->link.next != &s->regions && list_entry(r->link.next, struct region, link)->start < end)
		return remove_many(s, r, end);
	region_free(s, r);
	return true;
}

void region_remove_range(struct space *s, vaddr_t start, vaddr_t end)
{
	struct region *next;

	for (struct region *r = region_first_from(s, start); r && r->start < end; r = next) {
		next = region_next(s, r);
		if (r->start >= start && r->end <= end)
			region_free(s, r);
	}
}

// ---- Split, merge, move ---------------------------------------------------------------------------------------------

static int split_one(struct space *s, vaddr_t va)
{
	struct region *r = region_find(s, va), *upper;
	struct region_kind k;

	if (!r || r->start == va)
		return 0;
	k = region_kind_at(r, va);
	upper = make(s, va, r->end, &k);
	if (!upper)
		return -ENOMEM;
	r->end = va;		// the insertion passes r, and so corrects the tree
	link_before(s, region_next(s, r), upper);
	return 0;
}

bool region_cuts_large_page(struct space *s, vaddr_t va)
{
	struct region *r = region_find(s, va);

	return r && va & (level_size(r->level) - 1);
}

int region_split_at(struct space *s, vaddr_t start, vaddr_t end)
{
	int err;

	if (region_cuts_large_page(s, start) || region_cuts_large_page(s, end))
		return -EINVAL;
	err = split_one(s, start);
	if (!err)
		err = split_one(s, end);
	if (err)
		region_merge_range(s, start, end);
	return err;
}

static __always_inline bool joins(const struct region *a, const struct region *b)
{
	return a->end == b->start && a->prot == b->prot && a->level == b->level && a->flags == b->flags &&
	       a->object == b->object && (likely(!a->object) || a->offset + (a->end - a->start) == b->offset);
}

void __hot region_merge_range(struct space *s, vaddr_t start, vaddr_t end)
{
	struct region *r = region_first_from(s, start ? start - 1 : 0), *next;

	for (; r && r->start < end; r = next) {
		next = region_next(s, r);
		if (next && joins(r, next)) {
			vaddr_t to = next->end;

			region_free(s, next);
			resize(s, r, r->start, to);
			next = r;
		}
	}
}

void region_move(struct space *s, vaddr_t from, vaddr_t to, u64 len)
{
	struct region *next, *r;
	struct list moving;

	list_init(&moving);
	for (r = region_first_from(s, from); r && r->end <= from + len; r = next) {
		next = region_next(s, r);
		unlink(s, r);
		r->start += to - from;
		r->end += to - from;
		list_push_back(&moving, &r->link);
	}
	next = region_first_from(s, to);
	while (!list_empty(&moving))
		link_before(s, next, list_entry(list_pop_front(&moving), struct region, link));
}

vaddr_t region_covered_until(struct space *s, vaddr_t start, vaddr_t end)
{
	struct region *r = region_find(s, start);

	while (r && r->start <= start && start < end) {
		start = r->end;
		r = region_next(s, r);
	}
	return MIN(start, end);
}

// ---- Free places ----------------------------------------------------------------------------------------------------

bool region_is_free(struct space *s, vaddr_t start, vaddr_t end)
{
	struct region *r = region_first_from(s, start);

	return !r || region_guarded_start(r) >= end;
}

// One after another, from above.
static vaddr_t find_gap(struct space *s, u64 len, u64 align, vaddr_t low, vaddr_t high)
{
	struct region *r = region_first_from(s, high), *below;

	below = r ? region_prev(s, r) : list_empty(&s->regions) ? NULL : list_entry(s->regions.prev, struct region, link);
	for (;; below = region_prev(s, r)) {
		vaddr_t bottom = below ? MAX(below->end, low) : low, top = r ? MIN(region_guarded_start(r), high) : high;

		if (top > bottom && top - bottom >= len && ALIGN_DOWN(top - len, align) >= bottom)
			return ALIGN_DOWN(top - len, align);
		if (!below || below->start <= low)
			return 0;
		r = below;
	}
}

vaddr_t region_find_gap(struct space *s, u64 len, u64 align, vaddr_t low, vaddr_t high)
{
	return s->region_tree ? region_tree_hole(s, len, align, low, high) : find_gap(s, len, align, low, high);
}

// As Linux: a neighbour that nothing may touch is a guard itself.
struct region *region_grow_down(struct space *s, vaddr_t va)
{
	struct region *r = region_first_from(s, va), *below;
	vaddr_t start = ALIGN_DOWN(va, PAGE_SIZE);

	if (!r || !(r->flags & REGION_GROWSDOWN) || start < USER_LOWEST || r->end - start > READ_ONCE(s->stack_limit))
		return NULL;
	below = region_prev(s, r);
	if (below && below->prot && !(below->flags & REGION_GROWSDOWN) && start - below->end < STACK_GUARD)
		return NULL;
	resize(s, r, start, r->end);
	return r;
}
