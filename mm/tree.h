// SPDX-License-Identifier: MIT
// The page-table tree of one space, under its lock; level-parameterised. (tree.c has the picture.)
#pragma once
#include "lab/mutant.h"
#include "mm/space.h"

struct gather;

// The entry of `level` for va, or NULL if a table on the way is missing or a large leaf covers it.
pte_t *tree_find(struct space *s, vaddr_t va, int level, struct page **table);
// The same, creating missing tables. NULL: out of memory (tables made so far stay, empty: the caller prunes the range).
// If a collapsed leaf covers va, returns that leaf's entry.
pte_t *tree_make(struct space *s, vaddr_t va, int level, struct page **table);
// Clear all leaves in [start, end) and detach the tables that this leaves empty.
void tree_unmap(struct gather *g, vaddr_t start, vaddr_t end);
void tree_zap(struct gather *g, vaddr_t start, vaddr_t end);	// only the leaves; tables stay, empty or not
void tree_prune(struct gather *g, vaddr_t start, vaddr_t end);	// only the tables that are empty
// Rewrite the leaves' permissions.
void tree_protect(struct gather *g, vaddr_t start, vaddr_t end, unsigned prot);
