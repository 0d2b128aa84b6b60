// SPDX-License-Identifier: MIT
// A treap: a search tree by `start`, and a heap by `rank`, which is random, so that its depth is logarithmic whatever the
// order in which regions come and go. (A program that foresaw the ranks would slow down nobody but itself.)
//
// A region may change its start and its end as long as it stays between its neighbours: the tree does not notice.
#include "mm/region_tree.h"

struct region *region_tree_first_from(const struct space *s, vaddr_t va)
{
	struct region *found = NULL;

	for (struct region *r = s->region_tree; r;) {
		if (r->end > va) {
			found = r;
			r = r->left;
		} else {
			r = r->right;
		}
	}
	return found;
}

// Part t into what starts below `at` and the rest.
static void split(struct region *t, vaddr_t at, struct region **below, struct region **above)
{
	while (t) {
		if (t->start < at) {
			*below = t;
			below = &t->right;
			t = t->right;
		} else {
			*above = t;
			above = &t->left;
			t = t->left;
		}
	}
	*below = *above = NULL;
}

// The tree of both, in the place `to`; all of a is below all of b.
static void join(struct region **to, struct region *a, struct region *b)
{
	while (a && b) {
		if (a->rank >= b->rank) {
			*to = a;
			to = &a->right;
			a = a->right;
		} else {
			*to = b;
			to = &b->left;
			b = b->left;
		}
	}
	*to = a ? a : b;
}

static struct region **child_towards(struct region *t, vaddr_t start) { return start < t->start ? &t->left : &t->right; }

void region_tree_insert(struct space *s, struct region *r)
{
	struct region **at = &s->region_tree;

	s->region_ranks = s->region_ranks * 6364136223846793005ull + 1442695040888963407ull;	// Knuth's MMIX
	r->rank = (u32)(s->region_ranks >> 32);
	while (*at && (*at)->rank >= r->rank)
		at = child_towards(*at, r->start);
	split(*at, r->start, &r->left, &r->right);
	*at = r;
}

void region_tree_remove(struct space *s, struct region *r)
{
	struct region **at = &s->region_tree;

	while (*at != r)
		at = child_towards(*at, r->start);
	join(at, r->left, r->right);
}
