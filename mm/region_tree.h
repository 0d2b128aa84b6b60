// SPDX-License-Identifier: MIT
// A tree beside the list of regions, in spaces that have many. All under the space's lock.
#pragma once
#include "mm/space.h"

struct region *region_tree_first_from(const struct space *s, vaddr_t va);	// first with end > va, or NULL
void region_tree_insert(struct space *s, struct region *r);
void region_tree_remove(struct space *s, struct region *r);
