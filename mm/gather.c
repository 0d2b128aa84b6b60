// SPDX-License-Identifier: MIT
// The gather: see gather.h for the order that it keeps.
#include "mm/gather.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "mm/pending.h"
#include "mm/table.h"
#include "mm/tlb.h"

void gathered_move(struct gathered *to, struct gathered *from)
{
	*to = *from;
	list_init(&to->tables);
	list_splice(&to->tables, &from->tables);
	gathered_reset(from);
}

static bool add_batch(struct gathered *t)
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

struct page **gather_more_room(struct gather *g, unsigned *n)
{
	struct leaf_batch *b = g->taken.batches;

	if ((!b || b->nr == ARRAY_SIZE(b->leaves)) && !add_batch(&g->taken)) {
		g->may_defer = false;	// no memory to collect more: flush at once what there is, defer nothing
		gather_flush(g);
		return gather_room(g, n);
	}
	b = g->taken.batches;
	*n = (unsigned)(ARRAY_SIZE(b->leaves) - b->nr);
	return b->leaves + b->nr;
}

void __hot gather_credit(struct gather *g)
{
	if (likely(pending_try(CREDITS_AT_ONCE))) {
		g->credits = CREDITS_AT_ONCE - 1;
		return;
	}
	if (pending_try(1))
		return;
	g->may_defer = false;	// the credits that this thread would wait for may be its own gather's
	gather_flush(g);
	pending_take(1);
}

void gather_moved(struct gather *g, vaddr_t va, int level)
{
	gather_range(g, va, va + level_size(2) - PAGE_SIZE, level);	// to the last leaf under the entry
	// The flush then drops the entry above as well, also on lazy CPUs, and goes to the walkers in space.walkers, on
	// which walk_outlives_moves() relies.
	g->freed_tables = true;
}

static __always_inline void put_leaves(struct gathered *t)
{
	if (t->nr_inline == 1)
		page_put(t->inline_leaves[0]);
	else
		page_put_many(t->inline_leaves, t->nr_inline);
	while (t->batches) {
		struct leaf_batch *b = t->batches;

		t->batches = b->next;
		page_put_many(b->leaves, (unsigned)b->nr);
		page_put(virt_to_page(b));
	}
}

static __always_inline void flushed_tables(struct gathered *t, struct space *s, const struct table_policy *freer)
{
	tables_flushed(&t->tables, s, freer, t->proves ? &t->proved : NULL);
}

static __always_inline void flushed(struct gathered *t, struct space *s, const struct table_policy *freer)
{
	flushed_tables(t, s, freer);
	put_leaves(t);
}

void gathered_flushed(struct gathered *t, struct space *s, const struct table_policy *freer)
{
	flushed(t, s, freer);
	gathered_reset(t);
}

// True: the back-end has taken over what was collected.
static __always_inline bool flush_or_defer(struct gather *g)
{
	if (MUTANT(gather_no_flush))	// nothing is ever flushed
		return false;
	if (MUTANT(no_flush_without_leaf) && !g->taken.nr_frames)	// tables, but no leaf present (Linux, 2018)
		return false;
	return tlb_flush_gathered(g);
}

// The flush under a policy that acts before it; from here on this gather defers none. The leaves are put with preemption
// on again: there may be many.
static __noinline void flush_begun(struct gather *g, const struct table_policy *freer)
{
	g->may_defer = false;
	preempt_disable();
	freer->begin(g->space, &g->taken.tables);
	if (MUTANT(proxy_read_side_ends_early))	// the read side ends before the flush
		preempt_enable();
	STALL(gather_begun, g->space, g->start, g->level);	// `begin` has returned, and nothing is flushed
	if (MUTANT(proxy_read_side_ends_early))
		preempt_disable();
	flush_or_defer(g);
	flushed_tables(&g->taken, g->space, freer);
	preempt_enable();
	rcu_hasten();		// what `begin` has queued
	put_leaves(&g->taken);
	gather_reset(g);
}

void __hot gather_flush(struct gather *g)
{
	const struct table_policy *freer = g->space->freer;

	if (!g->flush)
		return;
	STALL(gather_unlinked, g->space, g->start, g->level);	// everything is unlinked, nothing flushed
	if (freer->begin && g->freed_tables) {
		flush_begun(g, freer);
		return;
	}
	if (MUTANT(gather_flush_last))	// released first, flushed only then
		gathered_flushed(&g->taken, g->space, freer);
	if (!flush_or_defer(g)) {
		STALL(gather_flushed, g->space, g->start, g->level);	// flushed, and nothing released yet
		flushed(&g->taken, g->space, freer);
	}
	gather_reset(g);
}
