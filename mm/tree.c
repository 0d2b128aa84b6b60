// SPDX-License-Identifier: MIT
// The page-table tree of one space, changed under its lock while walkers and hardware read it.
//
//	level   4: root      3: 512 GiB      2: 1 GiB       1: 2 MiB
//	entry   512 GiB      1 GiB leaf      2 MiB leaf     4 KiB leaf
//
// page.private of a table counts its non-zero entries; a table that reaches 0 is detached by its parent's entry. Where
// the space's freer keeps tables (table_policy.keeps), it stays linked until the space ends, or until something must
// stand in its place.
#include "mm/tree.h"
#include "kernel/panic.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "mm/gather.h"
#include "mm/huge.h"
#include "mm/table.h"

static struct page *table_of(pte_t *table) { return virt_to_page(table); }

pte_t *tree_find(struct space *s, vaddr_t va, int level, struct page **table)
{
	pte_t *t = s->root;

	for (int l = PT_LEVELS; l > level; l--) {
		pte_t v = pte_read(&t[pt_index(va, l)]);

		if (!pte_present(v) || (l < PT_LEVELS && pte_leaf(v, l)))
			return NULL;
		t = phys_to_virt(pte_addr(v));
	}
	if (table)
		*table = table_of(t);
	return &t[pt_index(va, level)];
}

static void make_way(struct space *s, pte_t *e, int level, vaddr_t va, struct page *table);

pte_t *__hot tree_make(struct space *s, vaddr_t va, int level, struct page **table)
{
	pte_t *t = s->root;

	for (int l = PT_LEVELS; l > level; l--) {
		pte_t *e = &t[pt_index(va, l)], v = pte_read(e);

		if (!pte_present(v)) {
			struct page *child = table_alloc(l - 1);

			if (!child)
				return NULL;
			v = pte_make_table(page_to_phys(child));
			pte_xchg(e, v);		// full barrier: the zeroed table is visible before its entry
			table_of(t)->private++;
		}
		if (l < PT_LEVELS && pte_leaf(v, l)) {		// regions never overlap, so it is no other region's leaf
			BUG_ON(l != 2 || level != 1);
			*table = table_of(t);
			return e;
		}
		t = phys_to_virt(pte_addr(v));
	}
	*table = table_of(t);
	if (unlikely(level > 1))
		make_way(s, &t[pt_index(va, level)], level, va, *table);
	return &t[pt_index(va, level)];
}

// ---- Unmapping ------------------------------------------------------------------------------------------------------
// One body for all levels, compiled once for each: unmap_below(…, 4, …) has levels 3, 2 and 1 inlined.

enum { LEAVES = 1, TABLES = 2, KEEP = 4 };	// what to remove; KEEP: the tables that it empties are kept, and counted
typedef void unmap_fn(struct gather *g, pte_t *t, vaddr_t start, vaddr_t end, unsigned what);

// Clear the leaves of `level` in the entries from e on, which map [va, end) and none of which names a table. Returns
// how many were cleared. Each exchange is a full barrier, before the CPU masks are read in tlb_flush().
static __always_inline unsigned clear_leaves(struct gather *g, pte_t *e, int level, vaddr_t va, vaddr_t end)
{
	vaddr_t first = 0, last = 0;
	unsigned n = 0, room, done = 0;

	while (va < end) {
		struct page **heads = gather_room(g, &room);

		for (n = 0; n < room && va < end; e++, va += level_size(level)) {
			pte_t v = pte_read(e);

			if (!pte_present(v))
				continue;
			heads[n] = page_of(pte_addr(pte_xchg(e, 0)));
			if (level == 2)
				huge_free_deposit(g->space, heads[n]);
			first = n++ ? first : va;
			last = va;
		}
		if (n)
			gather_leaves(g, n, first, last, level);
		done += n;
	}
	return done;
}

static __noinline void count_emptied(void)
{
	count(tables_emptied);
	if (oracle_walking())
		count(emptied_during_walk);
}

void tree_emptied(struct space *s, const struct page *table)
{
	if (!table->private && s->freer->keeps)
		count_emptied();
}

static __always_inline void count_off(struct gather *g, struct page *table, unsigned leaves, int level, unsigned what)
{
	table->private -= leaves;
	g->space->mapped -= leaves * (level_size(level) >> PAGE_SHIFT);
	if ((what & KEEP) && leaves && !table->private)
		count_emptied();
}

static __always_inline void unmap_1(struct gather *g, pte_t *t, vaddr_t start, vaddr_t end, unsigned what)
{
	if (what & LEAVES)
		count_off(g, table_of(t), clear_leaves(g, &t[pt_index(start, 1)], 1, start, end), 1, what);
}

// The entry names a table without entries: unlink it. Barrier as above.
static __always_inline void detach(struct gather *g, pte_t *e, vaddr_t va, struct page *table)
{
	bool gathered = false;
	pte_t old;

	gather_reserve(g);
	if (MUTANT(tree_frees_before_unlink)) {	// its whole way is gone while the entry still stands (Redox OS)
		gather_table(g, page_of(pte_addr(pte_read(e))), va);
		gather_flush(g);
		gathered = true;
	}
	if (MUTANT(tree_queues_before_unlink)) {	// its wait begins before the unlink and the flush (OSv)
		gather_table(g, page_of(pte_addr(pte_read(e))), va);
		tables_flushed(&g->taken.tables, g->space, g->space->freer, NULL);
		gathered = true;
	}
	STALL(tree_unlinking, g->space, va, table->table_level);	// the entry of this level still stands
	if (MUTANT(tree_lower_entry_left) && table->table_level < PT_LEVELS)	// the entry is left standing
		old = pte_read(e);
	else
		old = pte_xchg(e, 0);
	table->private--;
	if (!gathered)
		gather_table(g, page_of(pte_addr(old)), va);
}

static __always_inline bool may_go(const struct page *table, unsigned what)
{
	if (MUTANT(discard_no_recheck) && what == TABLES)	// detached without a second look
		return true;
	return !table->private;
}

// Visit each entry of a table of `level` that [start, end) touches.
static __always_inline void unmap_below(struct gather *g, pte_t *t, int level, unmap_fn *lower, vaddr_t start, vaddr_t end,
					unsigned what)
{
	u64 size = level_size(level);
	pte_t *e = &t[pt_index(start, level)];

	for (vaddr_t va = start, next; va < end; va = next, e++) {
		pte_t v = pte_read(e);

		next = MIN(ALIGN_DOWN(va, size) + size, end);
		if (!pte_present(v))
			continue;
		if (level == PT_LEVELS || !pte_leaf(v, level)) {
			pte_t *child = phys_to_virt(pte_addr(v));

			lower(g, child, va, next, what);
			if ((what & TABLES) && may_go(table_of(child), what))
				detach(g, e, va, table_of(t));
		} else if (what & LEAVES) {
			ASSERT(next - va == size);	// an operation that cuts a collapsed leaf splits it first
			count_off(g, table_of(t), clear_leaves(g, e, level, va, next), level, what);
		}
	}
}

static __always_inline void unmap_2(struct gather *g, pte_t *t, vaddr_t start, vaddr_t end, unsigned what)
{
	unmap_below(g, t, 2, unmap_1, start, end, what);
}

static __always_inline void unmap_3(struct gather *g, pte_t *t, vaddr_t start, vaddr_t end, unsigned what)
{
	unmap_below(g, t, 3, unmap_2, start, end, what);
}

// A range that lies under one entry of level 2, as most do: go down once, then up again as long as the tables are
// empty. False: a large leaf is in the way, or a table is missing; nothing has changed.
static __always_inline bool unmap_one_way(struct gather *g, vaddr_t start, vaddr_t end, unsigned what)
{
	pte_t *entry[PT_LEVELS + 1], *t = g->space->root;
	struct page *table[PT_LEVELS + 1];

	table[PT_LEVELS] = table_of(t);
#pragma GCC unroll 4
	for (int l = PT_LEVELS; l > 1; l--) {
		pte_t v;

		entry[l] = &t[pt_index(start, l)];
		v = pte_read(entry[l]);
		if (!pte_present(v) || (l < PT_LEVELS && pte_leaf(v, l)))
			return false;
		table[l - 1] = page_of(pte_addr(v));
		t = phys_to_virt(pte_addr(v));
	}
	unmap_1(g, t, start, end, what);
#pragma GCC unroll 4
	for (int l = 1; l < PT_LEVELS; l++) {
		if (!(what & TABLES) || !may_go(table[l], what))
			break;
		detach(g, entry[l + 1], start, table[l + 1]);
	}
	return true;
}

static void __hot unmap_all(struct gather *g, vaddr_t start, vaddr_t end, unsigned what)
{
	if ((start ^ (end - 1)) < level_size(2) && likely(unmap_one_way(g, start, end, what)))
		return;
	unmap_below(g, g->space->root, PT_LEVELS, unmap_3, start, end, what);
}

static __always_inline bool keeps_tables(const struct gather *g) { return unlikely(g->space->freer->keeps); }

void tree_unmap(struct gather *g, vaddr_t start, vaddr_t end)
{
	if (keeps_tables(g))
		unmap_all(g, start, end, LEAVES | KEEP);
	else
		unmap_all(g, start, end, LEAVES | TABLES);
}

void tree_zap(struct gather *g, vaddr_t start, vaddr_t end)
{
	if (keeps_tables(g))
		unmap_all(g, start, end, LEAVES | KEEP);
	else
		unmap_all(g, start, end, LEAVES);
}

void tree_prune(struct gather *g, vaddr_t start, vaddr_t end)
{
	if (!keeps_tables(g))
		unmap_all(g, start, end, TABLES);
}

void tree_end(struct gather *g)
{
	unmap_all(g, 0, USER_END, LEAVES | TABLES);
}

// The entry e of `level` is about to be written. If it names a table, the space's freer keeps tables, and no leaf is
// left under it, because no region is there: detach it and the tables under it, and flush, before anything else stands
// in the entry.
static void make_way(struct space *s, pte_t *e, int level, vaddr_t va, struct page *table)
{
	pte_t v = pte_read(e), *child = phys_to_virt(pte_addr(v));
	struct gather g;

	if (likely(!pte_present(v) || pte_leaf(v, level)))
		return;
	va = ALIGN_DOWN(va, level_size(level));
	gather_begin(&g, s);
	if (level == 3)
		unmap_2(&g, child, va, va + level_size(3), TABLES);
	BUG_ON(table_of(child)->private);
	if (MUTANT(keep_large_leaf_over_table)) {	// the entry is overwritten, and the table forgotten
		pte_xchg(e, 0);
		table->private--;
	} else {
		detach(&g, e, va, table);
	}
	gather_end(&g);
}

// Hardware may set A and D at any time: repeat until nothing has changed in between.
static void protect_leaf(struct gather *g, pte_t *e, int level, vaddr_t va, unsigned prot)
{
	pte_t old, new;

	do {
		old = pte_read(e);
		new = pte_with_prot(old, prot);
	} while (!pte_cmpxchg(e, old, new));
	if (new != old)
		gather_changed(g, va, level);
}

static void protect_table(struct gather *g, pte_t *t, int level, vaddr_t start, vaddr_t end, unsigned prot)
{
	u64 size = level_size(level);

	for (vaddr_t va = start, next; va < end; va = next) {
		pte_t *e = &t[pt_index(va, level)], v = pte_read(e);

		next = MIN(ALIGN_DOWN(va, size) + size, end);
		if (!pte_present(v))
			continue;
		if (level < PT_LEVELS && pte_leaf(v, level))
			protect_leaf(g, e, level, va, prot);
		else
			protect_table(g, phys_to_virt(pte_addr(v)), level - 1, va, next, prot);
	}
}

void tree_protect(struct gather *g, vaddr_t start, vaddr_t end, unsigned prot)
{
	protect_table(g, g->space->root, PT_LEVELS, start, end, prot);
}
