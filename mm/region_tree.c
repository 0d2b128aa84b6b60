// SPDX-License-Identifier: MIT
// An AVL tree, ordered by address. Each region also knows of the subtree below it what it spans and the largest hole
// between its regions, so that a search for a hole turns away where there is none. Therefore the tree must be told when
// a region's start or end changes.
//
//	               [r]                    r->first           r->last
//	              /   \                   |                        |
//	           [a]     [b]                [ a ]   [ r ]      [ b ]          r->largest_hole: between r and b
//
// A change notes the links on its way down, and corrects the regions behind them on the way up.
#include "mm/region_tree.h"
#include "kernel/panic.h"
#include "mm/region.h"

// No tree of n regions is higher than 1.45 * log2(n + 2), and there are fewer regions than pages.
#define PATH_MAX 54
_Static_assert(USER_END / PAGE_SIZE <= 1ull << 35, "PATH_MAX");

struct path {
	unsigned n;
	struct region **link[PATH_MAX];	// each lies in the region that the one before leads to
};

static __always_inline int height(const struct region *r) { return r ? r->height : 0; }

// Its children are right.
static __always_inline void update(struct region *r)
{
	const struct region *a = r->left, *b = r->right;
	u64 hole = 0;

	r->first = r->start;
	r->last = r->end;
	r->height = (u8)(1 + MAX(height(a), height(b)));
	if (a) {
		r->first = a->first;
		hole = MAX(a->largest_hole, r->start - a->last);
	}
	if (b) {
		r->last = b->last;
		hole = MAX(hole, MAX(b->largest_hole, b->first - r->end));
	}
	r->largest_hole = hole;
}

static void rotate_right(struct region **link)
{
	struct region *r = *link, *a = r->left;

	r->left = a->right;
	a->right = r;
	*link = a;
	update(r);
	update(a);
}

static void rotate_left(struct region **link)
{
	struct region *r = *link, *b = r->right;

	r->right = b->left;
	b->left = r;
	*link = b;
	update(r);
	update(b);
}

static __noinline void balance(struct region **link, int lean)
{
	struct region *r = *link;

	if (lean > 0) {
		if (height(r->left->left) < height(r->left->right))
			rotate_left(&r->left);
		rotate_right(link);
	} else {
		if (height(r->right->right) < height(r->right->left))
			rotate_right(&r->right);
		rotate_left(link);
	}
}

static __always_inline void correct(struct path *p)
{
	while (p->n--) {
		struct region **link = p->link[p->n], *r = *link;
		int lean;

		if (!r)
			continue;
		lean = height(r->left) - height(r->right);
		if (unlikely(lean > 1 || lean < -1))
			balance(link, lean);
		else
			update(r);
	}
}

static __always_inline void note(struct path *p, struct region **link)
{
	BUG_ON(p->n == PATH_MAX);
	p->link[p->n++] = link;
}

// The link to the region that starts at `start`, or the empty one where it would hang.
static __always_inline struct region **find_link(struct space *s, vaddr_t start, struct path *p)
{
	struct region **link = &s->region_tree;

	p->n = 0;
	note(p, link);
	while (*link && (*link)->start != start) {
		link = start < (*link)->start ? &(*link)->left : &(*link)->right;
		note(p, link);
	}
	return link;
}

void region_tree_insert(struct space *s, struct region *r)
{
	struct path p;
	struct region **link = find_link(s, r->start, &p);

	ASSERT(!*link);
	r->left = r->right = NULL;
	*link = r;
	correct(&p);
}

// r has two children: the next region in order takes its place.
static __noinline void replace_by_next(struct region *r, struct path *p)
{
	unsigned below = p->n;		// the first link behind r's own, which is &r->right: to be in the next one
	struct region **link = &r->right, *next;

	note(p, link);
	while ((*link)->left) {
		link = &(*link)->left;
		note(p, link);
	}
	next = *link;
	*link = next->right;
	next->left = r->left;
	next->right = r->right;
	*p->link[below - 1] = next;
	p->link[below] = &next->right;
}

void region_tree_remove(struct space *s, struct region *r)
{
	struct path p;
	struct region **link = find_link(s, r->start, &p);

	ASSERT(*link == r);
	if (r->left && r->right)
		replace_by_next(r, &p);
	else
		*link = r->left ?: r->right;
	correct(&p);
}

void region_tree_resized(struct space *s, struct region *r)
{
	struct path p;
	struct region **link __unused = find_link(s, r->start, &p);

	ASSERT(*link == r);
	correct(&p);
}

struct region *region_tree_first_from(const struct space *s, vaddr_t va)
{
	struct region *r = s->region_tree, *first = NULL;

	while (r) {
		if (r->end <= va) {
			r = r->right;
			continue;
		}
		first = r;
		if (r->start <= va)
			break;
		r = r->left;
	}
	return first;
}

// ---- Holes ----------------------------------------------------------------------------------------------------------

struct search {
	u64 len, align;
	vaddr_t low, high;
};

// Between two neighbours: from `start` on, up to the region `above`, or to the end.
static vaddr_t fits(const struct search *q, vaddr_t start, vaddr_t end, const struct region *above)
{
	start = MAX(start, q->low);
	end = MIN(above ? region_guarded_start(above) : end, q->high);
	return end > start && end - start >= q->len && ALIGN_DOWN(end - q->len, q->align) >= start ?
	       ALIGN_DOWN(end - q->len, q->align) : 0;
}

// In [start, end), where r and its subtree lie; `above` follows there. Turns away unless there is a hole of that length
// in r's subtree or at its edges. Where one is too short after all, because of a guard gap, the alignment, low or high,
// the search goes on below it.
static vaddr_t hole_in(const struct search *q, const struct region *r, vaddr_t start, vaddr_t end,
		       const struct region *above)
{
	if (start >= q->high || end <= q->low)
		return 0;
	if (!r)
		return fits(q, start, end, above);
	if (r->largest_hole < q->len && r->first - start < q->len && end - r->last < q->len)
		return 0;
	return hole_in(q, r->right, r->end, end, above) ?: hole_in(q, r->left, start, r->start, r);
}

vaddr_t region_tree_hole(const struct space *s, u64 len, u64 align, vaddr_t low, vaddr_t high)
{
	struct search q = { len, align, low, high };

	return hole_in(&q, s->region_tree, 0, USER_END, NULL);
}
