// SPDX-License-Identifier: MIT
// The page-table tree of one space, under its lock; level-parameterised. (tree.c has the picture.)
#pragma once
#include "lab/mutant.h"
#include "mm/space.h"

struct gather;

// The entry of `level` for va, or NULL if a table on the way is missing or a large leaf covers it.
pte_t *tree_find(struct space *s, vaddr_t va, int level, struct page **table);
// The same, creating missing tables. NULL: out of memory (tables made so far stay, empty: the caller prunes the range).
// If a collapsed leaf covers va, returns that leaf's entry. An entry of level 2 or 3 never names a table on return: one
// that was kept there (table_policy.keeps) has been detached, flushed and passed to the policy. May sleep.
pte_t *tree_make(struct space *s, vaddr_t va, int level, struct page **table);
// Clear all leaves in [start, end) and detach the tables that this leaves empty, unless the space's freer keeps them.
void tree_unmap(struct gather *g, vaddr_t start, vaddr_t end);
void tree_zap(struct gather *g, vaddr_t start, vaddr_t end);	// only the leaves; tables stay, empty or not
void tree_prune(struct gather *g, vaddr_t start, vaddr_t end);	// only the tables that are empty; none that are kept
void tree_end(struct gather *g);	// all leaves and all tables but the root, kept ones, too: the space has no user left
// An entry of the table was cleared by other means: count the table if this has emptied it and it is kept.
void tree_emptied(struct space *s, const struct page *table);
// Rewrite the leaves' permissions.
void tree_protect(struct gather *g, vaddr_t start, vaddr_t end, unsigned prot);
