// SPDX-License-Identifier: MIT
// Per-CPU stocks of single frames: the fast path of page_alloc() and page_put() takes no lock, and leaves interrupts
// alone. A stock is a ring of pointers, so that a frame that comes and goes has nothing written but its own descriptor.
//
//	          bottom          bottom + count
//	             v                  v
//	 . . . . . . c c c w w w w w w  . . . .		coldest … warmest: frames come and go at the right end
//
// Who may touch it: its own CPU, with preemption off and `busy` set meanwhile. An interrupt that comes in the middle of that
// finds `busy` and goes to the buddy allocator instead; one that comes before or after leaves everything as a call does.
// So the ring needs no atomic operation and no barrier but the compiler's. Others empty it by a cross-CPU call, which is
// such an interrupt and may have to be repeated, and merely glance at its count.
#include "mm/buddy.h"
#include "kernel/panic.h"
#include "kernel/xcall.h"

#define BATCH_MOST 64		// how many go to the buddy allocator, or come from it, at once

struct page_pcp {
	u32 busy;
	u32 bottom, count;
	u32 mask;		// the ring's size - 1: positions are taken modulo a power of two
	u32 high, batch;	// high = 0: this CPU's stock does not exist yet. Else more frames than this: a batch goes back
	struct page **ring;
} __cacheline;	// nobody else's subject shares its line
static DEFINE_PER_CPU(struct page_pcp, page_pcp);
_Static_assert(sizeof(struct page_pcp) == CACHE_LINE, "one line for all that is no frame");

static struct page **slot(struct page_pcp *pcp, u32 i) { return &pcp->ring[(pcp->bottom + i) & pcp->mask]; }

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
	WRITE_ONCE(pcp->high, high);
}

// NULL: leave it alone.
static __always_inline struct page_pcp *enter(void)
{
	struct page_pcp *pcp;

	preempt_disable();
	pcp = this_cpu_ptr(&page_pcp);
	if (unlikely(READ_ONCE(pcp->busy) || !READ_ONCE(pcp->high))) {
		preempt_enable();
		return NULL;
	}
	WRITE_ONCE(pcp->busy, 1);
	barrier();	// an interrupt finds either all of a change or `busy`
	return pcp;
}

static __always_inline void leave(struct page_pcp *pcp)
{
	barrier();	// as in enter()
	WRITE_ONCE(pcp->busy, 0);
	preempt_enable();
}

// Put the n coldest frames back.
static __noinline void flush(struct page_pcp *pcp, u32 n)
{
	buddy_free_ring(pcp->ring, pcp->mask, pcp->bottom, n);
	pcp->bottom += n;
	WRITE_ONCE(pcp->count, pcp->count - n);
}

static __noinline void refill(struct page_pcp *pcp)
{
	pcp->bottom = 0;
	WRITE_ONCE(pcp->count, buddy_alloc_many(pcp->ring, pcp->batch));
}

struct page *pcp_alloc(void)
{
	struct page_pcp *pcp = enter();
	struct page *p = NULL;
	u32 n;

	if (unlikely(!pcp))
		return buddy_alloc(0);
	if (unlikely(!pcp->count))
		refill(pcp);
	n = pcp->count;
	if (likely(n)) {
		p = *slot(pcp, n - 1);
		WRITE_ONCE(pcp->count, n - 1);
	}
	leave(pcp);
	return p;
}

static __always_inline void push(struct page_pcp *pcp, struct page *p)
{
	WRITE_ONCE(p->kind, PAGE_PCP);
	*slot(pcp, pcp->count) = p;
	WRITE_ONCE(pcp->count, pcp->count + 1);
	if (unlikely(pcp->count > pcp->high))
		flush(pcp, pcp->batch);
}

void pcp_free(struct page *p)
{
	struct page_pcp *pcp = enter();

	if (unlikely(!pcp)) {
		buddy_free(p, 0);
		return;
	}
	push(pcp, p);
	leave(pcp);
}

void pcp_free_many(struct page *const *pages, unsigned n)
{
	struct page_pcp *pcp = enter();

	for (unsigned i = 0; i < n; i++) {
		if (likely(pcp))
			push(pcp, pages[i]);
		else
			buddy_free(pages[i], 0);
	}
	if (likely(pcp))
		leave(pcp);
}

unsigned pcp_drain_this_cpu(void)
{
	struct page_pcp *pcp = enter();
	u32 n;

	if (!pcp)
		return 0;
	n = pcp->count;
	if (n)
		flush(pcp, n);
	leave(pcp);
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

	if (READ_ONCE(pcp->busy))
		fetch_add(&v->again, 1);
	else if (pcp->high)
		v->fn(pcp, &v->result);
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

static void drain(struct page_pcp *pcp, u32 *unused)
{
	if (pcp->count)
		flush(pcp, pcp->count);
}

void page_drain(void)
{
	pcp_drain_this_cpu();	// also when nobody is marked as online yet
	visit_all(drain);
}

static void check(struct page_pcp *pcp, u32 *bad)
{
	bool ok = pcp->count <= pcp->high;

	for (u32 i = 0; ok && i < pcp->count; i++) {
		struct page *p = *slot(pcp, i);

		ok = p->kind == PAGE_PCP && !p->order && !READ_ONCE(p->refs);
	}
	if (!ok)
		fetch_add(bad, 1);
}

bool pcp_check(void) { return !visit_all(check); }
