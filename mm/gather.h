// SPDX-License-Identifier: MIT
// The gather: collects the leaves and tables that an operation unlinks, and puts them through the rest of the life of a
// page (DESIGN 2) in the only right order: unlink -> flush -> quiesce (the policy) -> free.
//
//   gather_begin();  { xchg entry with 0;  gather_leaf() / gather_table(); }*  gather_end();
//
// Also inside a subtree that goes as a whole each entry that names a table is cleared before that table is given away
// (table_free=hazard: a walker in the detached upper table re-reads the entry).
//
// The caller holds the space's lock from begin to end: no other operation can find an entry cleared and not yet
// flushed, but for what a back-end has deferred (may_defer): who must not, calls lazy_settle().
#pragma once
#include "mm/space.h"

#define GATHER_INLINE 16

struct leaf_batch;
struct gathered {		// what was taken out of the tree
	struct list tables;		// UNLINKED, by page.link
	struct leaf_batch *batches;	// filled batch pages, newest first
	unsigned nr_tables, nr_inline;
	unsigned nr_frames;		// of all leaves, in units of 4 KiB
	struct page *inline_leaves[GATHER_INLINE];
};

struct gather {
	struct space *space;
	vaddr_t start, end;	// hull of what must be flushed
	vaddr_t reach_start, reach_end;	// the same, with all that freed tables covered
	u8 level;		// smallest leaf level in it
	bool flush, freed_tables;
	u8 credits;		// taken for tables that are yet to be unlinked (mm/pending.h)
	bool may_defer;		// unmap and exit: other CPUs may reach the old pages for a while (flush_backend.defer)
	struct gathered taken;
};

void gather_begin(struct gather *g, struct space *s);
// Places for the leaves that are cleared next, at least one: `*n` of them. May flush and give away what was collected so far.
struct page **gather_room(struct gather *g, unsigned *n);
// n > 0 leaves of that level were cleared, the first of them at `first`, the last at `last`; their heads, whose references
// now are the gather's, stand in the room.
void gather_leaves(struct gather *g, unsigned n, vaddr_t first, vaddr_t last, int level);
void gather_changed(struct gather *g, vaddr_t va, int level);	// a leaf lost a permission: flush, nothing to free
// Before an entry that names a table is exchanged: the table may be among those that wait to be freed. May sleep; may flush
// and give away what was collected so far.
void gather_reserve(struct gather *g);
void gather_table(struct gather *g, struct page *table, vaddr_t va);	// detached: its parent entry was exchanged with 0
// A table of level 1 (or a large leaf, level 2) has gone from va and lives on elsewhere: its leaves and the entry itself
// must leave the TLBs, nothing is to be freed.
void gather_moved(struct gather *g, vaddr_t va, int level);
void gather_flush(struct gather *g);	// flush and give away what was collected so far
void gather_end(struct gather *g);
void gathered_move(struct gathered *to, struct gathered *from);	// `from` ends empty
// The rest of their lives, after the flush: tables to the policy, frames put. May sleep; the space's lock held or not.
void gathered_flushed(struct gathered *t, struct space *s, const struct table_policy *freer);
