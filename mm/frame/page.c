// SPDX-License-Identifier: MIT
// Page frames: allocation, reference counts, splitting.
//
// The life of a frame's count:
//
//	free, or in a list: 0  --page_alloc: fetch_add-->  1  --page_try_get / page_put-->  n  --the last put-->  0
//
// Whoever takes a frame from a list owns it alone: page_try_get() never turns 0 into 1, so a walker that arrives with a
// stale address changes nothing in it. A walker that took its reference while the frame was in use may keep it across
// the owner's last put; then its own put frees. The one put that sees 1 frees, whoever it is, so nothing is freed
// twice. The count is never plainly stored, because a store could overwrite a walker's transient reference. n is at
// most PAGE_REFS_MAX: page_try_get() compares and counts in one step, so that no number of CPUs takes it further.
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "lab/inject.h"
#include "lab/stall.h"
#include "mm/frame/stock.h"

void (*alloc_error_hook)(const char *what, const void *object);

void alloc_error(const char *what, const void *object)
{
	void (*hook)(const char *, const void *) = CHECK ? READ_ONCE(alloc_error_hook) : NULL;

	if (!hook)
		panic("memory: %s: %p", what, object);
	hook(what, object);
}

bool page_is_zero(const struct page *p)
{
	const u64 *words = page_to_virt(p);

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(u64); i++)
		if (words[i])
			return false;
	return true;
}

// The frame is allocated anew. The first time, what firmware and boot loader left in it is cleared, too: an emulator is
// slow at every write to a page in which it has once run code, until all of that code is overwritten. (Not in the
// largest blocks, which would take long.)
static __always_inline void begin_life(struct page *p, unsigned order, bool zero)
{
	u32 birth = p->birth;

	if (zero || (unlikely(!birth) && order <= PT_BITS)) {
		bool written = CHECK && p->zeroed && !page_is_zero(p);

		if (written)
			alloc_error("a free frame was written to", p);
		if (!p->zeroed || written)
			memset(page_to_virt(p), 0, PAGE_SIZE);
	}
	WRITE_ONCE(p->zeroed, false);
	WRITE_ONCE(p->birth, birth + 1);
}

// The block is ours alone (count 0): make a head and its tails. A walker may look at any field meanwhile, but what it
// sees only leads it to a page_try_get() that fails, or to a second look at page_head() that differs.
static __always_inline void prepare(struct page *head, unsigned order, enum page_kind kind, bool zero)
{
	struct page *end = head + (1ull << order);

	for (struct page *p = head + 1; p < end; p++) {
		WRITE_ONCE(p->head_off, (u32)(p - head));
		store_release(&p->kind, PAGE_TAIL);	// after the offset: pairs with page_head(), which reads it first
		WRITE_ONCE(p->order, 0);
		begin_life(p, order, zero);
	}
	begin_life(head, order, zero);
	WRITE_ONCE(head->kind, kind);
	WRITE_ONCE(head->table_state, TABLE_NONE);
	WRITE_ONCE(head->table_level, 0);
	WRITE_ONCE(head->private, 0);
	list_init(&head->link);
}

static __noinline struct page *take_after_drain(unsigned order)
{
	struct page *p = NULL;

	if (pcp_drain_this_cpu())		// single frames that may merge
		p = order ? buddy_alloc(order) : pcp_alloc();
	if (!p && preemptible() && pcp_count()) {
		page_drain();
		p = order ? buddy_alloc(order) : pcp_alloc();
	}
	return p;
}

static __always_inline struct page *take(unsigned order)
{
	struct page *p = order ? buddy_alloc(order) : pcp_alloc();

	return likely(p) ? p : take_after_drain(order);
}

struct page *__hot page_alloc(unsigned order, enum page_kind kind, unsigned flags)
{
	struct page *head;
	u32 old;

	ASSERT(!in_nmi());
	ASSERT(kind != PAGE_RESERVED && kind != PAGE_FREE && kind != PAGE_TAIL && kind != PAGE_PCP);
	if (order > MAX_ORDER || (!(flags & PG_NOFAIL_INJECT) && inject_should_fail()))
		return NULL;
	head = take(order);
	if (!head)
		return NULL;
	prepare(head, order, kind, flags & PG_ZERO);
	old = fetch_add(&head->refs, 1);	// a full barrier: whoever gets a reference sees all of the above
	if (unlikely(old))
		panic("memory: frame %p was free with count %u", (void *)head, old);
	return head;
}

#define USED_KINDS (1u << PAGE_ANON | 1u << PAGE_TABLE | 1u << PAGE_SLAB | 1u << PAGE_KERNEL)

static __always_inline void tell_freed(const struct page *head)
{
	if (CHECK)
		FOR_EACH_REGISTERED(frame_freed_handlers, frame_freed_fn, handler)
			(*handler)(head);
}

// The count has dropped to 0: nobody else has a way to this block. True: it is a single frame, which the caller keeps.
static __always_inline bool release(struct page *head)
{
	unsigned order = READ_ONCE(head->order);
	enum page_kind kind = READ_ONCE(head->kind);

	if (unlikely(!(USED_KINDS >> kind & 1)))
		panic("memory: last reference to frame %p of kind %d dropped", (void *)head, kind);
	tell_freed(head);
	if (likely(!order))
		return true;
	for (struct page *p = head + 1; p < head + (1ull << order); p++) {
		WRITE_ONCE(p->order, ORDER_INSIDE);
		WRITE_ONCE(p->kind, PAGE_FREE);
	}
	buddy_free(head, order);
	return false;
}

// Drop one reference. True: it was the last, and the frame is a single one, which is the caller's now.
static __always_inline bool drop(struct page *head)
{
	u32 old = fetch_sub(&head->refs, 1);

	if (likely(old == 1))
		return release(head);
	if (unlikely(!old)) {
		fetch_add(&head->refs, 1);
		alloc_error("double free of a page frame", head);
	}
	return false;
}

void __hot page_put(struct page *head)
{
	struct page_pcp *pcp;

	if (!drop(head))
		return;
	pcp = pcp_enter();
	pcp_keep(pcp, head);
	pcp_leave(pcp);
}

#define PUT_AT_ONCE 32	// preemption is off meanwhile

void __hot page_put_many(struct page *const *heads, unsigned n)
{
	while (n) {
		unsigned some = MIN(n, (unsigned)PUT_AT_ONCE);
		struct page_pcp *pcp = pcp_enter();

		n -= some;
		if (likely(pcp && pcp->high - pcp->count >= some)) {
			struct page **ring = pcp->ring;
			u32 mask = pcp->mask, top = pcp->bottom + pcp->count;

			for (; some; some--, heads++) {
				if (drop(*heads)) {
					WRITE_ONCE((*heads)->kind, PAGE_PCP);
					ring[top++ & mask] = *heads;
				}
			}
			WRITE_ONCE(pcp->count, top - pcp->bottom);
		}
		for (; some; some--, heads++)
			if (drop(*heads))
				pcp_keep(pcp, *heads);
		pcp_leave(pcp);
	}
}

void __hot page_put_list(struct list *heads)
{
	struct list *it = heads->next, *next;

	while (it != heads) {
		struct page_pcp *pcp = pcp_enter();

		for (unsigned some = PUT_AT_ONCE; some && it != heads; some--, it = next) {
			struct page *head = list_entry(it, struct page, link);

			next = it->next;
			if (drop(head))
				pcp_keep(pcp, head);
		}
		pcp_leave(pcp);
	}
	list_init(heads);
}

// With the count frozen at 0 no walker can take the head, and tails have had none all along. A walker that had looked
// up this head for one of its tails finds page_head(tail) changed when it looks again after its try-get.
bool page_split(struct page *head)
{
	u64 frames = 1ull << READ_ONCE(head->order);
	enum page_kind kind = READ_ONCE(head->kind);

	ASSERT(kind != PAGE_TAIL);
	if (!cmpxchg(&head->refs, 1, 0))
		return false;
	STALL(page_splitting, head, 0, 0);	// by head: nobody else holds a reference, and nothing has changed
	WRITE_ONCE(head->order, 0);
	for (struct page *p = head + 1; p < head + frames; p++) {
		WRITE_ONCE(p->table_state, TABLE_NONE);
		WRITE_ONCE(p->table_level, 0);
		WRITE_ONCE(p->private, 0);
		list_init(&p->link);
		WRITE_ONCE(p->kind, kind);
		fetch_add(&p->refs, 1);
	}
	fetch_add(&head->refs, 1);
	return true;
}

u64 page_free_count(void) { return buddy_free_count() + pcp_count(); }

bool page_check(void)
{
	ASSERT_MAY_SLEEP();
	return pcp_check() && buddy_check();
}
