// SPDX-License-Identifier: MIT
// The slow half of the per-CPU stocks: frame/stock.h.
#include "mm/frame/stock.h"
#include "kernel/panic.h"
#include "kernel/xcall.h"

#define BATCH_MOST 64		// how many go to the buddy allocator, or come from it, at once

DEFINE_PER_CPU(struct page_pcp, page_pcp);

void page_init_cpu(void)
{
	struct page_pcp *pcp = this_cpu_ptr(&page_pcp);
	u64 share = page_total_count() / (16 * nr_cpus);	// many CPUs in little memory must not park all of it
	u32 high = (u32)MAX(8ull, MIN(share, (u64)PCP_HIGH));
	struct page *ring;
	unsigned order = 0;

	while ((PAGE_SIZE << order) / sizeof(*pcp->ring) <= high)
		order++;
	ring = page_alloc(order, PAGE_KERNEL, PG_NOFAIL_INJECT);
	if (!ring)
		return;
	pcp->ring = page_to_virt(ring);
	pcp->mask = (u32)((PAGE_SIZE << order) / sizeof(*pcp->ring) - 1);
	pcp->batch = MIN(high / 4, (u32)BATCH_MOST);
	pcp->high = high;
	barrier();	// as in pcp_enter()
	WRITE_ONCE(pcp->open, 1);
}

void pcp_flush(struct page_pcp *pcp, u32 n)
{
	buddy_free_ring(pcp->ring, pcp->mask, pcp->bottom, n);
	pcp->bottom += n;
	WRITE_ONCE(pcp->count, pcp->count - n);
}

void pcp_refill(struct page_pcp *pcp)
{
	pcp->bottom = 0;
	WRITE_ONCE(pcp->count, buddy_alloc_many(pcp->ring, pcp->batch));
}

unsigned pcp_drain_this_cpu(void)
{
	struct page_pcp *pcp = pcp_enter();
	u32 n;

	if (!pcp)
		return 0;
	n = pcp->count;
	if (n)
		pcp_flush(pcp, n);
	pcp_leave(pcp);
	return n;
}

u64 pcp_count(void)
{
	u64 n = 0;

	for_each_cpu(cpu)
		n += READ_ONCE(per_cpu_ptr(&page_pcp, cpu)->count);
	return n;
}

// Run fn on each CPU that has a stock, until none of them was in the middle of a change when it was asked.
struct visit {
	void (*fn)(struct page_pcp *pcp, u32 *result);
	u32 result;
	u32 again;
};

static void visit_interrupt(void *arg)
{
	struct visit *v = arg;
	struct page_pcp *pcp = this_cpu_ptr(&page_pcp);

	if (READ_ONCE(pcp->open))
		v->fn(pcp, &v->result);
	else if (pcp->ring)
		fetch_add(&v->again, 1);
}

static u32 visit_all(void (*fn)(struct page_pcp *pcp, u32 *result))
{
	struct visit v = { .fn = fn };
	struct cpumask all;

	do {
		WRITE_ONCE(v.again, 0);
		cpumask_copy(&all, &cpus_online);
		xcall_mask(&all, visit_interrupt, &v);
	} while (READ_ONCE(v.again));
	return READ_ONCE(v.result);
}

#define DRAIN_AT_ONCE 128	// with interrupts off

static void drain(struct page_pcp *pcp, u32 *left)
{
	pcp_flush(pcp, MIN(pcp->count, (u32)DRAIN_AT_ONCE));
	fetch_add(left, pcp->count);
}

void page_drain(void)
{
	pcp_drain_this_cpu();	// also when nobody is marked as online yet
	// Often enough to empty a full stock; one that is filled meanwhile may stay so.
	for (unsigned i = 0; i <= PCP_HIGH / DRAIN_AT_ONCE && visit_all(drain); i++)
		;
}

static void check(struct page_pcp *pcp, u32 *bad)
{
	bool ok = pcp->count <= pcp->high;

	for (u32 i = 0; ok && i < pcp->count; i++) {
		struct page *p = *pcp_slot(pcp, i);

		ok = p->kind == PAGE_PCP && !p->order && !READ_ONCE(p->refs);
	}
	if (!ok)
		fetch_add(bad, 1);
}

bool pcp_check(void) { return !visit_all(check); }
