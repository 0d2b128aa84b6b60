// SPDX-License-Identifier: MIT
// A tree beside the list of regions, in spaces that have many. All under the space's lock.
#pragma once
#include "mm/space.h"

struct region *region_tree_first_from(const struct space *s, vaddr_t va);	// first with end > va, or NULL
void region_tree_insert(struct space *s, struct region *r);
void region_tree_remove(struct space *s, struct region *r);
// It starts or ends elsewhere now, still between its neighbours.
void region_tree_resized(struct space *s, struct region *r);
vaddr_t region_tree_hole(const struct space *s, u64 len, u64 align, vaddr_t low, vaddr_t high);	// as region_find_gap()
