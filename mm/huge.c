// SPDX-License-Identifier: MIT
// Collapse of 512 small pages into one large one, and split back.
//
//	collapse                                         split
//	L2 entry: table -> 0         (walkers: restart)  L2 entry: large leaf -> 0
//	flush the table's 512 leaves and the entry       flush the leaf
//	wait: no walker is inside the table              the block becomes single frames (no pin is left)
//	nobody has pinned a page: copy                   the deposit gets 512 entries: its first write since `wait`
//	L2 entry: large leaf                             L2 entry: table
//	the table is kept, as the leaf's deposit
//
// The deposit makes a split possible without memory (Linux deposits a table with every huge page for the same reason).
// It is a table that is reused without being freed, so it goes through UNLINKED, FLUSHED and QUIESCED before its
// meaning changes: walkers that entered it as the old table have left it. The large page's frame holds it, so that it
// follows a move.
//
// Pins. A walker takes its reference (LOCKed), then reads the parent entry again. We clear the parent entry (LOCKed), then
// read the counts. Either we see the reference, or the walker sees the cleared entry and gives it back.
#include "mm/huge.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "mm/region.h"
#include "mm/space_internal.h"
#include "mm/table.h"
#include "mm/tlb.h"
#include "mm/tree.h"

#define TRIES 8	// a walker's passing reference is gone after a few yields; a pin is not

static struct page *deposit_of(const struct page *head)
{
	return (struct page *)(uintptr_t)(READ_ONCE(head->private) & ~(u64)PAGE_PIN_DIRTY);
}

// page_unpin() may set PAGE_PIN_DIRTY at any time, so never a plain store.
static struct page *deposit_take(struct page *head)
{
	return (struct page *)(uintptr_t)(fetch_and(&head->private, (u64)PAGE_PIN_DIRTY) & ~(u64)PAGE_PIN_DIRTY);
}

void huge_free_deposit(struct space *s, struct page *head)
{
	struct page *table = deposit_take(head);

	if (table)
		table_free_deposit(table, s->freer);
}

// LIVE -> QUIESCED: neither hardware nor walkers read the table any more when this returns.
static void isolate(struct space *s, vaddr_t va, pte_t *e, struct page *table)
{
	int level = 1;		// of the leaves to flush
	bool upper = true;	// flush the entry, too

	if (!MUTANT(collapse_unlinks_late))	// the entry is cleared after the flush and the wait (s390)
		pte_xchg(e, 0);	// full barrier, before the reading of the CPU masks in tlb_flush()
	table_set_state(table, TABLE_LIVE, TABLE_UNLINKED);
	STALL(collapse_unlinked, s, va, 2);	// the table is unlinked, nothing flushed
	if (MUTANT(collapse_one_invlpg))	// the 512 small translations are flushed as if they were one large one
		level = 2;
	if (MUTANT(collapse_keeps_upper))	// nothing is freed, so only the leaves are flushed
		upper = false;
	tlb_flush(s, va, va + level_size(2), level, upper);
	table_set_state(table, TABLE_UNLINKED, TABLE_FLUSHED);
	if (!MUTANT(collapse_no_wait))	// a flushed table is taken to be quiesced
		policy_wait(s->freer, s);
	STALL(collapse_waited, s, va, 2);	// no walker that began before can still be inside
	if (MUTANT(collapse_unlinks_late))
		pte_xchg(e, 0);
	table_set_state(table, TABLE_FLUSHED, TABLE_QUIESCED);
	STALL(collapse_quiesced, s, va, 2);	// flushed and waited for; nothing copied
}

static bool referenced(const pte_t *leaves)
{
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		if (load_acquire(&page_of(pte_addr(pte_read(&leaves[i])))->refs) != 1)	// acquire: sees what pins wrote
			return true;
	return false;
}

static bool pinned(const pte_t *leaves)
{
	for (unsigned i = 0; i < TRIES && referenced(leaves); i++)
		thread_yield();		// a walker that came too late drops its reference after it has left the read side
	return referenced(leaves);
}

// The leaf for `head`, filled with what the 512 pages hold. The flush is over: hardware sets no A or D any more.
static pte_t copy_pages(struct page *head, const pte_t *leaves, unsigned prot)
{
	pte_t leaf = pte_make_leaf(page_to_phys(head), 2, prot);
	u8 *to = page_to_virt(head);

	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		pte_t v = pte_read(&leaves[i]);
		struct page *page = page_of(pte_addr(v));

		memcpy(to + i * PAGE_SIZE, page_to_virt(page), PAGE_SIZE);
		leaf = pte_with_use(leaf, v);
		fetch_or(&head->private, READ_ONCE(page->private) & PAGE_PIN_DIRTY);
	}
	return leaf;
}

static int collapse(struct space *s, vaddr_t va, pte_t *e, struct page *head, unsigned prot)
{
	pte_t old = pte_read(e), leaf;
	struct page *table = page_of(pte_addr(old));
	const pte_t *leaves = page_to_virt(table);

	isolate(s, va, e, table);
	if (pinned(leaves)) {
		table_put_back(table);
		pte_xchg(e, old);
		return -EBUSY;
	}
	leaf = copy_pages(head, leaves, prot);
	table_deposit(table, s->freer);
	fetch_or(&head->private, (u64)(uintptr_t)table);
	pte_xchg(e, leaf);		// full barrier: filled before it is seen
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		page_put(page_of(pte_addr(pte_read(&leaves[i]))));
	return 0;
}

static int collapse_locked(struct space *s, vaddr_t va, struct page *head)
{
	const struct region *r = region_find(s, va);
	pte_t *e = tree_find(s, va, 2, NULL), v = e ? pte_read(e) : 0;

	if (!r || r->end < va + level_size(2))
		return -ENOENT;
	if (r->level != 1 || r->object)
		return -EINVAL;
	if (!pte_present(v))
		return -ENOENT;
	if (pte_leaf(v, 2))
		return -EEXIST;
	if (page_of(pte_addr(v))->private != PT_ENTRIES)
		return -ENOENT;
	return collapse(s, va, e, head, r->prot);
}

int space_collapse(struct space *s, vaddr_t va)
{
	struct page *head;
	int err;

	if (!space_range_ok(va, level_size(2), level_size(2)))
		return -EINVAL;
	head = page_alloc(PT_BITS, PAGE_ANON, 0);
	if (!head)
		return -ENOMEM;
	mutex_lock(&s->lock);
	err = collapse_locked(s, va, head);
	mutex_unlock(&s->lock);
	if (err)
		page_put(head);
	return err;
}

// The leaf is cleared and flushed: a reference that is left is a walker's on its way out, or a pin.
static bool split_frames(struct space *s, struct page *head)
{
	bool dirty, done = page_split(head);

	if (!done)
		policy_wait(s->freer, s);
	for (unsigned i = 0; i < TRIES && !done; i++) {
		thread_yield();		// a walker drops it after it has left the read side
		done = page_split(head);
	}
	dirty = READ_ONCE(head->private) & PAGE_PIN_DIRTY;
	for (unsigned i = 1; done && dirty && i < PT_ENTRIES; i++)
		fetch_or(&head[i].private, (u64)PAGE_PIN_DIRTY);
	return done;
}

static void fill(pte_t *leaves, struct page *head, pte_t large, unsigned prot)
{
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		pte_write(&leaves[i], pte_with_use(pte_make_leaf(page_to_phys(head + i), 1, prot), large));
}

int space_split_locked(struct space *s, vaddr_t va)
{
	pte_t *e = tree_find(s, va, 2, NULL), old = e ? pte_read(e) : 0;
	struct page *head = page_of(pte_addr(old)), *table;

	if (!pte_present(old) || !pte_leaf(old, 2))
		return -ENOENT;
	if (!deposit_of(head))
		return -EINVAL;
	va = ALIGN_DOWN(va, level_size(2));
	old = pte_xchg(e, 0);
	tlb_flush(s, va, va + level_size(2), 2, false);
	if (!split_frames(s, head)) {
		pte_xchg(e, old);
		return -EBUSY;
	}
	table = deposit_take(head);
	table_reuse(table, s->freer);
	fill(page_to_virt(table), head, old, region_find(s, va)->prot);
	table->private = PT_ENTRIES;
	pte_xchg(e, pte_make_table(page_to_phys(table)));	// full barrier: filled before it is seen
	return 0;
}

int space_split(struct space *s, vaddr_t va)
{
	int err;

	if (va >= USER_END)
		return -EINVAL;
	mutex_lock(&s->lock);
	err = space_split_locked(s, va);
	mutex_unlock(&s->lock);
	return err;
}

static int cut_at(struct space *s, vaddr_t va)
{
	int err = va & (level_size(2) - 1) ? space_split_locked(s, va) : 0;

	return err == -ENOENT ? 0 : err;
}

int huge_cut(struct space *s, vaddr_t start, vaddr_t end)
{
	int err = cut_at(s, start);

	return err ? err : cut_at(s, end);
}
