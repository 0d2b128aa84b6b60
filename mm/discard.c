// SPDX-License-Identifier: MIT
// Discard: free the pages, keep the regions. Two phases, with the lock dropped between, so that faults on other CPUs
// need not wait for both:
//
//	1. clear the leaves, flush, put the frames            (tables stay linked, some of them empty)
//	   -- other CPUs may fault pages in, unmap, move --
//	2. look again: detach the tables that are linked here and empty now, flush, pass them to the policy
//
// Phase 2 takes nothing over from phase 1: a table that was empty then may have been refilled, or be somewhere else.
#include "mm/space.h"
#include "kernel/errno.h"
#include "lab/stall.h"
#include "mm/flush/flush.h"
#include "mm/gather.h"
#include "mm/huge.h"
#include "mm/region.h"
#include "mm/tree.h"

static int drop_leaves(struct space *s, vaddr_t start, vaddr_t end)
{
	struct gather g;
	int err;

	if (region_cuts_large_page(s, start) || region_cuts_large_page(s, end))
		return -EINVAL;
	err = huge_cut(s, start, end);
	if (err)
		return err;
	gather_begin(&g, s);
	tree_zap(&g, start, end);
	gather_end(&g);
	flush_settle(s, start, end);	// what others have unmapped there, and this discard did not find
	return 0;
}

static void drop_tables(struct space *s, vaddr_t start, vaddr_t end)
{
	struct gather g;

	gather_begin(&g, s);
	tree_prune(&g, start, end);
	gather_end(&g);
}

int space_discard(struct space *s, vaddr_t va, u64 len)
{
	int err;

	if (!space_range_ok(va, len, PAGE_SIZE))
		return -EINVAL;
	mutex_lock(&s->lock);
	err = drop_leaves(s, va, va + len);
	mutex_unlock(&s->lock);
	if (err)
		return err;
	// Leaves dropped and flushed, lock dropped; empty tables are still linked
	STALL(discard_between, s, va, 0);
	mutex_lock(&s->lock);
	drop_tables(s, va, va + len);
	mutex_unlock(&s->lock);
	return 0;
}
