// SPDX-License-Identifier: MIT
// Operations on shared addresses, where others may have changed anything a moment ago, and walks and user accesses
// anywhere. Any outcome that the contract allows (mm/space.h) is right; the content of a page is judged by its stamp.
#include "kernel/errno.h"
#include "mm/walk.h"
#include "tests/torture/torture.h"
#include <arch/uaccess.h>

#define MOST_PAGES 80		// of one walk_pin_range: more than one read side

struct range {
	vaddr_t va;
	u64 len;
};

struct look {			// at one page
	vaddr_t va;
	u64 floor;		// a smaller word 1 is stale; 0: not known
};

void check_error(const struct ref *r, vaddr_t va, int err, u64 allowed)
{
	if (err && err != -ENOMEM && !(allowed >> -err & 1))
		torture_fault(FAULT_bad_error, r, va, (u64)-err);
}

// ---- Where ----------------------------------------------------------------------------------------------------------

//	+0            16 pages            } across tables of level 1: they share their L2 table
//	+4 MiB        8 pages before it, 8 behind it
//	+1 GiB        8 pages before it, 8 behind it: across tables of level 2
//	+2 GiB        two blocks of 2 MiB
//	+3 GiB        here and there a page: many tables at once
enum { WINDOWS = 3, BLOCKS = 2 };

static vaddr_t group_base(struct worker *w)
{
	vaddr_t va = (vaddr_t)(ENTRY_SHARED + RANDOM(w, SHARED_GROUPS)) << level_shift(4);

	return RANDOM(w, 4) ? va : va + DIST;
}

static struct range window(struct worker *w)
{
	static const u64 start[WINDOWS] = { 0, 4ull << 20, 1ull << 30 };
	unsigned which = RANDOM(w, WINDOWS), first = RANDOM(w, 16), pages = 1 + RANDOM(w, 16 - first);
	vaddr_t va = group_base(w) + start[which] + first * PAGE_SIZE;

	return (struct range){ which ? va - 8 * PAGE_SIZE : va, pages * PAGE_SIZE };
}

static struct range block(struct worker *w)
{
	return (struct range){ group_base(w) + 2 * level_size(3) + RANDOM(w, BLOCKS) * BLOCK, BLOCK };
}

static struct range part_of(struct worker *w, struct range r)
{
	unsigned pages = (unsigned)(r.len >> PAGE_SHIFT), first = RANDOM(w, pages), n = 1 + RANDOM(w, pages - first);

	return (struct range){ r.va + first * PAGE_SIZE, n * PAGE_SIZE };
}

// Mostly small; now and then a part of a block, a block, or all of a group, which frees upper tables, too.
static struct range somewhere(struct worker *w)
{
	switch (RANDOM(w, 64)) {
	case 0: return (struct range){ group_base(w), level_size(4) };
	case 1: case 2: case 3: case 4: return block(w);
	case 5: case 6: case 7: case 8: case 9: case 10: return part_of(w, block(w));
	default: return window(w);
	}
}

// The first 2 MiB of a group, or one of its blocks: where whole tables are moved from.
static struct range table_sized(struct worker *w)
{
	struct range r = block(w);

	if (!RANDOM(w, 4))
		r.va = ALIGN_DOWN(r.va, level_size(4));
	return r;
}

static unsigned random_prot(struct worker *w)
{
	static const u8 prots[] = { PROT_R, 0, PROT_R | PROT_X };
	unsigned i = RANDOM(w, 16);

	return i < ARRAY_SIZE(prots) ? prots[i] : PROT_R | PROT_W;
}

// ---- What -----------------------------------------------------------------------------------------------------------

static void map(struct worker *w, const struct ref *r)
{
	struct range at = RANDOM(w, 6) ? window(w) : table_sized(w);
	int level = at.len == BLOCK && !RANDOM(w, 3) ? 2 : 1;
	unsigned flags = RANDOM(w, 4) ? MAP_POPULATE : 0;

	check_error(r, at.va, space_map(r->space, at.va, at.len, random_prot(w), level, flags), MAY(EEXIST));
}

static void move(struct worker *w, const struct ref *r, struct range at)
{
	bool trap;

	if (at.va >= DIST)
		return;
	trap = trap_begin(w, r, at.va, at.len, RANDOM(w, 2));
	check_error(r, at.va, space_move(r->space, at.va, at.va + DIST, at.len), MAY(ENOENT) | MAY(EEXIST));
	if (trap)
		trap_end(w);
}

static void collapse(struct worker *w, const struct ref *r, struct range at)
{
	bool trap = trap_begin(w, r, at.va, at.len, RANDOM(w, 2));

	check_error(r, at.va, space_collapse(r->space, at.va), MAY(EBUSY) | MAY(EINVAL) | MAY(ENOENT) | MAY(EEXIST));
	if (trap)
		trap_end(w);
}

// To have something to collapse.
static void make_and_collapse(struct worker *w, const struct ref *r, struct range at)
{
	check_error(r, at.va, space_unmap(r->space, at.va, at.len), MAY(EBUSY));
	check_error(r, at.va, space_map(r->space, at.va, at.len, PROT_R | PROT_W, 1, MAP_POPULATE), MAY(EEXIST));
	collapse(w, r, at);
}

static void drop(struct worker *w, const struct ref *r, struct range at, int (*how)(struct space *, vaddr_t, u64))
{
	bool trap = trap_begin(w, r, at.va, at.len, RANDOM(w, 2));

	check_error(r, at.va, how(r->space, at.va, at.len), MAY(EBUSY) | MAY(EINVAL));
	if (trap)
		trap_end(w);
}

static void sparse(struct worker *w, const struct ref *r)
{
	vaddr_t va = group_base(w) + 3 * level_size(3);

	check_error(r, va, space_map(r->space, va, level_size(3), PROT_R | PROT_W, 1, 0), MAY(EEXIST));
	for (unsigned n = 16 + RANDOM(w, 128); n && !stopping(); n--)
		check_error(r, va, space_fault(r->space, va + RANDOM(w, PT_ENTRIES) * BLOCK, true), MAY(EFAULT));
	drop(w, r, (struct range){ va, level_size(3) }, RANDOM(w, 2) ? space_discard : space_unmap);
}

// Takes down what is around an address where a walk may be held: its table, or one further up.
void take_bait(struct worker *w, const struct ref *r)
{
	int level = 2 + (int)RANDOM(w, 3);
	vaddr_t va = ALIGN_DOWN(READ_ONCE(world.bait_va), level_size(level));

	if (is_shared(va))
		check_error(r, va, (RANDOM(w, 2) ? space_unmap : space_discard)(r->space, va, level_size(level)), 0);
}

void shared_operation(struct worker *w, const struct ref *r)
{
	struct range at = somewhere(w), b = block(w);
	struct space *s = r->space;

	switch (RANDOM(w, 21)) {
	case 20: sparse(w, r); break;
	case 0: case 1: drop(w, r, at, space_unmap); break;
	case 2: drop(w, r, at, space_unmap_sync); break;
	case 3: case 4: drop(w, r, at, space_discard); break;
	case 5: check_error(r, at.va, space_protect(s, at.va, at.len, random_prot(w)),
			    MAY(EBUSY) | MAY(EINVAL) | MAY(ENOENT)); break;
	case 6: case 7: check_error(r, at.va, space_fault(s, at.va, RANDOM(w, 2)), MAY(EFAULT)); break;
	case 8: case 9: move(w, r, table_sized(w)); break;
	case 10: case 11: make_and_collapse(w, r, b); break;
	case 12: collapse(w, r, b); break;
	case 13: check_error(r, b.va, space_split(s, b.va), MAY(EBUSY) | MAY(EINVAL) | MAY(ENOENT)); break;
	default: map(w, r); break;
	}
}

// ---- Pins -----------------------------------------------------------------------------------------------------------

static u64 *own_word(const struct worker *w, const struct page *page)
{
	return (u64 *)page_to_virt(page) + 8 + w->index % 504;
}

// The frame is pinned: whatever it is, it stays that, until release_pin().
static struct held_pin judge_pin(struct worker *w, const struct ref *r, vaddr_t va, struct page *page, bool write)
{
	struct held_pin h = { .page = page, .write = write };
	u64 *word = page_to_virt(page);

	h.stamp = READ_ONCE(*word);
	if (READ_ONCE(page_head(page)->kind) != PAGE_ANON || !stamp_right(r->serial, va, h.stamp)) {
		torture_fault(FAULT_bad_pin, r, va, h.stamp);
		h.write = false;
		return h;
	}
	if (write) {
		h.own = rand_next(&w->seed) & ~1ull;
		WRITE_ONCE(*own_word(w, page), h.own);
		if (is_shared(va) && !h.stamp)
			WRITE_ONCE(*word, h.stamp = stamp_of(r->serial, va));
	}
	return h;
}

void release_pin(struct held_pin *h, const struct worker *w)
{
	if (h->write && READ_ONCE(*own_word(w, h->page)) != h->own)
		torture_fault(FAULT_lost_write, NULL, page_to_phys(h->page), READ_ONCE(*own_word(w, h->page)));
	if (h->stamp && READ_ONCE(*(u64 *)page_to_virt(h->page)) != h->stamp)
		torture_fault(FAULT_lost_write, NULL, page_to_phys(h->page), READ_ONCE(*(u64 *)page_to_virt(h->page)));
	page_unpin(h->page, h->write);
	h->page = NULL;
}

// One in 16 is kept for long, in the place of another one. Where a worker has pinned a page twice, both pins share a
// word, and both expect what it holds now.
static void keep_or_release(struct worker *w, struct held_pin *h)
{
	struct held_pin *place = &w->held[RANDOM(w, HELD_PINS)];

	for (unsigned i = 0; i < HELD_PINS; i++)
		if (w->held[i].page == h->page && (h->write || w->held[i].write))
			w->held[i].own = h->own = READ_ONCE(*own_word(w, h->page));
	if (RANDOM(w, 16) || READ_ONCE(world.bait_slot)) {
		release_pin(h, w);
		return;
	}
	if (place->page)
		release_pin(place, w);
	*place = *h;
}

// The floor of a page of the other worker's scene, if that plays in this space and its addresses do not change
// meanwhile.
static u64 floor_of(const struct worker *other, u64 serial, vaddr_t va)
{
	vaddr_t hot = READ_ONCE(other->hot_va);
	u64 floor, page = (va - hot) >> PAGE_SHIFT;

	if (page >= STRIP_PAGES || READ_ONCE(other->hot_serial) != serial)
		return 0;
	floor = load_acquire(&other->floor[page]);	// pairs with raise_floor(): what is below it was unmapped
	return READ_ONCE(other->hot_serial) == serial && READ_ONCE(other->hot_va) == hot ? floor : 0;
}

// Chooses where to look: where a trap waits for a walk; where another worker's scene plays in that space, because there
// is always something under way; where there was a page the last time; otherwise anywhere.
static struct look interesting(struct worker *w, const struct ref *r)
{
	struct worker *other = &world.worker[RANDOM(w, world.nr_workers)];
	struct look l = { .va = READ_ONCE(world.bait_va) };
	vaddr_t hot = READ_ONCE(other->hot_va);

	if (READ_ONCE(world.bait_slot) == r->slot + 1 && RANDOM(w, 4))
		return l;
	if (hot && READ_ONCE(other->hot_serial) == r->serial && RANDOM(w, 4)) {
		l.va = hot + RANDOM(w, STRIP_PAGES) * PAGE_SIZE;
		l.floor = floor_of(other, r->serial, l.va);
		return l;
	}
	l.va = w->last_va && RANDOM(w, 4) ? w->last_va : somewhere(w).va;
	return l;
}

static void judge_value(const struct ref *r, const struct look *l, u64 value)
{
	if (value && value < l->floor)
		torture_fault(FAULT_stale_value, r, l->va, value);
}

static void walk(struct worker *w, const struct ref *r)
{
	struct look l = interesting(w, r);
	struct page *pages[MOST_PAGES];
	unsigned how = RANDOM(w, 8), n = 1 + RANDOM(w, RANDOM(w, 16) ? 3 : MOST_PAGES), got;
	bool write = !RANDOM(w, 4);

	if (how == 0) {
		int err = walk_pin(r->space, l.va, write, pages);

		check_error(r, l.va, err, MAY(EFAULT));
		got = !err;
	} else if (how == 1) {
		got = walk_pin_range(r->space, l.va, n, write, pages);
	} else {
		got = walk_pin_fast(r->space, l.va, n, write, pages);
	}
	w->last_va = got ? l.va : 0;
	if (got)
		judge_value(r, &l, READ_ONCE(((u64 *)page_to_virt(pages[0]))[1]));
	for (unsigned i = 0; i < got; i++) {
		struct held_pin h = judge_pin(w, r, l.va + i * PAGE_SIZE, pages[i], write);

		keep_or_release(w, &h);
	}
}

void walk_somewhere(struct worker *w, const struct ref *r)
{
	for (unsigned n = 16; n; n--) {
		walk(w, r);
		rcu_look(w);
	}
}

// ---- User accesses --------------------------------------------------------------------------------------------------

static void touch(struct worker *w)
{
	const struct ref *r = &w->attached;
	struct look l = interesting(w, r);
	bool faults = RANDOM(w, 2);
	u64 seen, stamp = stamp_of(r->serial, l.va);

	if (is_shared(l.va) && !RANDOM(w, 4)) {
		if (faults)
			arch_user_write64(l.va, stamp);
		else
			arch_user_write64_nofault(l.va, stamp);
		return;
	}
	if ((faults ? arch_user_read64(l.va, &seen) : arch_user_read64_nofault(l.va, &seen)) == 0 &&
	    !stamp_right(r->serial, l.va, seen))
		torture_fault(FAULT_bad_read, r, l.va, seen);
	if (l.floor && !arch_user_read64_nofault(l.va + 8, &seen))
		judge_value(r, &l, seen);
}

void touch_somewhere(struct worker *w)
{
	for (unsigned n = 8; n; n--)
		touch(w);
}
