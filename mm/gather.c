// SPDX-License-Identifier: MIT
// The gather: see gather.h for the order that it keeps.
#include "mm/gather.h"
#include "kernel/mutant.h"
#include "kernel/panic.h"
#include "kernel/stall.h"
#include "mm/pending.h"
#include "mm/table.h"
#include "mm/tlb.h"

MUTANT_DEFINE(gather_no_flush);		// nothing is ever flushed
MUTANT_DEFINE(gather_flush_last);	// given away, and flushed only then
MUTANT_DEFINE(gather_forgets_level);	// a table of level 2 is unlinked and never given away
MUTANT_DEFINE(no_flush_without_leaf);	// tables go, and nothing is flushed since no leaf was there (Linux, 2018)
STALL_DEFINE(gather_unlinked);	// everything is unlinked, nothing flushed
STALL_DEFINE(gather_flushed);	// flushed; neither tables nor frames given away

// Leaves beyond the inline ones wait in whole frames of pointers.
struct leaf_batch {
	struct leaf_batch *next;
	u64 nr;
	struct page *leaves[PAGE_SIZE / sizeof(void *) - 2];
};
_Static_assert(sizeof(struct leaf_batch) == PAGE_SIZE, "a batch is one frame");

static void gathered_reset(struct gathered *t)
{
	list_init(&t->tables);
	t->nr_tables = t->nr_frames = t->nr_inline = 0;
	t->batches = NULL;
}

void gathered_move(struct gathered *to, struct gathered *from)
{
	*to = *from;
	list_init(&to->tables);
	list_splice(&to->tables, &from->tables);
	gathered_reset(from);
}

static void gather_reset(struct gather *g)
{
	g->start = g->reach_start = USER_END;
	g->end = g->reach_end = 0;
	g->level = PT_LEVELS;
	g->flush = g->freed_tables = false;
	gathered_reset(&g->taken);
}

void gather_begin(struct gather *g, struct space *s)
{
	ASSERT(mutex_held(&s->lock));
	g->space = s;
	g->may_defer = false;
	g->credits = 0;
	gather_reset(g);
}

static __always_inline void gather_reach(struct gather *g, vaddr_t va, int level)
{
	vaddr_t start = ALIGN_DOWN(va, level_size(level));

	g->reach_start = MIN(g->reach_start, start);
	g->reach_end = MAX(g->reach_end, start + level_size(level));
}

static __always_inline void gather_range(struct gather *g, vaddr_t va, int level)
{
	vaddr_t start = ALIGN_DOWN(va, level_size(level));

	g->start = MIN(g->start, start);
	g->end = MAX(g->end, start + level_size(level));
	g->level = MIN(g->level, (u8)level);
	g->flush = true;
	gather_reach(g, va, level);
}

void gather_changed(struct gather *g, vaddr_t va, int level) { gather_range(g, va, level); }

// Leaves beyond the inline ones need a batch with room. False: no memory.
static bool gather_batch(struct gathered *t)
{
	struct page *frame = page_alloc(0, PAGE_KERNEL, 0);
	struct leaf_batch *b;

	if (!frame)
		return false;
	b = page_to_virt(frame);
	b->next = t->batches;
	b->nr = 0;
	t->batches = b;
	return true;
}

struct page **gather_room(struct gather *g, unsigned *n)
{
	struct gathered *t = &g->taken;
	struct leaf_batch *b = t->batches;

	if (t->nr_inline == GATHER_INLINE && (!b || b->nr == ARRAY_SIZE(b->leaves)) && !gather_batch(t)) {
		g->may_defer = false;	// no memory to collect in: finish what there is, and hold nothing up
		gather_flush(g);
	}
	if (t->nr_inline < GATHER_INLINE) {
		*n = GATHER_INLINE - t->nr_inline;
		return t->inline_leaves + t->nr_inline;
	}
	b = t->batches;
	*n = (unsigned)(ARRAY_SIZE(b->leaves) - b->nr);
	return b->leaves + b->nr;
}

void gather_leaves(struct gather *g, unsigned n, vaddr_t first, vaddr_t last, int level)
{
	struct gathered *t = &g->taken;

	gather_range(g, first, level);
	if (first != last)
		gather_range(g, last, level);
	t->nr_frames += n << (level - 1) * PT_BITS;
	if (t->nr_inline < GATHER_INLINE)
		t->nr_inline += n;
	else
		t->batches->nr += n;
}

// As many as one page's tables need, so that one page costs the pool's lines two writes, not six.
#define CREDITS_AT_ONCE (PT_LEVELS - 1)

void gather_reserve(struct gather *g)
{
	if (g->credits) {
		g->credits--;
		return;
	}
	if (likely(pending_try(CREDITS_AT_ONCE))) {
		g->credits = CREDITS_AT_ONCE - 1;
		return;
	}
	if (pending_try(1))
		return;
	g->may_defer = false;	// what we have collected ourselves may be what we are to wait for
	gather_flush(g);
	pending_take(1);
}

void gather_table(struct gather *g, struct page *table, vaddr_t va)
{
	bool emptied;

	table_set_state(table, TABLE_LIVE, TABLE_UNLINKED);
	if (MUTANT(gather_forgets_level) && table->table_level == 2)
		return;
	emptied = table->table_level < PT_LEVELS && !MUTANT(tree_lower_entry_left) && !MUTANT(discard_no_recheck);
	table->private = TABLE_CREDITED | (emptied ? TABLE_EMPTIED : 0);
	// The paging-structure caches may hold the entry even if no leaf was ever present: any address under it will do.
	gather_range(g, va, 1);
	gather_reach(g, va, table->table_level + 1);
	g->freed_tables = true;
	list_push_back(&g->taken.tables, &table->link);
	g->taken.nr_tables++;
}

void gather_moved(struct gather *g, vaddr_t va, int level)
{
	gather_range(g, va, level);
	gather_range(g, va + level_size(2) - PAGE_SIZE, level);	// the last leaf under the entry
	g->freed_tables = true;		// the entry above must go as well, and from lazy CPUs too
}

static void put_leaves(struct gathered *t)
{
	page_put_many(t->inline_leaves, t->nr_inline);
	while (t->batches) {
		struct leaf_batch *b = t->batches;

		t->batches = b->next;
		page_put_many(b->leaves, (unsigned)b->nr);
		page_put(virt_to_page(b));
	}
}

void gathered_flushed(struct gathered *t, struct space *s, const struct table_policy *freer)
{
	list_for_each(it, &t->tables)
		table_set_state(list_entry(it, struct page, link), TABLE_UNLINKED, TABLE_FLUSHED);
	if (!list_empty(&t->tables))
		freer->free(s, &t->tables);
	put_leaves(t);
	gathered_reset(t);
}

void gather_flush(struct gather *g)
{
	if (!g->flush)
		return;
	STALL(gather_unlinked, g->space, g->start, g->level);
	if (MUTANT(gather_flush_last))
		gathered_flushed(&g->taken, g->space, g->space->freer);
	if (MUTANT(gather_no_flush) || (MUTANT(no_flush_without_leaf) && !g->taken.nr_frames) || !tlb_flush_gathered(g)) {
		STALL(gather_flushed, g->space, g->start, g->level);
		gathered_flushed(&g->taken, g->space, g->space->freer);
	}
	gather_reset(g);
}

void gather_end(struct gather *g)
{
	gather_flush(g);
	ASSERT(list_empty(&g->taken.tables));
	if (g->credits)
		pending_put(g->credits);
}
