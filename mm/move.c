// SPDX-License-Identifier: MIT
// Move of a mapping at table granularity: each entry of level 2, which names a table of small pages or is a large leaf,
// leaves its old place and appears at the new one.
//
// Order. An entry is cleared at the old place, then written at the new one; when all have moved, the old range is
// flushed, upper entries too; only then is the lock dropped. Until then other CPUs may reach a page by both addresses,
// which is harmless: the page is mapped, and this space is its only owner. After the lock is dropped it would not be
// harmless: another CPU may unmap the new address, its flush does not cover the old address, and the page is reused
// while the old translation still leads to it (CVE-2018-18281).
//
// Walkers are not waited for. A walker inside a moved table may find there what was never mapped at the address that it
// looks up: another page, or another permission. It reads the old entry again after its pin and finds it cleared; or,
// when another move has brought the table back, it finds that the count of moves has grown (walk_body.h, (c)).
#include "mm/space.h"
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "mm/flush/flush.h"
#include "mm/gather.h"
#include "mm/region.h"
#include "mm/tree.h"

// Does the entry of level 2 lead to a page? An empty table stays. A discard that has dropped the lock between its phases
// leaves some for the second one, which would not find them at the new place: they are freed when the old range is
// pruned. Those that a policy keeps stay linked where they are.
static bool worth_moving(pte_t v)
{
	return pte_present(v) && (pte_leaf(v, 2) || page_of(pte_addr(v))->private);
}

// The first such entry from *va on, below end; *va becomes the address that it maps. NULL: none.
static pte_t *next_entry(struct space *s, vaddr_t *va, vaddr_t end, struct page **table)
{
	while (*va < end) {
		pte_t *e = tree_find(s, *va, 2, table);

		if (e && worth_moving(pte_read(e)))
			return e;
		*va = e ? *va + level_size(2) : ALIGN_DOWN(*va, level_size(3)) + level_size(3);
	}
	return NULL;
}

static void prune(struct space *s, vaddr_t start, vaddr_t end)
{
	struct gather g;

	gather_begin(&g, s);
	tree_prune(&g, start, end);
	gather_end(&g);
}

// Make all the tables that the move will need, before it begins.
static int make_upper_tables(struct space *s, vaddr_t from, vaddr_t to, u64 len)
{
	struct page *table;

	for (vaddr_t va = from; next_entry(s, &va, from + len, &table); va += level_size(2)) {
		pte_t *e = tree_make(s, va - from + to, 2, &table);

		if (!e) {
			prune(s, to, to + len);
			return -ENOMEM;
		}
		BUG_ON(pte_present(pte_read(e)));	// no region there, hence no leaf; a kept table has made way
	}
	return 0;
}

static void move_entries(struct gather *g, vaddr_t from, vaddr_t to, u64 len)
{
	struct page *old_table, *new_table;
	pte_t *e;

	for (vaddr_t va = from; (e = next_entry(g->space, &va, from + len, &old_table)); va += level_size(2)) {
		pte_t *new = tree_find(g->space, va - from + to, 2, &new_table), v = pte_xchg(e, 0);

		old_table->private--;
		tree_emptied(g->space, old_table);
		gather_moved(g, va, pte_leaf(v, 2) ? 2 : 1);
		pte_xchg(new, v);
		new_table->private++;
	}
}

// Count the move before its first entry is cleared, whose exchange is a full barrier, and after everything that was
// written under the lock before, leaves too: a walker that sees the count sees all that. Both pair with walk_take().
static void note_move(struct space *s, vaddr_t va)
{
	store_release(&s->moves, s->moves + 1);
	STALL(move_begun, s, va, 2);	// nothing moved yet; walkers can tell
}

static int check(struct space *s, vaddr_t from, vaddr_t to, u64 len)
{
	struct region *r = region_first_from(s, to);

	if (!region_covers(s, from, from + len))
		return -ENOENT;
	if (r && r->start < to + len)
		return -EEXIST;
	for (vaddr_t va = from; va < from + len; va = r->end) {
		r = region_find(s, va);
		if (r->level > 2)
			return -EINVAL;
	}
	return region_split_at(s, from, from + len);
}

int space_move(struct space *s, vaddr_t old_va, vaddr_t new_va, u64 len)
{
	struct gather g;
	int err;

	if (!space_range_ok(old_va, len, level_size(2)) || !space_range_ok(new_va, len, level_size(2)) ||
	    (old_va < new_va + len && new_va < old_va + len))
		return -EINVAL;
	mutex_lock(&s->lock);
	err = check(s, old_va, new_va, len);
	if (!err)
		err = make_upper_tables(s, old_va, new_va, len);
	if (err) {
		region_merge_range(s, old_va, old_va + len);
		mutex_unlock(&s->lock);
		return err;
	}
	flush_settle(s, new_va, new_va + len);	// what was unmapped there must be unreachable first
	gather_begin(&g, s);
	note_move(s, old_va);
	move_entries(&g, old_va, new_va, len);
	region_move(s, old_va, new_va, len);
	region_merge_range(s, new_va, new_va + len);
	tree_prune(&g, old_va, old_va + len);
	STALL(move_moved, s, old_va, 2);	// the entries stand at the new place; nothing flushed, lock held
	ASSERT(!g.may_defer);		// walk_outlives_moves() relies on it
	if (!MUTANT(move_flush_after_unlock))
		gather_end(&g);
	mutex_unlock(&s->lock);
	STALL(move_unlocked, s, old_va, 2);	// the lock has been dropped
	if (MUTANT(move_flush_after_unlock))
		gather_end(&g);
	return 0;
}
