// SPDX-License-Identifier: MIT
// The regions of one space: a sorted list, and a tree beside it once there are many. All under the space's lock.
#pragma once
#include "mm/region_tree.h"

#define REGIONS_MAX 65530u		// of a space, as Linux's max_map_count
#define USER_LOWEST 0x10000ull		// nothing of a program's lies lower, as under Linux's mmap_min_addr
#define STACK_GUARD (256 * PAGE_SIZE)	// stays free below a region that grows down

static __always_inline struct region *region_first_from(struct space *s, vaddr_t va)	// first with end > va, or NULL
{
	if (unlikely(s->region_tree))
		return region_tree_first_from(s, va);
	list_for_each(it, &s->regions) {
		struct region *r = list_entry(it, struct region, link);

		if (r->end > va)
			return r;
	}
	return NULL;
}

static __always_inline struct region *region_find(struct space *s, vaddr_t va)	// that contains va, or NULL
{
	struct region *r = region_first_from(s, va);

	return r && r->start <= va ? r : NULL;
}

static __always_inline bool region_is_cut(struct space *s, vaddr_t va)	// would a boundary at va cut one?
{
	struct region *r = region_first_from(s, va);

	return r && r->start < va;
}

// Does another begin where r ends, or end where it begins?
static __always_inline bool region_meets_another(const struct space *s, const struct region *r)
{
	const struct list *before = r->link.prev, *next = r->link.next;

	return (before != &s->regions && list_entry(before, const struct region, link)->end == r->start) ||
	       (next != &s->regions && list_entry(next, const struct region, link)->start == r->end);
}

int region_add(struct space *s, vaddr_t start, vaddr_t end, unsigned prot, int level);	// -EEXIST, -ENOMEM
int region_add_kind(struct space *s, vaddr_t start, vaddr_t end, const struct region_kind *k);	// takes a count of the object
// The same in two steps, of which the second cannot fail where nothing is.
struct region *region_make(struct space *s, vaddr_t start, vaddr_t end, const struct region_kind *k);	// NULL: no memory
void region_insert(struct space *s, struct region *r);
void region_drop(struct region *r);	// made, and not inserted
static inline vaddr_t region_guarded_start(const struct region *r)	// others that look for a place stay below this
{
	u64 guard = r->flags & REGION_GROWSDOWN ? STACK_GUARD : 0;

	return r->start - MIN(guard, r->start);
}
struct region_kind region_kind_at(const struct region *r, vaddr_t va);	// as if it began at va
// Where [start, start + len) is free between low and high, as high as possible, and out of the way of what grows down.
// 0: nowhere.
vaddr_t region_find_gap(struct space *s, u64 len, u64 align, vaddr_t low, vaddr_t high);
bool region_is_free(struct space *s, vaddr_t start, vaddr_t end);	// and out of the way of what grows down
// A touch at va, where no region is: the region above that grows down is extended to that page. NULL: none, or it must not.
struct region *region_grow_down(struct space *s, vaddr_t va);
// Make sure that region boundaries lie at start and end. -EINVAL: that would cut a large page. -ENOMEM. On failure the
// regions describe the same memory as before.
int region_split_at(struct space *s, vaddr_t start, vaddr_t end);
bool region_cuts_large_page(struct space *s, vaddr_t va);	// would a boundary at va cut a page of its region's level?
void region_move(struct space *s, vaddr_t from, vaddr_t to, u64 len);	// boundaries were split before; `to` is free
// Remove what lies in the range, if neither end of it cuts a region; false: one does, and nothing has changed.
bool region_remove_whole(struct space *s, vaddr_t start, vaddr_t end);
void region_remove_range(struct space *s, vaddr_t start, vaddr_t end);	// boundaries were split before
void region_merge_range(struct space *s, vaddr_t start, vaddr_t end);	// join equal neighbours
vaddr_t region_covered_until(struct space *s, vaddr_t start, vaddr_t end);	// the first hole, or end
static inline bool region_covers(struct space *s, vaddr_t start, vaddr_t end)
{
	return region_covered_until(s, start, end) == end;
}
static inline struct region *region_next(struct space *s, struct region *r)	// NULL: it is the last
{
	return r->link.next == &s->regions ? NULL : list_entry(r->link.next, struct region, link);
}
static inline struct region *region_prev(struct space *s, struct region *r)	// NULL: it is the first
{
	return r->link.prev == &s->regions ? NULL : list_entry(r->link.prev, struct region, link);
}
void region_init(void);
