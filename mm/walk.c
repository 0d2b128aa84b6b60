// SPDX-License-Identifier: MIT
// The walk's entry points: dispatch to the policy's compiled walk, and the locked slow path.
#include "mm/walk.h"
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "lab/counter.h"
#include "mm/tlb.h"
#include "mm/walk_body.h"

static __always_inline bool walk_range_ok(vaddr_t va, unsigned n)
{
	return n && va < USER_END && n <= (USER_END - va + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

unsigned walk_pin_fast(struct space *s, vaddr_t va, unsigned n, bool write, struct page **pages)
{
	unsigned got;

	if (unlikely(!walk_range_ok(va, n)))
		return 0;
	ASSERT(!in_nmi());
	preempt_disable();
	walk_count(s, n);
	got = walk_selected(s)->walk(s, va, n, write, pages);
	preempt_enable();
	if (CHECK)
		count_add(walks_fast, got);
	return got;
}

// The locked slow path for one page: fault it in if need be.
int walk_slow(struct space *s, vaddr_t va, bool write, struct page **page)
{
	int err;

	if (unlikely(va >= USER_END))
		return -EFAULT;
	count(walks_slow);
	do {
		mutex_lock(&s->lock);
		err = walk_plain(s, va, write, page);
		mutex_unlock(&s->lock);
		ASSERT(err != -EAGAIN);		// under the lock nothing changes
		if (err != -EFAULT)
			return err;
		err = space_fault(s, va, write);
	} while (!err);
	return err;
}

struct page *walk_missed(struct page *drop)
{
	page_put(drop);
	return NULL;
}

struct page *walk_resched(struct page *page)
{
	preempt_resched();
	return page;
}

unsigned walk_pin_range(struct space *s, vaddr_t va, unsigned n, bool write, struct page **pages)
{
	unsigned done = 0;

	if (!walk_range_ok(va, n))
		return 0;
	while (done < n) {
		unsigned chunk = MIN(n - done, (unsigned)WALK_CHUNK);
		unsigned got = walk_pin_fast(s, va + done * PAGE_SIZE, chunk, write, pages + done);

		done += got;
		if (got == chunk)
			continue;
		if (walk_slow(s, va + done * PAGE_SIZE, write, &pages[done]))
			break;
		done++;
	}
	return done;
}

void page_unpin(struct page *page, bool dirty)
{
	struct page *head = page_head(page);	// stable: a split needs the only reference, and we hold one

	if (dirty)
		fetch_or(&head->private, PAGE_PIN_DIRTY);
	page_put(head);
}
