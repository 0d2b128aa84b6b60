// SPDX-License-Identifier: MIT
// What the tests of policies that keep tables share.
#pragma once
#include "mm/space.h"
#include "mm/table.h"
#include "tests/mm/walk/hold.h"

#define FOR_EACH_KEEPER(it) FOR_EACH_POLICY(it) if ((*it)->keeps)

unsigned keep_laid_aside(const struct space *s);	// how many tables

// Maps a page and unmaps it again: the table of level 1 stays, empty. Returns it.
struct page *keep_leave_empty(struct space *s, vaddr_t va);

int keep_map_large(struct space *s);	// a large leaf at BASE; an error as of space_map()

#if CHECK
// A walker has read the entry of the table when a large leaf takes its place; it goes on when the leaf is there.
struct kept_walk {
	struct walk_job job;
	struct page *table;
	u32 there, go;
	enum table_state seen;		// of the table, before the walker went on
};

struct thread *keep_walk_into(struct kept_walk *h, struct space *s);	// returns when it has read the entry
void keep_end_walk(struct kept_walk *h, struct thread *walker);
#endif
