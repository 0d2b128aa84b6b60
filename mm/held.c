// SPDX-License-Identifier: MIT
// See held.h. Counted when it is asked for, which is when memory is short: mapping and unmapping need not keep a count for it.
#include "mm/held.h"
#include "mm/object.h"
#include "mm/region.h"
#include "mm/tree.h"

// Regions with an object have small pages only.
static u64 leaves_in_table(struct space *s, vaddr_t va, vaddr_t end)
{
	pte_t *e = tree_find(s, va, 1, NULL);
	u64 n = 0;

	for (; e && va < end; va += PAGE_SIZE)
		n += pte_present(pte_read(e++));
	return n;
}

static u64 leaves(struct space *s, const struct region *r)
{
	u64 n = 0;

	for (vaddr_t va = r->start, next; va < r->end; va = next) {
		// Without a table of level 2, nothing up to the end of what it would cover.
		int level = tree_find(s, va, 2, NULL) ? 2 : 3;

		next = MIN(ALIGN_DOWN(va, level_size(level)) + level_size(level), r->end);
		if (level == 2)
			n += leaves_in_table(s, va, next);
	}
	return n;
}

static u64 held(struct space *s)
{
	u64 n = s->mapped;

	for (struct region *r = region_first_from(s, 0); r; r = region_next(s, r))
		if (r->object)
			r->object->counted = false;
	for (struct region *r = region_first_from(s, 0); r; r = region_next(s, r)) {
		if (!r->object)
			continue;
		n -= leaves(s, r);
		n += r->object->counted ? 0 : r->object->present;
		r->object->counted = true;
	}
	return n;
}

u64 space_held_pages(struct space *s)
{
	u64 n;

	mutex_lock(&s->lock);
	n = held(s);
	mutex_unlock(&s->lock);
	return n;
}
