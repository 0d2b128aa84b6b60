// SPDX-License-Identifier: MIT
// Collapsed pages: a leaf of level 2 in a region of level 1, with a deposited table that a later split will use. All
// under the space's lock.
#pragma once
#include "mm/space.h"

// Split the collapsed pages that a boundary at start or end would cut. -EBUSY: one is pinned (the other may have been
// split already, which makes no visible difference).
int huge_cut(struct space *s, vaddr_t start, vaddr_t end);
// The large leaf that mapped `head` has been cleared for good: the deposit, if there is one, is freed.
void huge_free_deposit(struct space *s, struct page *head);
