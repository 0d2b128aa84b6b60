// SPDX-License-Identifier: MIT
// The regions of one space: a sorted list. All under the space's lock.
#pragma once
#include "mm/space.h"

struct region *region_find(struct space *s, vaddr_t va);			// that contains va, or NULL
struct region *region_first_from(struct space *s, vaddr_t va);		// first with end > va, or NULL
int region_add(struct space *s, vaddr_t start, vaddr_t end, unsigned prot, int level);	// -EEXIST, -ENOMEM
// Make sure that region boundaries lie at start and end. -EINVAL: that would cut a large page. -ENOMEM. On failure the
// regions describe the same memory as before.
int region_split_at(struct space *s, vaddr_t start, vaddr_t end);
bool region_cuts_large_page(struct space *s, vaddr_t va);	// would a boundary at va cut a page of its region's level?
void region_move(struct space *s, vaddr_t from, vaddr_t to, u64 len);	// boundaries were split before; `to` is free
// Remove what lies in the range, if neither end of it cuts a region; false: one does, and nothing has changed.
bool region_remove_whole(struct space *s, vaddr_t start, vaddr_t end);
void region_remove_range(struct space *s, vaddr_t start, vaddr_t end);	// boundaries were split before
void region_merge_range(struct space *s, vaddr_t start, vaddr_t end);	// join equal neighbours
bool region_covers(struct space *s, vaddr_t start, vaddr_t end);	// no hole?
void region_init(void);
