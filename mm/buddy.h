// SPDX-License-Identifier: MIT
// What lies below page_alloc(): the buddy allocator and the per-CPU lists in front of it. For mm/page*.c only.
//
// A frame that changes hands here has count 0: it belongs to whoever took it from a list; page_try_get() leaves it
// alone.
#pragma once
#include "mm/page.h"

// A block with .kind PAGE_PCP ("in transit") and .order set; its other frames are still marked as free. NULL: none.
struct page *buddy_alloc(unsigned order);
unsigned buddy_alloc_many(struct page **to, unsigned n);	// single frames, as many as there are up to n
void buddy_free(struct page *head, unsigned order);	// the block's other frames: PAGE_FREE, ORDER_INSIDE
void buddy_free_ring(struct page *const *ring, u32 mask, u32 at, u32 n);	// n single frames: ring[at & mask] and so on
u64 buddy_free_count(void);				// frames
u64 buddy_free_blocks(unsigned order);
bool buddy_check(void);

// A CPU's stock of single frames: a map or unmap of 512 pages, tables included, comes from and goes to it entirely.
#define PCP_HIGH 1536		// more than this, less on small machines: a batch goes back to the buddy allocator
struct page *pcp_alloc(void);
void pcp_free(struct page *p);
#define PCP_FREE_MOST 32	// what the next one is given at a time: preemption is off meanwhile
void pcp_free_many(struct page *const *pages, unsigned n);
unsigned pcp_drain_this_cpu(void);	// how many frames went back
u64 pcp_count(void);			// on all CPUs
bool pcp_check(void);			// may sleep
