// SPDX-License-Identifier: MIT
// The gather: collects the leaves and tables that an operation unlinks, and puts them through the rest of the life of a
// page (DESIGN 2) in the only right order: unlink -> flush -> quiesce (the policy) -> free.
//
//   gather_begin();  { xchg entry with 0;  gather_leaf() / gather_table(); }*  gather_end();
//
// The caller holds the space's lock from begin to end: no other operation can find an entry cleared and not yet
// flushed.
#pragma once
#include "mm/space.h"

#define GATHER_INLINE 16

struct leaf_batch;
struct gather {
	struct space *space;
	vaddr_t start, end;	// hull of what must be flushed
	u8 level;		// smallest leaf level in it
	bool flush, freed_tables;
	struct list tables;	// UNLINKED, by page.link
	struct leaf_batch *batches;	// filled batch pages, newest first
	unsigned nr_inline;
	struct page *inline_leaves[GATHER_INLINE];
};

void gather_begin(struct gather *g, struct space *s);
void gather_leaf(struct gather *g, struct page *head, vaddr_t va, int level);	// its reference now is the gather's
void gather_changed(struct gather *g, vaddr_t va, int level);	// a leaf lost a permission: flush, nothing to free
void gather_table(struct gather *g, struct page *table, vaddr_t va);	// detached: its parent entry was exchanged with 0
void gather_flush(struct gather *g);	// flush and give away what was collected so far
void gather_end(struct gather *g);
