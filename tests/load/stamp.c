// SPDX-License-Identifier: MIT
// Whose page it is. The first word of each page says to which space and address it belongs, and in which generation of
// that address it was mapped there:
//
//	63        40 39           5 4       1 0
//	 generation | frame number | space + 1 |0|	(even: a walk that takes a page for a table finds nothing present)
//
//	unmapper                          stamper                               judge
//	--------                          -------                               -----
//	number = ++begun                  g = begun                             least = done
//	unmap, discard, …                 pin the page at va                    walk, pin
//	done = max(done, number)          begun still g? then stamp it g        stamp < least: bad
//
// A page with stamp g was mapped while `begun` was g, so an operation with a greater number ends that mapping; once
// that operation is done, no walk that begins later finds the page. Likewise an access that begins after generation g
// has been stamped, and so is up, sees no older one. This is a statement about walks and accesses as a whole, and
// relies on none of their steps.
//
// A slot that is moved away and back comes back with its stamps. So while a move is under way nothing is stamped in that
// slot, and no end counts: another unmapper may have emptied the place while the pages were away.
#include "kernel/atomic.h"
#include "mm/frame/slab.h"
#include "mm/walk.h"
#include "tests/load/parts.h"

#define SPACE_SHIFT 1
#define FRAME_SHIFT 5
#define GENERATION_SHIFT 40
#define PLACE ((1ull << GENERATION_SHIFT) - 1)

struct life {
	u32 moves_begun, moves_done;
	struct {
		u32 ends_begun, ends_done;
		u32 up;			// newest generation that was stamped
	} page[MOST_PAGES];
};

struct life *lives_alloc(unsigned spaces) { return kzalloc(spaces * GROUPS * SLOTS * sizeof(struct life)); }

static struct life *life_of(struct load *l, unsigned at, const struct slot *s)
{
	return &l->lives[(at * GROUPS + s->g) * SLOTS + s->i];
}

static void raise_to(u32 *word, u32 least)
{
	u32 old = READ_ONCE(*word);

	while (old < least && !cmpxchg_update(word, &old, least))
		;
}

// Is no move under way? *moves: how many there have been. moves_begun is read last, so that it is ahead if one is under
// way.
static bool is_still(struct life *life, u32 *moves)
{
	u32 done = load_acquire(&life->moves_done);

	*moves = load_acquire(&life->moves_begun);
	return *moves == done;
}

static bool was_still(struct life *life, u32 moves)
{
	smp_mb();	// after all that was done meanwhile; pairs with move_begin()'s fetch_add
	return READ_ONCE(life->moves_begun) == moves;
}

void move_begin(struct load *l, unsigned at, const struct slot *s) { fetch_add(&life_of(l, at, s)->moves_begun, 1); }
void move_done(struct load *l, unsigned at, const struct slot *s) { fetch_add(&life_of(l, at, s)->moves_done, 1); }

void ending_begin(struct load *l, unsigned at, const struct slot *s, struct ending *e)
{
	struct life *life = life_of(l, at, s);

	e->counts = is_still(life, &e->moves);
	for (unsigned i = 0; i < s->pages; i++)
		e->number[i] = fetch_add(&life->page[i].ends_begun, 1) + 1;
}

void ending_done(struct load *l, unsigned at, const struct slot *s, const struct ending *e)
{
	struct life *life = life_of(l, at, s);

	if (!e->counts || !was_still(life, e->moves))
		return;
	for (unsigned i = 0; i < s->pages; i++)
		raise_to(&life->page[i].ends_done, e->number[i]);
}

static u64 place_of(unsigned at, vaddr_t va)
{
	return (va >> PAGE_SHIFT) << FRAME_SHIFT | (u64)(at + 1) << SPACE_SHIFT;
}

// The newest generation wins, because another thread may be late with an older one. A stamp of another place is left
// for the judge.
static void stamp(struct page *page, u64 stamp)
{
	u64 *word = page_to_virt(page), old = READ_ONCE(*word);

	while ((!old || (!((old ^ stamp) & PLACE) && old < stamp)) && !cmpxchg_update(word, &old, stamp))
		;
}

// An unsafe pair may have handed out anybody's page.
static bool may_stamp(const struct load *l, struct page *page)
{
	return l->safe || READ_ONCE(page_head(page)->kind) == PAGE_ANON;
}

static void stamp_one(struct load *l, unsigned at, const struct slot *s, unsigned i)
{
	struct life *life = life_of(l, at, s);
	vaddr_t va = s->va + i * PAGE_SIZE;
	struct page *page;
	u32 moves, generation;

	if (!is_still(life, &moves))
		return;
	generation = load_acquire(&life->page[i].ends_begun);
	if (walk_pin(l->space[at], va, true, &page))
		return;			// another has taken it down again
	if (load_acquire(&life->page[i].ends_begun) == generation && was_still(life, moves) && may_stamp(l, page)) {
		stamp(page, place_of(at, va) | (u64)generation << GENERATION_SHIFT);
		raise_to(&life->page[i].up, generation);
	}
	page_unpin(page, true);
}

void stamp_slot(struct load *l, unsigned at, const struct slot *s)
{
	for (unsigned i = 0; i < s->pages; i++)
		stamp_one(l, at, s, i);
}

void stamp_elsewhere(struct load *l, unsigned at, vaddr_t va)
{
	struct page *page;

	if (walk_pin(l->space[at], va, true, &page))
		return;
	if (may_stamp(l, page))
		stamp(page, place_of(at, va));
	page_unpin(page, true);
}

u32 ended_before(struct load *l, unsigned at, const struct slot *s, unsigned page)
{
	return load_acquire(&life_of(l, at, s)->page[page].ends_done);
}

u32 up_before(struct load *l, unsigned at, const struct slot *s, unsigned page)
{
	return load_acquire(&life_of(l, at, s)->page[page].up);
}

bool stamp_fits(unsigned at, vaddr_t va, u64 seen, u32 least)
{
	return !seen || ((seen & PLACE) == place_of(at, va) && seen >> GENERATION_SHIFT >= least);
}
