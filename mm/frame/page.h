// SPDX-License-Identifier: MIT
// Page frames: one descriptor per frame, a buddy allocator with per-CPU lists.
//
// Reference counts: a frame is allocated with count 1 and freed by the put that drops the count to 0. A lockless walker
// may take a transient reference on a frame that has been reused as anything (page_try_get, never 0 -> 1), so every
// kind of frame tolerates extra references and counts are never plainly stored. A page may be pinned any number of
// times, so page_try_get() refuses long before the count could wrap; there is no other way to a further reference.
#pragma once
#include "kernel/list.h"
#include "kernel/rcu/rcu.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include <arch/pte.h>

enum page_kind {
	PAGE_RESERVED, PAGE_FREE, PAGE_ANON, PAGE_TABLE, PAGE_SLAB, PAGE_KERNEL, PAGE_TAIL, PAGE_PCP,
};
enum table_state { TABLE_NONE, TABLE_LIVE, TABLE_UNLINKED, TABLE_FLUSHED, TABLE_QUIESCED, TABLE_FREE };

#define MAX_ORDER 18	// 1 GiB
#define ORDER_INSIDE 0xff	// .order of a free frame that is not the head of its free block

struct page {
	u32 refs;
	u8 kind;		// enum page_kind
	u8 order;		// of the block whose head this is
	u8 table_state;		// enum table_state (DESIGN 2)
	u8 table_level;
	u32 birth;		// grows with each allocation of this frame, and when a table is reused
	u32 head_off;		// PAGE_TAIL: distance to the head, in frames
	u64 private;		// the owner's
	struct list link;	// the owner's; free lists while free
	bool zeroed;		// a free frame: all its bytes are 0, so PG_ZERO need not write them
	union {
		struct rcu_head rcu;	// the owner's
		struct {		// PAGE_SLAB, under the cache's lock
			void *free;	// first free object
			u32 in_use;
		} slab;
	};
} __aligned(64);
_Static_assert(sizeof(struct page) == 64, "one cache line per frame");

// The descriptors stand in one virtual array, indexed by frame number. It reaches to the end of RAM and is backed by
// memory section by section: a section is 128 MiB of physical space, whose descriptors fill one page of 2 MiB.
#define SECTION_ORDER 15
#define SECTION_SIZE (PAGE_SIZE << SECTION_ORDER)
_Static_assert(sizeof(struct page) << SECTION_ORDER == 2 << 20, "a section's descriptors fill one page of level 2");
extern struct page *page_map;
extern u64 page_map_frames;		// whole sections
extern u64 *page_sections;		// a bit for each: it has descriptors

static __always_inline struct page *page_of(paddr_t pa) { return &page_map[pa >> PAGE_SHIFT]; }
static __always_inline paddr_t page_to_phys(const struct page *p) { return (u64)(p - page_map) << PAGE_SHIFT; }
static __always_inline void *page_to_virt(const struct page *p) { return phys_to_virt(page_to_phys(p)); }
static __always_inline struct page *virt_to_page(const void *v) { return page_of(virt_to_phys(v)); }
// Has the frame at pa a descriptor? To be asked of an address that may be anything, before its page_of() is touched. (A
// frame that has one need not be RAM: then it is PAGE_RESERVED.) Any context.
static __always_inline bool page_valid(paddr_t pa)
{
	u64 section = pa >> (PAGE_SHIFT + SECTION_ORDER);

	return pa >> PAGE_SHIFT < page_map_frames && page_sections[section / 64] >> section % 64 & 1;
}
static __always_inline struct page *page_head(struct page *p) { return load_acquire(&p->kind) == PAGE_TAIL ? p - READ_ONCE(p->head_off) : p; }

// .private of a PAGE_ANON head: bit 0, and in the rest the table deposited with a collapsed page (huge.c), or 0.
#define PAGE_PIN_DIRTY 1	// a pin's holder wrote to it

enum { PG_ZERO = 1, PG_NOFAIL_INJECT = 2 /* not subject to injected failures */ };
// 2^order frames, count 1 on the head, tails marked; NULL: none left, or an injected failure. Any context but NMI; IRQs
// either way. When all else is used up, a preemptible caller also gets what the lists of other CPUs hold (it waits for
// those CPUs).
struct page *page_alloc(unsigned order, enum page_kind kind, unsigned flags);
// False: the count was 0 (a free frame, or a tail), or PAGE_REFS_MAX (a caller that holds another reference knows that
// it was this). Any context. Nothing keeps the frame's contents alive here, and nothing need: descriptors are never
// freed.
#define PAGE_REFS_MAX (1u << 31)
static __always_inline bool page_refuses(u32 refs)
{
	if (MUTANT(page_get_wraps) && refs)	// no limit: with as many pins as the count has values it is 0 (CVE-2019-11487)
		return false;
	if (MUTANT(page_get_resurrects) && !refs)	// 0 -> 1: a frame that is free, or somebody else's by now
		return false;
	return true;
}
static __always_inline bool page_try_get(struct page *head)
{
	u32 old = READ_ONCE(head->refs);

	_Static_assert(PAGE_REFS_MAX == (u32)INT32_MIN, "one signed comparison tells 0 and the limit");
	do {
		if (unlikely((s32)old <= 0) && page_refuses(old))
			return false;
		STALL(page_getting, head, 0, 0);	// by head: the count was read, and has not been raised
	} while (unlikely(!cmpxchg_update(&head->refs, &old, old + 1)));
	return true;
}
void page_put(struct page *head);		// the last one frees. Any context but NMI
void page_put_many(struct page *const *heads, unsigned n);	// the same for each of them
void page_put_list(struct list *heads);		// … linked by page.link; the list ends empty
// The caller is about to put its reference; nobody writes to the single frame any more, and all its bytes are 0.
static __always_inline void page_set_zeroed(struct page *p) { WRITE_ONCE(p->zeroed, true); }
bool page_is_zero(const struct page *p);	// looks at every byte
// A block of which the caller holds the only reference becomes 2^order single frames with count 1 each (false: others
// hold references). Freezes the count meanwhile.
bool page_split(struct page *head);

// Called when a used block has lost its last reference, before it can be used again: its kind and order are unchanged.
// A handler registers where it is written; checking builds only. Any context but NMI.
typedef void frame_freed_fn(const struct page *head);
#if CHECK
#define FRAME_FREED(fn) REGISTER(frame_freed_handlers, fn)
#else
#define FRAME_FREED(fn) struct page
#endif

void page_init(void);				// boot CPU: from arch_for_each_ram()
void page_init_cpu(void);			// each CPU's lists
u64 page_free_count(void);			// frames: buddy and all per-CPU lists
u64 page_total_count(void);
u64 page_ram_bytes(void);			// the machine's RAM, less what page_init() has left out (and said so)
void page_drain(void);				// return all CPUs' per-CPU lists to the buddy. May sleep
bool page_check(void);				// walk all free lists: consistent? (tests; takes the lock; may sleep)

// The allocators' way to report misuse (double free, overrun, use after free): a panic, or, in checking builds, a call
// of this hook if a test has set one; the operation is then left undone.
extern void (*alloc_error_hook)(const char *what, const void *object);
void alloc_error(const char *what, const void *object);
