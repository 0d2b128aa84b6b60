// SPDX-License-Identifier: MIT
// What lies below page_alloc(): the buddy allocator; in front of it stand the per-CPU stocks (frame/stock.h). For this
// folder only.
//
// A frame that changes hands here has count 0: it belongs to whoever took it from a list, and page_try_get() leaves it
// alone.
#pragma once
#include "mm/frame/page.h"

// A block with .kind PAGE_PCP ("in transit") and .order set; its other frames are still marked as free. NULL: none.
struct page *buddy_alloc(unsigned order);
unsigned buddy_alloc_many(struct page **to, unsigned n);	// single frames, as many as there are up to n
void buddy_free(struct page *head, unsigned order);	// the block's other frames: PAGE_FREE, ORDER_INSIDE
void buddy_free_ring(struct page *const *ring, u32 mask, u32 at, u32 n);	// n single frames: ring[at & mask] and so on
u64 buddy_free_count(void);				// frames
u64 buddy_free_blocks(unsigned order);
bool buddy_check(void);
