// SPDX-License-Identifier: MIT
// The buddy allocator: free blocks of 2^order frames, aligned to their size, one list for each order.
//
//	order 2   [        0        ] [        4        ]
//	order 1   [   0   ] [   2   ] [   4   ] [   6   ]	a block's buddy: its number with bit `order` flipped
//	order 0   [0] [1]   [2] [3]   [4] [5]   [6] [7]
//
// A free block's head says PAGE_FREE and its order, and both change only under the lock: so when a block comes back,
// one look at its buddy's first frame tells whether the two are a pair. That frame cannot lie inside a larger block,
// free or not, for such a block would contain the one that comes back. It may be the head of a block that is on its way
// in or out, and that says something other than PAGE_FREE until the lock is taken. So the loops over many frames
// (tails) need no lock.
#include "mm/frame/buddy.h"
#include "kernel/panic.h"
#include "kernel/spinlock.h"

static struct {
	struct list blocks;	// heads, by page.link
	u64 nr;
} area[MAX_ORDER + 1];
static u64 free_frames;		// in all blocks
static struct spinlock lock = SPINLOCK_INIT("buddy", RANK_PAGES);	// all of the above

static void insert(struct page *head, unsigned order)
{
	WRITE_ONCE(head->order, order);
	WRITE_ONCE(head->kind, PAGE_FREE);
	if (unlikely(!area[order].blocks.next))
		list_init(&area[order].blocks);
	list_push_front(&area[order].blocks, &head->link);
	WRITE_ONCE(area[order].nr, area[order].nr + 1);
}

static void extract(struct page *head, unsigned order)
{
	list_remove(&head->link);
	WRITE_ONCE(area[order].nr, area[order].nr - 1);
}

static struct page *take(unsigned order)
{
	unsigned o = order;
	struct page *head;

	while (o <= MAX_ORDER && !area[o].nr)
		o++;
	if (o > MAX_ORDER)
		return NULL;
	head = list_first(&area[o].blocks, struct page, link);
	extract(head, o);
	WRITE_ONCE(head->kind, PAGE_PCP);
	while (o > order) {
		o--;
		insert(head + (1ull << o), o);	// the upper half stays
	}
	WRITE_ONCE(head->order, order);
	WRITE_ONCE(free_frames, free_frames - (1ull << order));
	return head;
}

static struct page *buddy_of(struct page *head, unsigned order)
{
	u64 frame = (u64)(head - page_map) ^ 1ull << order;
	struct page *buddy = &page_map[frame];

	if (order >= SECTION_ORDER && !page_valid(frame << PAGE_SHIFT))
		return NULL;	// below that order, both lie in one section
	if (READ_ONCE(buddy->kind) != PAGE_FREE || READ_ONCE(buddy->order) != order)
		return NULL;
	return buddy;
}

static void give(struct page *head, unsigned order)
{
	struct page *buddy;

	WRITE_ONCE(free_frames, free_frames + (1ull << order));
	while (order < MAX_ORDER && (buddy = buddy_of(head, order))) {
		struct page *upper = MAX(head, buddy);

		extract(buddy, order);
		WRITE_ONCE(upper->order, ORDER_INSIDE);
		WRITE_ONCE(upper->kind, PAGE_FREE);
		head = MIN(head, buddy);
		order++;
	}
	insert(head, order);
}

struct page *buddy_alloc(unsigned order)
{
	irqflags_t flags = spin_lock_irqsave(&lock);
	struct page *head = take(order);

	spin_unlock_irqrestore(&lock, flags);
	return head;
}

unsigned buddy_alloc_many(struct page **to, unsigned n)
{
	irqflags_t flags = spin_lock_irqsave(&lock);
	unsigned got;

	for (got = 0; got < n && (to[got] = take(0)); got++)
		;
	spin_unlock_irqrestore(&lock, flags);
	return got;
}

void buddy_free(struct page *head, unsigned order)
{
	irqflags_t flags = spin_lock_irqsave(&lock);

	give(head, order);
	spin_unlock_irqrestore(&lock, flags);
}

#define FREE_AT_ONCE 32	// at most so many under the lock, with interrupts off

void buddy_free_ring(struct page *const *ring, u32 mask, u32 at, u32 n)
{
	while (n) {
		irqflags_t flags = spin_lock_irqsave(&lock);

		for (u32 i = MIN(n, (u32)FREE_AT_ONCE); i; i--, n--)
			give(ring[at++ & mask], 0);
		spin_unlock_irqrestore(&lock, flags);
	}
}

u64 buddy_free_count(void) { return READ_ONCE(free_frames); }
u64 buddy_free_blocks(unsigned order) { return READ_ONCE(area[order].nr); }

// Each block must be marked, counted 0, aligned, well linked, and without a free buddy (the two would have been
// merged).
static bool block_ok(struct page *p, unsigned order)
{
	return p->kind == PAGE_FREE && p->order == order && !READ_ONCE(p->refs) &&
	       !((u64)(p - page_map) & ((1ull << order) - 1)) && p->link.next->prev == &p->link &&
	       (order == MAX_ORDER || !buddy_of(p, order));
}

bool buddy_check(void)
{
	irqflags_t flags = spin_lock_irqsave(&lock);
	u64 frames = 0;
	bool ok = true;

	for (unsigned order = 0; order <= MAX_ORDER && ok; order++) {
		u64 nr = 0;

		if (!area[order].blocks.next)
			continue;
		list_for_each(l, &area[order].blocks) {
			nr++;
			if (!(ok = block_ok(list_entry(l, struct page, link), order) && nr <= area[order].nr))
				break;
		}
		ok = ok && nr == area[order].nr;
		frames += nr << order;
	}
	ok = ok && frames == free_frames;
	spin_unlock_irqrestore(&lock, flags);
	return ok;
}
