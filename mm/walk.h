// SPDX-License-Identifier: MIT
// The lockless walk (DESIGN 3): this kernel's get_user_pages_fast.
//
// Contract: the page was mapped at va with that permission at some instant during the call. The caller holds a count of
// the space. The fast path allocates nothing, takes no lock, writes no shared line but the page's count, loads no CR3,
// never sleeps.
#pragma once
#include "mm/space.h"

// What walk_pin() does when the fast path has failed: it walks under the lock, and may fault the page in.
int walk_slow(struct space *s, vaddr_t va, bool write, struct page **page);
// The fast path alone for one page; NULL: it has failed, or it is not mapped.
static __always_inline struct page *walk_pin_try(struct space *s, vaddr_t va, bool write)
{
	return READ_ONCE(s->walk_one[write])(s, va);
}
// Pin the 4 KiB page at va (of a large page: the part that va names). Returns 0; -EFAULT: not mapped, or not permitted;
// -ENOMEM: out of memory, or the page (of a large page, all of it together) has PAGE_REFS_MAX references already
// (page.h). May sleep (the slow path takes the space's lock and may fault the page in).
static __always_inline int walk_pin(struct space *s, vaddr_t va, bool write, struct page **page)
{
	struct page *pinned = walk_pin_try(s, va, write);

	if (unlikely(!pinned))
		return walk_slow(s, va, write, page);
	*page = pinned;
	return 0;
}
// Pin n pages from va on, up to the first for which walk_pin() would fail. Returns how many were pinned (possibly 0).
unsigned walk_pin_range(struct space *s, vaddr_t va, unsigned n, bool write, struct page **pages);
// The fast path alone, all n pages in one read side. Returns how many were pinned (0 … n). Any context but NMI (a put
// may free).
unsigned walk_pin_fast(struct space *s, vaddr_t va, unsigned n, bool write, struct page **pages);
// End a pin; dirty: the holder wrote to the page. Any context but NMI.
void page_unpin(struct page *page, bool dirty);

#define WALK_CHUNK 64	// most pages inside one read side of walk_pin_range: bounds the time with interrupts off

// The rare parts of a walk of one page, out of line (walk_body.h calls them last, so that the walk itself needs no
// stack).
struct page *walk_missed(struct page *drop);		// puts a page that was taken in vain; returns NULL
struct page *walk_resched(struct page *page);		// preempt_resched(); returns the page
