// SPDX-License-Identifier: MIT
// The gather: see gather.h for the order that it keeps.
#include "mm/gather.h"
#include "kernel/panic.h"
#include "kernel/stall.h"
#include "mm/table.h"
#include "mm/tlb.h"

STALL_DEFINE(gather_unlinked);	// everything is unlinked, nothing flushed
STALL_DEFINE(gather_flushed);	// flushed; neither tables nor frames given away

// Leaves beyond the inline ones wait in whole frames of pointers.
struct leaf_batch {
	struct leaf_batch *next;
	u64 nr;
	struct page *leaves[PAGE_SIZE / sizeof(void *) - 2];
};
_Static_assert(sizeof(struct leaf_batch) == PAGE_SIZE, "a batch is one frame");

static void gather_reset(struct gather *g)
{
	g->start = USER_END;
	g->end = 0;
	g->level = PT_LEVELS;
	g->flush = g->freed_tables = false;
	g->nr_inline = 0;
	g->batches = NULL;
}

void gather_begin(struct gather *g, struct space *s)
{
	ASSERT(mutex_held(&s->lock));
	g->space = s;
	list_init(&g->tables);
	gather_reset(g);
}

static void gather_range(struct gather *g, vaddr_t va, int level)
{
	vaddr_t start = ALIGN_DOWN(va, level_size(level));

	g->start = MIN(g->start, start);
	g->end = MAX(g->end, start + level_size(level));
	g->level = MIN(g->level, (u8)level);
	g->flush = true;
}

void gather_changed(struct gather *g, vaddr_t va, int level) { gather_range(g, va, level); }

void gather_leaf(struct gather *g, struct page *head, vaddr_t va, int level)
{
	struct leaf_batch *b = g->batches;

	gather_range(g, va, level);
	if (g->nr_inline == GATHER_INLINE && (!b || b->nr == ARRAY_SIZE(b->leaves))) {
		struct page *frame = page_alloc(0, PAGE_KERNEL, 0);

		if (!frame) {		// no memory to collect in: finish what there is
			gather_flush(g);
			gather_range(g, va, level);
		} else {
			b = page_to_virt(frame);
			b->next = g->batches;
			b->nr = 0;
			g->batches = b;
		}
	}
	if (g->nr_inline < GATHER_INLINE)
		g->inline_leaves[g->nr_inline++] = head;
	else
		b->leaves[b->nr++] = head;
}

void gather_table(struct gather *g, struct page *table, vaddr_t va)
{
	table_set_state(table, TABLE_LIVE, TABLE_UNLINKED);
	// The paging-structure caches may hold the entry even if no leaf was ever present: any address under it will do.
	gather_range(g, va, 1);
	g->freed_tables = true;
	list_push_back(&g->tables, &table->link);
}

static void gather_free_leaves(struct gather *g)
{
	for (unsigned i = 0; i < g->nr_inline; i++)
		page_put(g->inline_leaves[i]);
	while (g->batches) {
		struct leaf_batch *b = g->batches;

		g->batches = b->next;
		for (u64 i = 0; i < b->nr; i++)
			page_put(b->leaves[i]);
		page_put(virt_to_page(b));
	}
}

void gather_flush(struct gather *g)
{
	if (!g->flush)
		return;
	STALL(gather_unlinked, g->space, g->start, g->level);
	tlb_flush(g->space, g->start, g->end, g->level, g->freed_tables);
	STALL(gather_flushed, g->space, g->start, g->level);
	list_for_each(it, &g->tables)
		table_set_state(list_entry(it, struct page, link), TABLE_UNLINKED, TABLE_FLUSHED);
	if (!list_empty(&g->tables))
		g->space->policy->free(g->space, &g->tables);
	gather_free_leaves(g);
	gather_reset(g);
}

void gather_end(struct gather *g)
{
	gather_flush(g);
	ASSERT(list_empty(&g->tables));
}
