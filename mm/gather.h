// SPDX-License-Identifier: MIT
// The gather: collects the leaves and tables that an operation unlinks, and takes them through the rest of the life of
// a page (DESIGN 2) in the only right order: unlink -> flush -> quiesce (the policy) -> free.
//
//   gather_begin();  { xchg entry with 0;  gather_leaves() / gather_table(); }*  gather_end();
//
// When a whole subtree is detached, each entry inside it that names a table is cleared, too, before that table is
// passed to the policy: under table_free=hazard a walker in the detached upper table re-reads the entry.
//
// The caller holds the space's lock from begin to end, so no other operation can find an entry that is cleared but not
// yet flushed. The exception is what a back-end has deferred (may_defer): an operation that must not find such an entry
// calls flush_settle() first.
#pragma once
#include "kernel/panic.h"
#include "mm/pending.h"
#include "mm/table.h"
#include "mm/tree.h"

#define GATHER_INLINE 16

// Leaves beyond the inline ones wait in whole frames of pointers.
struct leaf_batch {
	struct leaf_batch *next;
	u64 nr;
	struct page *leaves[PAGE_SIZE / sizeof(void *) - 2];
};
_Static_assert(sizeof(struct leaf_batch) == PAGE_SIZE, "a batch is one frame");

struct gathered {		// what was taken out of the tree
	struct list tables;		// UNLINKED, by page.link
	struct leaf_batch *batches;	// filled batch pages, newest first
	unsigned nr_tables, nr_inline;
	unsigned nr_frames;		// of all leaves, in units of 4 KiB
	bool proves;			// `proved` is valid: the flush had targets
	struct cpumask proved;		// those that are known to have taken its call (policy/policy.h)
	struct page *inline_leaves[GATHER_INLINE];
};

struct gather {
	struct space *space;
	vaddr_t start, end;	// hull of what must be flushed
	u8 level;		// smallest leaf level in it
	u8 covers;		// what was unlinked lies in the hull, rounded out to whole entries of this level
	bool flush, freed_tables;
	u8 credits;		// taken for tables that are yet to be unlinked (mm/pending.h)
	bool may_defer;		// unmap and exit: other CPUs may reach the old pages for a while (flush_backend.defer)
	struct gathered taken;
};

void gather_flush(struct gather *g);	// flush what was collected so far, then release it
void gathered_move(struct gathered *to, struct gathered *from);	// `from` ends empty
// Release, after the flush: tables go to the policy, frames are put. May sleep; with or without the space's lock held.
void gathered_flushed(struct gathered *t, struct space *s, const struct table_policy *freer);

static __always_inline void gathered_reset(struct gathered *t)
{
	list_init(&t->tables);
	t->nr_tables = t->nr_frames = t->nr_inline = 0;
	t->proves = false;
	if (CHECK)
		t->proved.w[0] = UINT64_MAX;	// garbage, for whoever forgets to zero it
	t->batches = NULL;
}

static __always_inline void gather_reset(struct gather *g)
{
	g->start = USER_END;
	g->end = 0;
	g->level = PT_LEVELS;
	g->covers = 1;
	g->flush = g->freed_tables = false;
	gathered_reset(&g->taken);
}

static __always_inline void gather_begin(struct gather *g, struct space *s)
{
	ASSERT(mutex_held(&s->lock));
	g->space = s;
	g->may_defer = false;
	g->credits = 0;
	gather_reset(g);
}

static __always_inline void gather_end(struct gather *g)
{
	if (g->flush)
		gather_flush(g);
	ASSERT(list_empty(&g->taken.tables));
	if (g->credits)
		pending_put(g->credits);
}

static __always_inline void gather_range(struct gather *g, vaddr_t first, vaddr_t last, int level)
{
	vaddr_t start = ALIGN_DOWN(first, level_size(level)), end = ALIGN_DOWN(last, level_size(level)) + level_size(level);

	if (start < g->start)
		g->start = start;
	if (end > g->end)
		g->end = end;
	if (level < g->level)
		g->level = (u8)level;
	g->flush = true;
}

// A leaf lost a permission: flush, nothing to free.
static __always_inline void gather_changed(struct gather *g, vaddr_t va, int level) { gather_range(g, va, va, level); }

// Room for the heads of the next *n leaves to be cleared; *n is at least 1. May flush and release what was collected so
// far.
struct page **gather_more_room(struct gather *g, unsigned *n);
static __always_inline struct page **gather_room(struct gather *g, unsigned *n)
{
	struct gathered *t = &g->taken;

	if (unlikely(t->nr_inline == GATHER_INLINE))
		return gather_more_room(g, n);
	*n = GATHER_INLINE - t->nr_inline;
	return t->inline_leaves + t->nr_inline;
}

// n > 0 leaves of that level were cleared, the first at `first`, the last at `last`. The caller has stored their heads
// in the room; their references belong to the gather from here on.
static __always_inline void gather_leaves(struct gather *g, unsigned n, vaddr_t first, vaddr_t last, int level)
{
	struct gathered *t = &g->taken;

	gather_range(g, first, last, level);
	t->nr_frames += n << (level - 1) * PT_BITS;
	if (t->nr_inline < GATHER_INLINE)
		t->nr_inline += n;
	else
		t->batches->nr += n;
}

// Called before an entry that names a table is cleared: takes the table's credit (mm/pending.h). May sleep; may flush
// and release what was collected so far. It takes the credits of all the tables that one page may have in one step, so
// that unmapping a page writes to the credits' cache lines twice, not six times.
#define CREDITS_AT_ONCE (PT_LEVELS - 1)
void gather_credit(struct gather *g);
static __always_inline void gather_reserve(struct gather *g)
{
	if (g->credits)
		g->credits--;
	else
		gather_credit(g);
}

// Mutants: the table is passed to the policy now, and flushed with the rest.
static __always_inline void gather_passes(struct gather *g, struct page *table)
{
	struct list one;

	list_init(&one);
	list_push_back(&one, &table->link);
	tables_flushed(&one, g->space, g->space->freer, NULL);
}

// Detached: its parent entry was exchanged with 0.
static __always_inline void gather_table(struct gather *g, struct page *table, vaddr_t va)
{
	bool emptied = table->table_level < PT_LEVELS;

	if (MUTANT(tree_lower_entry_left))
		emptied = false;
	if (MUTANT(discard_no_recheck))
		emptied = false;
	table_set_state(table, TABLE_LIVE, TABLE_UNLINKED);
	if (MUTANT(gather_forgets_level) && table->table_level == 2)	// unlinked, but never passed to the policy
		return;
	table->private = TABLE_CREDITED | (emptied ? TABLE_EMPTIED : 0);
	// The paging-structure caches may hold the entry even if no leaf was ever present; flushing any address under
	// it drops it.
	if (va < g->start || va >= g->end || g->level > 1)
		gather_range(g, va, va, 1);
	if (table->table_level >= g->covers)
		g->covers = table->table_level + 1;
	g->freed_tables = true;
	if (MUTANT(gather_upper_at_once) && table->table_level > 1) {	// only the last level waits for the flush (RISC-V)
		gather_passes(g, table);
		return;
	}
	list_push_back(&g->taken.tables, &table->link);
	g->taken.nr_tables++;
}

// A table of level 1 (or a large leaf, level 2) was moved from va to another address: its leaves and the entry itself
// must leave the TLBs, and nothing is freed.
void gather_moved(struct gather *g, vaddr_t va, int level);
