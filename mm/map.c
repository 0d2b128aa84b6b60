// SPDX-License-Identifier: MIT
// Mapping of any kind of memory, at a place or wherever there is room, also in the place of what is there; and mremap(),
// which is made of the same steps. Each is one hold of the lock: no other thread's map can come between the search and
// the map, or between the unmap and the map.
#include "mm/map.h"
#include "kernel/errno.h"
#include "mm/flush/flush.h"
#include "mm/region.h"
#include "mm/space_internal.h"

static bool level_ok(int level) { return level >= 1 && level <= MMU_NR_PAGE_SIZES && arch_has_page_size(level); }

static bool kind_ok(const struct region_kind *k, vaddr_t va, u64 len)
{
	return level_ok(k->level) && (k->level == 1 || !k->object) && space_range_ok(va, len, level_size(k->level));
}

int space_map_kind(struct space *s, vaddr_t va, u64 len, const struct region_kind *k)
{
	int err;

	if (!kind_ok(k, va, len))
		return -EINVAL;
	mutex_lock(&s->lock);
	err = region_add_kind(s, va, va + len, k);
	if (!err) {
		flush_settle(s, va, va + len);	// no access may find the old page
		region_merge_range(s, va, va + len);
	}
	mutex_unlock(&s->lock);
	return err;
}

// The region is made first, so that a lack of memory changes nothing.
static int replace(struct space *s, vaddr_t va, u64 len, const struct region_kind *k)
{
	struct region *r = region_make(s, va, va + len, k);
	int err;

	if (!r)
		return -ENOMEM;
	err = space_clear_locked(s, va, len);
	if (err) {
		region_drop(r);
		return err;
	}
	region_insert(s, r);
	region_merge_range(s, va, va + len);
	return 0;
}

int space_map_over(struct space *s, vaddr_t va, u64 len, const struct region_kind *k)
{
	int err;

	if (!kind_ok(k, va, len))
		return -EINVAL;
	mutex_lock(&s->lock);
	err = replace(s, va, len, k);
	mutex_unlock(&s->lock);
	return err;
}

// Above `high` only if there is no room below it.
static vaddr_t find_gap(struct space *s, u64 len, u64 align, vaddr_t low, vaddr_t high, vaddr_t limit)
{
	vaddr_t va = region_find_gap(s, len, align, low, high);

	return va || limit <= high ? va : region_find_gap(s, len, align, low, limit);
}

static vaddr_t find_place(struct space *s, u64 len, u64 align, const struct map_place *w)
{
	vaddr_t hint = ALIGN_DOWN(w->hint, align);

	if (hint >= w->low && hint < w->limit && len <= w->limit - hint && region_is_free(s, hint, hint + len))
		return hint;
	return find_gap(s, len, align, w->low, w->high, w->limit);
}

s64 space_map_anywhere(struct space *s, u64 len, const struct region_kind *k, const struct map_place *w)
{
	vaddr_t va;
	int err;

	if (!level_ok(k->level) || !len || len & (level_size(k->level) - 1) || w->limit > USER_END || !w->low)
		return -EINVAL;
	mutex_lock(&s->lock);
	va = find_place(s, len, level_size(k->level), w);
	err = va ? region_add_kind(s, va, va + len, k) : -ENOMEM;
	if (!err) {
		flush_settle(s, va, va + len);
		region_merge_range(s, va, va + len);
	}
	mutex_unlock(&s->lock);
	return err ? err : (s64)va;
}

// ---- mremap() -------------------------------------------------------------------------------------------------------

static int shrink(struct space *s, const struct remap *q)
{
	return space_clear_locked(s, q->from + q->to_len, q->from_len - q->to_len);
}

static bool grow_in_place(struct space *s, const struct remap *q, const struct region *r, int *err)
{
	vaddr_t end = q->from + q->from_len, new_end = q->from + q->to_len;
	struct region_kind k = region_kind_at(r, end);

	if (r->end != end || q->to_len > q->limit - q->from || !region_is_free(s, end, new_end))
		return false;
	*err = region_add_kind(s, end, new_end, &k);
	if (!*err) {
		flush_settle(s, end, new_end);
		region_merge_range(s, end, new_end);
	}
	return true;
}

// All of the new place becomes a region first, which nothing can stop the move from using then; the pages come after.
static int move_to(struct space *s, const struct remap *q, const struct region_kind *k, vaddr_t to)
{
	u64 moved = MIN(q->from_len, q->to_len);
	struct region_kind tail_kind = *k;
	struct region *tail = NULL, *left = NULL;
	int err = 0;

	tail_kind.offset += k->object ? moved : 0;
	if (q->to_len > moved)
		tail = region_make(s, to + moved, to + q->to_len, &tail_kind);
	if (q->leave)
		left = region_make(s, q->from, q->from + moved, k);
	if ((q->to_len > moved && !tail) || (q->leave && !left))
		err = -ENOMEM;
	if (!err && moved)
		err = space_move_locked(s, q->from, to, moved);
	if (err) {
		if (tail)
			region_drop(tail);
		if (left)
			region_drop(left);
		return err;
	}
	if (tail) {
		flush_settle(s, tail->start, tail->end);
		region_insert(s, tail);
	}
	if (left)
		region_insert(s, left);
	region_merge_range(s, to, to + q->to_len);
	region_merge_range(s, q->from, q->from + moved);
	return 0;
}

// All that can be refused because a page is pinned.
static int cut_for_fixed_place(struct space *s, const struct remap *q)
{
	u64 moved = MIN(q->from_len, q->to_len);
	int err = space_cut(s, q->to, q->to + q->to_len);

	if (!err && q->from_len > moved)
		err = space_cut(s, q->from + moved, q->from + q->from_len);
	if (!err && moved)
		err = space_cut_for_move(s, q->from, q->to, moved);
	return err;
}

static int clear_and_move(struct space *s, const struct remap *q)
{
	int err = space_clear_locked(s, q->to, q->to_len);
	struct region_kind k;
	struct region *r;

	if (!err && q->from_len > q->to_len)
		err = shrink(s, q);
	if (err)
		return err;
	r = region_find(s, q->from);		// none if a second mapping was to replace the first
	if (!r || MIN(q->from_len, q->to_len) > r->end - q->from)
		return -EFAULT;
	k = region_kind_at(r, q->from);
	return move_to(s, q, &k, q->to);
}

// The cuts come first: a caller that is told -EBUSY tries again, and must find everything as it was. Then, as on Linux, what
// was in the way is gone even if the rest fails.
static s64 to_fixed_place(struct space *s, const struct remap *q)
{
	int err = cut_for_fixed_place(s, q) ?: clear_and_move(s, q);

	if (!err)
		return (s64)q->to;
	region_merge_range(s, q->from, q->from + q->from_len);
	region_merge_range(s, q->to, q->to + q->to_len);
	return err;
}

static s64 to_free_place(struct space *s, const struct remap *q, struct region_kind *k)
{
	vaddr_t to = find_gap(s, q->to_len, PAGE_SIZE, q->low, q->high, q->limit);
	int err = to ? move_to(s, q, k, to) : -ENOMEM;

	return err ? err : (s64)to;
}

static s64 remap(struct space *s, const struct remap *q)
{
	bool stays = !q->fixed && !q->leave, shrinks = q->from_len && q->to_len <= q->from_len;
	struct region *r = region_find(s, q->from);
	struct region_kind k;
	int err = 0;

	if (!r || r->level != 1)
		return -EFAULT;
	if (!q->from_len && !r->object)		// no second mapping of private memory
		return -EINVAL;
	if (stays && shrinks) {			// over more regions, too, and holes
		err = q->to_len < q->from_len ? shrink(s, q) : 0;
		return err ? err : (s64)q->from;
	}
	if (!q->fixed && q->from_len > r->end - q->from)
		return -EFAULT;
	if (q->fixed)
		return to_fixed_place(s, q);
	if (stays && q->from_len && grow_in_place(s, q, r, &err))
		return err ? err : (s64)q->from;
	if (!q->may_move)
		return -ENOMEM;
	k = region_kind_at(r, q->from);
	return to_free_place(s, q, &k);
}

s64 space_remap(struct space *s, const struct remap *q)
{
	s64 result;

	if ((q->from | q->from_len | q->to_len | q->to) & (PAGE_SIZE - 1) || !q->to_len || q->from >= USER_END ||
	    q->from_len > USER_END - q->from || q->limit > USER_END || q->to_len > q->limit || !q->low ||
	    (q->fixed && (q->to > q->limit - q->to_len || (q->from < q->to + q->to_len && q->to < q->from + q->from_len))))
		return -EINVAL;
	mutex_lock(&s->lock);
	result = remap(s, q);
	mutex_unlock(&s->lock);
	return result;
}
