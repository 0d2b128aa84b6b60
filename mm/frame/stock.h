// SPDX-License-Identifier: MIT
// Per-CPU stocks of single frames: the fast path of page_alloc() and page_put() takes no lock, and leaves interrupts
// alone. A stock is a ring of pointers, so that taking or putting a frame writes to no other frame's descriptor.
//
//	          bottom          bottom + count
//	             v                  v
//	 . . . . . . c c c w w w w w w  . . . .		coldest … warmest: frames come and go at the right end
//
// Who may touch it: its own CPU, with preemption off, after it has closed it (`open` = 0). An interrupt that comes
// while it is closed goes to the buddy allocator instead; one that comes before or after that finds the stock open and
// leaves it open. So the ring needs no atomic operation and no barrier but the compiler's. Other CPUs empty it by a
// cross-CPU call, which is such an interrupt and may have to be repeated; otherwise they only read its count. For this
// folder only.
#pragma once
#include "kernel/preempt.h"
#include "mm/frame/buddy.h"

// A map or unmap of 512 pages, tables included, comes from and goes to it entirely.
#define PCP_HIGH 4000		// more than this, less on small machines: a batch goes back to the buddy allocator

struct page_pcp {
	u32 open;		// 0: in use, or it does not exist yet
	u32 bottom, count;
	u32 mask;		// the ring's size - 1: positions are taken modulo a power of two
	u32 high, batch;
	struct page **ring;
} __cacheline;
_Static_assert(sizeof(struct page_pcp) == CACHE_LINE, "nothing that other CPUs write shares its line");
DECLARE_PER_CPU(struct page_pcp, page_pcp);

void pcp_flush(struct page_pcp *pcp, u32 n);	// put the n coldest frames back
void pcp_refill(struct page_pcp *pcp);
unsigned pcp_drain_this_cpu(void);	// how many frames went back
u64 pcp_count(void);			// on all CPUs
bool pcp_check(void);			// may sleep

static __always_inline struct page **pcp_slot(struct page_pcp *pcp, u32 i)
{
	return &pcp->ring[(pcp->bottom + i) & pcp->mask];
}

// NULL: the stock is in use; pcp_keep() and pcp_leave() accept NULL.
static __always_inline struct page_pcp *pcp_enter(void)
{
	struct page_pcp *pcp;

	preempt_disable();
	pcp = this_cpu_ptr(&page_pcp);
	if (unlikely(!READ_ONCE(pcp->open))) {
		preempt_enable();
		return NULL;
	}
	WRITE_ONCE(pcp->open, 0);
	barrier();	// an interrupt finds either all of a change or the stock closed
	return pcp;
}

static __always_inline void pcp_leave(struct page_pcp *pcp)
{
	if (unlikely(!pcp))
		return;
	barrier();	// as in pcp_enter()
	WRITE_ONCE(pcp->open, 1);
	preempt_enable();
}

static __always_inline void pcp_keep(struct page_pcp *pcp, struct page *p)
{
	if (unlikely(!pcp)) {
		buddy_free(p, 0);
		return;
	}
	WRITE_ONCE(p->kind, PAGE_PCP);
	*pcp_slot(pcp, pcp->count) = p;
	WRITE_ONCE(pcp->count, pcp->count + 1);
	if (unlikely(pcp->count > pcp->high))
		pcp_flush(pcp, pcp->batch);
}

static __always_inline struct page *pcp_alloc(void)
{
	struct page_pcp *pcp = pcp_enter();
	struct page *p = NULL;

	if (unlikely(!pcp))
		return buddy_alloc(0);
	if (unlikely(!pcp->count))
		pcp_refill(pcp);
	if (likely(pcp->count)) {
		p = *pcp_slot(pcp, pcp->count - 1);
		WRITE_ONCE(pcp->count, pcp->count - 1);
	}
	pcp_leave(pcp);
	return p;
}
