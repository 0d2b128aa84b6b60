// SPDX-License-Identifier: MIT
// What the suites of collapse, split, discard and move share: pages with stamps, and running a scene under every pair.
#pragma once
#include "mm/space.h"

#define HUGE_SIZE level_size(2)

// Stamp the first and last word of each page, by user accesses: the calling thread runs in the space. `seed` tells
// stamps apart.
void stamp_pages(vaddr_t va, unsigned pages, u64 seed);
unsigned stamped_pages(vaddr_t va, unsigned pages, u64 seed);	// how many hold their stamps
unsigned zero_pages(vaddr_t va, unsigned pages);
// Run the scene under each policy with back-end ipi, and under each available back-end with policy rcu.
void under_each_pair(void (*scene)(const struct table_policy *p, const struct flush_backend *b));
// The leaf for va, whatever its level; NULL if not present. Under the space's lock.
pte_t *leaf_at(struct space *s, vaddr_t va, int *level);
// The frame at va, without keeping a pin; NULL: none. The level of its leaf, 0: none.
struct page *frame_at(struct space *s, vaddr_t va);
int leaf_level(struct space *s, vaddr_t va);
