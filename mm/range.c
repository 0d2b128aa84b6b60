// SPDX-License-Identifier: MIT
// See range.h.
#include "mm/range.h"
#include "kernel/errno.h"
#include "kernel/thread.h"
#include "mm/object.h"
#include "mm/region.h"
#include "mm/space_internal.h"
#include "mm/tree.h"

bool space_query(struct space *s, vaddr_t va, struct region_info *info)
{
	struct region *r;

	mutex_lock(&s->lock);
	r = region_first_from(s, va);
	if (r)
		*info = (struct region_info){ .start = r->start, .end = r->end, .kind = region_kind_at(r, r->start) };
	mutex_unlock(&s->lock);
	return r;
}

bool space_shared_object(struct space *s, vaddr_t va, u64 *object, u64 *offset)
{
	struct region *r;

	mutex_lock(&s->lock);
	r = region_find(s, va);
	if (r && r->object) {
		*object = r->object->id;
		*offset = r->offset + (va - r->start);
	}
	mutex_unlock(&s->lock);
	return r && r->object;
}

void space_object_put(struct space *s, struct object *o)
{
	mutex_lock(&s->lock);
	object_put(o);
	mutex_unlock(&s->lock);
}

static void set_flags(struct space *s, vaddr_t va, vaddr_t end, unsigned set, unsigned clear)
{
	for (struct region *r = region_first_from(s, va); r && r->start < end; r = region_next(s, r))
		r->flags = (u8)((r->flags & ~clear) | set);
	region_merge_range(s, va, end);
}

int space_set_flags(struct space *s, vaddr_t va, u64 len, unsigned set, unsigned clear)
{
	vaddr_t end;
	int err;

	if (!space_range_ok(va, len, PAGE_SIZE))
		return -EINVAL;
	mutex_lock(&s->lock);
	end = region_covered_until(s, va, va + len);
	err = end == va ? -ENOENT : space_cut(s, va, end);	// a collapsed page lies in one region
	if (!err) {
		set_flags(s, va, end, set, clear);
		if (end != va + len)
			err = -ENOENT;
	}
	mutex_unlock(&s->lock);
	return err;
}

void space_set_flags_everywhere(struct space *s, unsigned set, unsigned clear)
{
	mutex_lock(&s->lock);
	set_flags(s, 0, USER_END, set, clear);
	mutex_unlock(&s->lock);
}

// Each page is a fault of its own: the lock is not held for long.
int space_populate(struct space *s, vaddr_t va, u64 len, unsigned access)
{
	for (vaddr_t end = va + len; va < end; va += PAGE_SIZE) {
		int err = thread_dying() ? -EINTR : space_fault_access(s, va, access);

		if (err)
			return err;
	}
	return 0;
}

static bool resident(struct space *s, const struct region *r, vaddr_t va)
{
	pte_t *e;

	if (r->object)
		return object_has(r->object, (r->offset + (va - r->start)) >> PAGE_SHIFT);
	for (int level = 1; level <= MMU_NR_PAGE_SIZES; level++) {
		e = tree_find(s, va, level, NULL);
		if (e)
			return pte_present(pte_read(e)) && pte_leaf(pte_read(e), level);
	}
	return false;
}

int space_resident(struct space *s, vaddr_t va, u64 pages, u8 *vec)
{
	int err = 0;

	if (!space_range_ok(va, pages << PAGE_SHIFT, PAGE_SIZE))
		return -EINVAL;
	mutex_lock(&s->lock);
	for (u64 i = 0; i < pages && !err; i++, va += PAGE_SIZE) {
		struct region *r = region_find(s, va);

		if (r)
			vec[i] = resident(s, r, va);
		else
			err = -ENOENT;
	}
	mutex_unlock(&s->lock);
	return err;
}
