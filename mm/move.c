// SPDX-License-Identifier: MIT
// Move of a mapping, in pieces. Where 2 MiB move to 2 MiB, the piece is an entry of level 2, which names a table of small
// pages or is a large leaf: it leaves its old place and appears at the new one. Elsewhere, the piece is what one table of
// level 1 at the old place has in common with one at the new place, and its leaves move:
//
//	old  |.....[aaaaaaa|bbbbbbbbbbbbb|cc]..........|	a b c: shifted by a page: two tables at the new place
//	new  |....[aaaaaaab|bbbbbbbbbbbbc|c]...........|	for each old one, and so more pieces
//
// Order. An entry is cleared at the old place, then written at the new one; when all have moved, the old range is
// flushed, upper entries too if a table has moved; only then is the lock dropped. Until then other CPUs may reach a page by
// both addresses, which is harmless: the page is mapped, and this space is its only owner. After the lock is dropped it
// would not be harmless: another CPU may unmap the new address, its flush does not cover the old address, and the page is
// reused while the old translation still leads to it (CVE-2018-18281).
//
// Walkers are not waited for. A walker inside a moved table may find there what was never mapped at the address that it
// looks up: another page, or another permission. It reads the old entry again after its pin and finds it cleared; or,
// when another move has brought the table back, it finds that the count of moves has grown (walk_body.h, (c)). A walker
// that has read a leaf which moves by itself reads that leaf again, and finds it cleared. If it finds it as it was, another
// move has brought it back, into a table that has never left its place: the page is mapped there now, and the reference
// taken before has kept it from being anything else meanwhile. That is no more than an unmap and a map could do.
#include "mm/space_internal.h"
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "mm/flush/flush.h"
#include "mm/gather.h"
#include "mm/huge.h"
#include "mm/region.h"
#include "mm/tree.h"

struct move {			// of [from, end), by `shift`, modulo 2^64
	struct space *s;
	vaddr_t from, end;
	u64 shift;
};

struct piece {
	vaddr_t va;
	u64 len;
	int level;		// of the entries that move
	pte_t *e;		// the first of them
	struct page *table;	// that they stand in
};

// Does the entry of level 2 lead to a page? An empty table stays. A discard that has dropped the lock between its phases
// leaves some for the second one, which would not find them at the new place: they are freed when the old range is
// pruned. Those that a policy keeps stay linked where they are.
static bool worth_moving(pte_t v)
{
	return pte_present(v) && (pte_leaf(v, 2) || page_of(pte_addr(v))->private);
}

static bool any_leaf(const pte_t *e, u64 len)
{
	for (u64 i = 0; i < len >> PAGE_SHIFT; i++)
		if (pte_present(pte_read(&e[i])))
			return true;
	return false;
}

// How far from va on the entries stand in one table here, and would stand in one there.
static u64 in_one_table(const struct move *m, vaddr_t va)
{
	u64 size = level_size(2), here = size - (va & (size - 1)), there = size - ((va + m->shift) & (size - 1));

	return MIN(MIN(here, there), m->end - va);
}

// The first piece from va on that has a page. False: there is none.
static bool next_piece(const struct move *m, vaddr_t va, struct piece *p)
{
	while (va < m->end) {
		u64 len = in_one_table(m, va);
		struct page *table;
		pte_t *e = tree_find(m->s, va, 2, &table), v = e ? pte_read(e) : 0;

		*p = (struct piece){ .va = va, .len = len, .level = 2, .e = e, .table = table };
		if (!e) {		// nothing to the end of the table of level 2 that is missing
			va = ALIGN_DOWN(va, level_size(3)) + level_size(3);
			continue;
		}
		if (worth_moving(v) && len == level_size(2))
			return true;
		if (worth_moving(v)) {
			p->level = 1;
			p->e = tree_find(m->s, va, 1, &p->table);
			if (any_leaf(p->e, len))
				return true;
		}
		va += len;
	}
	return false;
}

static void prune(struct space *s, vaddr_t start, vaddr_t end)
{
	struct gather g;

	gather_begin(&g, s);
	tree_prune(&g, start, end);
	gather_end(&g);
}

// Make all the tables that the move will need, before it begins.
static int make_tables(const struct move *m)
{
	struct page *table;
	struct piece p;

	for (vaddr_t va = m->from; next_piece(m, va, &p); va = p.va + p.len) {
		pte_t *e = tree_make(m->s, p.va + m->shift, p.level, &table);

		if (!e) {
			prune(m->s, m->from + m->shift, m->end + m->shift);
			return -ENOMEM;
		}
		BUG_ON(pte_present(pte_read(e)));	// no region there, hence no leaf; a kept table has made way
	}
	return 0;
}

static void move_leaves(struct gather *g, const struct piece *p, pte_t *new, struct page *new_table)
{
	for (u64 i = 0; i < p->len >> PAGE_SHIFT; i++) {
		pte_t v = pte_read(&p->e[i]);

		if (!pte_present(v))
			continue;
		v = pte_xchg(&p->e[i], 0);	// with the A and D that hardware has set meanwhile
		p->table->private--;
		gather_changed(g, p->va + i * PAGE_SIZE, 1);
		pte_xchg(&new[i], v);
		new_table->private++;
	}
}

static void move_entry(struct gather *g, const struct piece *p, pte_t *new, struct page *new_table)
{
	pte_t v = pte_xchg(p->e, 0);

	p->table->private--;
	gather_moved(g, p->va, pte_leaf(v, 2) ? 2 : 1);
	pte_xchg(new, v);
	new_table->private++;
}

static void move_pieces(struct gather *g, const struct move *m)
{
	struct page *new_table;
	struct piece p;

	for (vaddr_t va = m->from; next_piece(m, va, &p); va = p.va + p.len) {
		pte_t *new = tree_find(m->s, p.va + m->shift, p.level, &new_table);

		if (p.level == 1)
			move_leaves(g, &p, new, new_table);
		else
			move_entry(g, &p, new, new_table);
		tree_emptied(m->s, p.table);
	}
}

// Count the move before its first entry is cleared, whose exchange is a full barrier, and after everything that was
// written under the lock before, leaves too: a walker that sees the count sees all that. Both pair with walk_take().
static void note_move(struct space *s, vaddr_t va)
{
	store_release(&s->moves, s->moves + 1);
	STALL(move_begun, s, va, 2);	// nothing moved yet; walkers can tell
}

// Pages that move by themselves are small.
static int split_collapsed(const struct move *m)
{
	for (vaddr_t va = ALIGN_UP(m->from, level_size(2)); m->shift & (level_size(2) - 1) && va < m->end; va += level_size(2)) {
		pte_t *e = tree_find(m->s, va, 2, NULL);
		int err;

		if (!e) {
			va = ALIGN_DOWN(va, level_size(3)) + level_size(3) - level_size(2);
			continue;
		}
		err = pte_present(pte_read(e)) && pte_leaf(pte_read(e), 2) ? space_split_locked(m->s, va) : 0;
		if (err)
			return err;
	}
	return 0;
}

// No page is too large to move: every region has pages that are aligned here and there.
static bool movable(const struct move *m)
{
	for (struct region *r = region_find(m->s, m->from); r && r->start < m->end; r = region_next(m->s, r))
		if (r->level > 2 || m->shift & (level_size(r->level) - 1))
			return false;
	return true;
}

static int cut(const struct move *m)
{
	int err;

	if (!movable(m))
		return -EINVAL;
	err = space_cut(m->s, m->from, m->end);
	if (err)
		return err;
	err = split_collapsed(m);
	if (err)
		region_merge_range(m->s, m->from, m->end);
	return err;
}

static int prepare(const struct move *m)
{
	int err = cut(m);

	if (err)
		return err;
	err = make_tables(m);
	if (err)
		region_merge_range(m->s, m->from, m->end);
	return err;
}

int space_cut_for_move(struct space *s, vaddr_t from, vaddr_t to, u64 len)
{
	const struct move m = { .s = s, .from = from, .end = from + len, .shift = to - from };

	return cut(&m);
}

// Everything but the flush.
static int move_unflushed(struct gather *g, struct space *s, vaddr_t from, vaddr_t to, u64 len)
{
	const struct move m = { .s = s, .from = from, .end = from + len, .shift = to - from };
	int err = prepare(&m);

	if (err)
		return err;
	flush_settle(s, to, to + len);	// what was unmapped there must be unreachable first
	gather_begin(g, s);
	note_move(s, from);
	move_pieces(g, &m);
	region_move(s, from, to, len);
	region_merge_range(s, to, to + len);
	tree_prune(g, from, from + len);
	STALL(move_moved, s, from, 2);	// the entries stand at the new place; nothing flushed, lock held
	ASSERT(!g->may_defer);		// walk_outlives_moves() relies on it
	return 0;
}

int space_move_locked(struct space *s, vaddr_t from, vaddr_t to, u64 len)
{
	struct gather g;
	int err = move_unflushed(&g, s, from, to, len);

	if (!err)
		gather_end(&g);
	return err;
}

static int check(struct space *s, vaddr_t from, vaddr_t to, u64 len)
{
	struct region *r = region_first_from(s, to);

	if (!region_covers(s, from, from + len))
		return -ENOENT;
	return r && r->start < to + len ? -EEXIST : 0;
}

int space_move(struct space *s, vaddr_t old_va, vaddr_t new_va, u64 len)
{
	struct gather g;
	int err;

	if (!space_range_ok(old_va, len, PAGE_SIZE) || !space_range_ok(new_va, len, PAGE_SIZE) ||
	    (old_va < new_va + len && new_va < old_va + len))
		return -EINVAL;
	mutex_lock(&s->lock);
	err = check(s, old_va, new_va, len) ?: move_unflushed(&g, s, old_va, new_va, len);
	if (err) {
		mutex_unlock(&s->lock);
		return err;
	}
	if (!MUTANT(move_flush_after_unlock))
		gather_end(&g);
	mutex_unlock(&s->lock);
	STALL(move_unlocked, s, old_va, 2);	// the lock has been dropped
	if (MUTANT(move_flush_after_unlock))
		gather_end(&g);
	return 0;
}
