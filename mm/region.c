// SPDX-License-Identifier: MIT
// Regions: what may be where in a space. A sorted list; spaces here have few.
#include "mm/region.h"
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "mm/frame/slab.h"

static struct slab_cache *regions;

void region_init(void)
{
	regions = slab_create("region", sizeof(struct region), 8);
	BUG_ON(!regions);
}

struct region *__hot region_first_from(struct space *s, vaddr_t va)
{
	list_for_each(it, &s->regions) {
		struct region *r = list_entry(it, struct region, link);

		if (r->end > va)
			return r;
	}
	return NULL;
}

struct region *__hot region_find(struct space *s, vaddr_t va)
{
	struct region *r = region_first_from(s, va);

	return r && r->start <= va ? r : NULL;
}

static __always_inline struct region *region_new(vaddr_t start, vaddr_t end, unsigned prot, int level)
{
	struct region *r = slab_alloc(regions);

	if (r)
		*r = (struct region){ .start = start, .end = end, .prot = (u8)prot, .level = (u8)level };
	return r;
}

static __always_inline void region_free(struct region *r)
{
	list_remove(&r->link);
	slab_free(regions, r);
}

int __hot region_add(struct space *s, vaddr_t start, vaddr_t end, unsigned prot, int level)
{
	struct region *next = region_first_from(s, start), *r;

	if (next && next->start < end)
		return -EEXIST;
	r = region_new(start, end, prot, level);
	if (!r)
		return -ENOMEM;
	list_push_back(next ? &next->link : &s->regions, &r->link);	// before `next`
	return 0;
}

static int split_one(struct space *s, vaddr_t va)
{
	struct region *r = region_find(s, va), *upper;

	if (!r || r->start == va)
		return 0;
	upper = region_new(va, r->end, r->prot, r->level);
	if (!upper)
		return -ENOMEM;
	r->end = va;
	list_push_front(&r->link, &upper->link);
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

bool __hot region_remove_whole(struct space *s, vaddr_t start, vaddr_t end)
{
	struct region *first = NULL, *r;
	struct list *it = s->regions.next;

	for (; it != &s->regions; it = it->next) {
		r = list_entry(it, struct region, link);
		if (r->start >= end)
			break;
		if (r->end <= start)
			continue;
		if (r->start < start || r->end > end)
			return false;
		first = first ?: r;
	}
	while (first) {
		r = first;
		first = r->link.next == it ? NULL : list_entry(r->link.next, struct region, link);
		region_free(r);
	}
	return true;
}

void region_remove_range(struct space *s, vaddr_t start, vaddr_t end)
{
	list_for_each_safe(it, &s->regions) {
		struct region *r = list_entry(it, struct region, link);

		if (r->start >= end)
			break;
		if (r->start >= start && r->end <= end)
			region_free(r);
	}
}

void region_move(struct space *s, vaddr_t from, vaddr_t to, u64 len)
{
	struct region *next;
	struct list moving;

	list_init(&moving);
	list_for_each_safe(it, &s->regions) {
		struct region *r = list_entry(it, struct region, link);

		if (r->start < from || r->end > from + len)
			continue;
		list_remove(&r->link);
		list_push_back(&moving, &r->link);
		r->start += to - from;
		r->end += to - from;
	}
	next = region_first_from(s, to);
	list_splice(next ? &next->link : &s->regions, &moving);		// before `next`
}

void region_merge_range(struct space *s, vaddr_t start, vaddr_t end)
{
	struct region *prev = NULL;

	list_for_each_safe(it, &s->regions) {
		struct region *r = list_entry(it, struct region, link);

		if (prev && prev->end == r->start && prev->prot == r->prot && prev->level == r->level &&
		    r->start >= start && r->start <= end) {
			prev->end = r->end;
			region_free(r);
		} else {
			prev = r;
		}
	}
}

bool region_covers(struct space *s, vaddr_t start, vaddr_t end)
{
	for (vaddr_t va = start; va < end;) {
		struct region *r = region_find(s, va);

		if (!r)
			return false;
		va = r->end;
	}
	return true;
}
