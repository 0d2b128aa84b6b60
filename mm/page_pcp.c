// SPDX-License-Identifier: MIT
// Per-CPU lists of single frames: the fast path of page_alloc() and page_put() takes no lock, it only turns interrupts
// off. A list belongs to its CPU; others empty it by a cross-CPU call and merely glance at its count.
#include "mm/buddy.h"
#include "kernel/panic.h"
#include "kernel/xcall.h"

#define PCP_HIGH 128		// more than this: a batch goes back to the buddy allocator

struct page_pcp {
	struct list frames;	// the warmest first
	u32 count;
	u32 high, batch;	// high = 0: this CPU's list does not exist yet
};
static DEFINE_PER_CPU(struct page_pcp, page_pcp);

void page_init_cpu(void)
{
	irqflags_t flags = irq_save();
	struct page_pcp *pcp = this_cpu_ptr(&page_pcp);
	u64 share = page_total_count() / (16 * nr_cpus);	// many CPUs in little memory must not park all of it

	list_init(&pcp->frames);
	WRITE_ONCE(pcp->count, 0);
	pcp->high = (u32)MAX(8ull, MIN(share, (u64)PCP_HIGH));
	pcp->batch = pcp->high / 4;
	irq_restore(flags);
}

// IRQs off: put the n coldest frames back.
static void flush(struct page_pcp *pcp, unsigned n)
{
	struct list cold;

	list_init(&cold);
	WRITE_ONCE(pcp->count, pcp->count - n);
	while (n--) {
		struct list *l = pcp->frames.prev;

		list_remove(l);
		list_push_back(&cold, l);
	}
	buddy_free_many(&cold);
}

struct page *pcp_alloc(void)
{
	irqflags_t flags = irq_save();
	struct page_pcp *pcp = this_cpu_ptr(&page_pcp);
	struct page *p = NULL;

	if (unlikely(!pcp->high)) {
		irq_restore(flags);
		return buddy_alloc(0);
	}
	if (!pcp->count)
		WRITE_ONCE(pcp->count, buddy_alloc_many(&pcp->frames, pcp->batch));
	if (pcp->count) {
		p = list_entry(list_pop_front(&pcp->frames), struct page, link);
		WRITE_ONCE(pcp->count, pcp->count - 1);
	}
	irq_restore(flags);
	return p;
}

void pcp_free(struct page *p)
{
	irqflags_t flags = irq_save();
	struct page_pcp *pcp = this_cpu_ptr(&page_pcp);

	if (unlikely(!pcp->high)) {
		irq_restore(flags);
		buddy_free(p, 0);
		return;
	}
	WRITE_ONCE(p->kind, PAGE_PCP);
	list_push_front(&pcp->frames, &p->link);
	WRITE_ONCE(pcp->count, pcp->count + 1);
	if (unlikely(pcp->count > pcp->high))
		flush(pcp, pcp->batch);
	irq_restore(flags);
}

unsigned pcp_drain_this_cpu(void)
{
	irqflags_t flags = irq_save();
	struct page_pcp *pcp = this_cpu_ptr(&page_pcp);
	unsigned n = pcp->count;

	if (n)
		flush(pcp, n);
	irq_restore(flags);
	return n;
}

u64 pcp_count(void)
{
	u64 n = 0;

	for_each_cpu(cpu)
		n += READ_ONCE(per_cpu_ptr(&page_pcp, cpu)->count);
	return n;
}

static void drain_interrupt(void *unused) { pcp_drain_this_cpu(); }

static void on_all_cpus(xcall_fn fn, void *arg)
{
	struct cpumask all;

	cpumask_copy(&all, &cpus_online);
	xcall_mask(&all, fn, arg);
}

void page_drain(void)
{
	pcp_drain_this_cpu();	// also when nobody is marked as online yet
	on_all_cpus(drain_interrupt, NULL);
}

static void check_interrupt(void *bad)
{
	struct page_pcp *pcp = this_cpu_ptr(&page_pcp);
	u32 n = 0;
	bool ok = true;

	if (!pcp->high)
		return;
	list_for_each(l, &pcp->frames) {
		struct page *p = list_entry(l, struct page, link);

		ok = ++n <= pcp->count && p->kind == PAGE_PCP && !p->order && !READ_ONCE(p->refs) && l->next->prev == l;
		if (!ok)
			break;
	}
	if (!ok || n != pcp->count)
		fetch_add((u32 *)bad, 1);
}

bool pcp_check(void)
{
	u32 bad = 0;

	on_all_cpus(check_interrupt, &bad);
	return !READ_ONCE(bad);
}
