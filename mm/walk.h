// SPDX-License-Identifier: MIT
// The lockless walk (DESIGN 3): this kernel's get_user_pages_fast.
//
// Contract: the page was mapped at va with that permission at some instant during the call. The caller holds a count of
// the space. The fast path allocates nothing, takes no lock, writes no shared line but the page's count, loads no CR3,
// never sleeps.
#pragma once
#include "mm/space.h"

int walk_slow(struct space *s, vaddr_t va, bool write, struct page **page);	// what is left to do without the fast path
// Pin the 4 KiB page at va (of a large page: the part that va names). 0; -EFAULT: not mapped, not permitted; -ENOMEM: also
// if the page, or all of the large page together, has as many references as there may be (PAGE_REFS_MAX in page.h).
// May sleep (the slow path takes the space's lock and may fault the page in).
static __always_inline int walk_pin(struct space *s, vaddr_t va, bool write, struct page **page)
{
	struct page *pinned = READ_ONCE(s->walk_one[write])(s, va);

	if (unlikely(!pinned))
		return walk_slow(s, va, write, page);
	*page = pinned;
	return 0;
}
// n pages from va on; returns how many were pinned, from the first on without gap (possibly 0): up to the first for which
// walk_pin() would fail.
unsigned walk_pin_range(struct space *s, vaddr_t va, unsigned n, bool write, struct page **pages);
// Fast path alone, all n in one read side: how many were pinned (0 … n). Any context, NMI excepted (a put may free).
unsigned walk_pin_fast(struct space *s, vaddr_t va, unsigned n, bool write, struct page **pages);
// End a pin; dirty: the holder wrote to the page. Any context but NMI.
void page_unpin(struct page *page, bool dirty);

#define WALK_CHUNK 64	// most pages inside one read side of walk_pin_range: bounds the time with interrupts off

// What is rare in a walk of one page, out of its way (walk_body.h calls them last, so that it needs no stack itself).
struct page *walk_missed(struct page *drop);		// gives back what was taken in vain; NULL
struct page *walk_resched(struct page *page);		// preempt_resched(); the page
