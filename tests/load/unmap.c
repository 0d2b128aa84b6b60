// SPDX-License-Identifier: MIT
// The unmappers: in a space of its own, and sometimes in another's, each unmaps slots and maps them again, discards,
// collapses, splits and moves: all operations by which tables are freed or reused. A slot is away only for a short
// time, and there are many slots, so most walks take the fast path.
#include "kernel/errno.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/inject.h"
#include "lab/stall.h"
#include "mm/policy/verdict.h"
#include "mm/walk.h"
#include "tests/load/parts.h"

static void check_error(struct worker *w, int err, int allowed)
{
	if (err == -ENOMEM)
		w->found.no_memory++;
	else if (err && err != allowed)
		w->found.errors++;
}

// Faults the pages in one by one; not by walks, which would count as slow ones.
static void touch_slot(struct worker *w, unsigned at, const struct slot *s)
{
	for (unsigned i = 0; i < s->pages; i++)
		check_error(w, space_fault(w->load->space[at], s->va + i * PAGE_SIZE, true), -EFAULT);	// unmapped
	stamp_slot(w->load, at, s);
}

// Maps the slot, with its pages at once or on demand.
void put_up(struct worker *w, unsigned at, const struct slot *s)
{
	struct space *space = w->load->space[at];
	unsigned flags = RANDOM(w, 4) || s->bytes == level_size(2) ? MAP_POPULATE : 0;
	int err = space_map(space, s->va, s->bytes, PROT_R | PROT_W, s->level, flags);

	check_error(w, err, -EEXIST);		// another was first
	if (s->g < WHOLE_GROUPS && s->i == SLOTS - 1)
		check_error(w, space_map(space, s->va + s->bytes, PAGE_SIZE, PROT_R, 1, MAP_POPULATE), -EEXIST);
	if (flags)
		stamp_slot(w->load, at, s);
	else
		touch_slot(w, at, s);
}

static void put_up_group(struct worker *w, unsigned at, unsigned g)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot s = slot_of(g, i);

		put_up(w, at, &s);
	}
}

// Now and then an unmapper gets no memory while it takes something down, so that policies and back-ends take the paths
// that need none. One unmapper at a time, because lab/inject.h serves one thread.
static bool hunger(struct worker *w)
{
	if (RANDOM(w, READ_ONCE(w->load->lingering) ? 2 : 4) || !cmpxchg(&w->load->hungry, 0u, 1u))
		return false;
	inject_alloc_failures_from(1);
	return true;
}

static bool eat(struct worker *w)
{
	bool starved = inject_fired();

	inject_alloc_failure(0);
	store_release(&w->load->hungry, 0u);	// pairs with the next one's cmpxchg
	return starved;
}

typedef int down_fn(struct space *s, vaddr_t va, u64 len);

// Takes some slots down, or the first pages of one, by an unmap or a discard of a range that holds them.
static int take_down(struct worker *w, unsigned at, down_fn *down, const struct slot *slots, unsigned n, vaddr_t va, u64 len)
{
	struct ending endings[SLOTS];
	bool hungry, starved;
	int err;

	for (unsigned i = 0; i < n; i++)
		ending_begin(w->load, at, &slots[i], &endings[i]);
	hungry = hunger(w);
	err = down(w->load->space[at], va, len);
	starved = hungry && eat(w);
	if (!err)
		for (unsigned i = 0; i < n; i++)
			ending_done(w->load, at, &slots[i], &endings[i]);
	w->found.starved += starved;
	return err == -ENOMEM && starved ? 0 : err;
}

static int take_group_down(struct worker *w, unsigned at, unsigned g, down_fn *down)
{
	struct slot slots[SLOTS];

	for (unsigned i = 0; i < SLOTS; i++)
		slots[i] = slot_of(g, i);
	return take_down(w, at, down, slots, SLOTS, group_base(g), level_size(4));
}

static int take_slot_down(struct worker *w, unsigned at, const struct slot *s, down_fn *down)
{
	return take_down(w, at, down, s, 1, s->va, s->bytes);
}

static void take_group(struct worker *w, unsigned at, unsigned g)
{
	check_error(w, take_group_down(w, at, g, space_unmap), 0);
	put_up_group(w, at, g);
}

static void take_slot(struct worker *w, unsigned at, struct slot s)
{
	check_error(w, take_slot_down(w, at, &s, space_unmap), 0);
	put_up(w, at, &s);
}

static void take_first_page(struct worker *w, unsigned at, struct slot s)
{
	if (s.level == 1) {
		s.pages = 1;
		s.bytes = PAGE_SIZE;
	}
	check_error(w, take_slot_down(w, at, &s, space_unmap), -EBUSY);		// of a collapsed page that is pinned
	put_up(w, at, &s);
}

// Frees the pages and the tables; the regions stay.
static void discard_slot(struct worker *w, unsigned at, struct slot s)
{
	check_error(w, take_slot_down(w, at, &s, space_discard), 0);
	touch_slot(w, at, &s);
}

// Discards two pages of a slot that has more, and faults them in again: most likely they swap their frames, while the
// table stays. So a walker that has read one of the leaves finds the other's page.
static void swap_pages(struct worker *w, unsigned at, struct slot s, unsigned page)
{
	vaddr_t va = s.va + MIN(page, s.pages - 2) * PAGE_SIZE;

	check_error(w, space_discard(w->load->space[at], va, 2 * PAGE_SIZE), -EBUSY);	// of a collapsed page that is pinned
	touch_slot(w, at, &s);
}

static void discard_group(struct worker *w, unsigned at, unsigned g)
{
	check_error(w, take_group_down(w, at, g, space_discard), 0);
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot s = slot_of(g, i);

		touch_slot(w, at, &s);
	}
}

// ---- Moves. What is away is not walked ------------------------------------------------------------------------------

#define WAIT_AWAY_NS (200 * NSEC_PER_USEC)

// While the table is away, one of its pages is replaced by one that was never at the slot's own address, and that page
// is discarded before the table is back: a walker that has entered the table at the old place must pin neither. False:
// do not move back.
static bool replace_while_away(struct worker *w, unsigned at, vaddr_t va)
{
	struct space *space = w->load->space[at];
	bool asked = READ_ONCE(w->load->lingering);
	u64 end = now_ns() + (asked ? WAIT_AWAY_NS : RANDOM(w, 16) * NSEC_PER_USEC);
	int err = space_discard(space, va, PAGE_SIZE);

	if (err == -EBUSY || err == -ENOENT)
		return true;		// a collapsed page that is pinned; or another has taken it down
	check_error(w, err, 0);
	check_error(w, space_fault(space, va, true), -EFAULT);
	stamp_elsewhere(w->load, at, va);
	while (now_ns() < end && !(asked && READ_ONCE(w->load->seen_away)))
		cpu_relax();
	return !space_discard(space, va, PAGE_SIZE);
}

#if CHECK

struct moved {
	struct space *space;
	vaddr_t va;
	u64 bytes;
};

// The move has dropped its lock: others may discard at once what it has moved.
static void discard_moved(struct stall_point *p, void *arg)
{
	const struct moved *m = arg;

	space_discard(m->space, m->va, m->bytes);
}

static int move_and_discard(struct worker *w, struct space *space, const struct slot *s, vaddr_t away)
{
	struct moved m = { space, away, s->bytes };
	int err;

	if (!cmpxchg(&w->load->giving, 0u, 1u))
		return space_move(space, s->va, away, s->bytes);
	stall_point("move_unlocked")->action = discard_moved;
	stall_point("move_unlocked")->arg = &m;
	stall_arm(stall_point("move_unlocked"), space, s->va, s->va + s->bytes, 0);
	err = space_move(space, s->va, away, s->bytes);
	stall_release(stall_point("move_unlocked"));
	store_release(&w->load->giving, 0u);	// pairs with the next one's cmpxchg
	return err;
}
#else
static int move_and_discard(struct worker *w, struct space *space, const struct slot *s, vaddr_t away)
{
	return space_move(space, s->va, away, s->bytes);
}
#endif

// Moves the slot away and back, unless another unmapper has mapped something in its place meanwhile, or has unmapped
// it.
enum move { MOVE_AND_GIVE, MOVE_ONLY, MOVE_AND_REPLACE, MOVES };
static void move_away_and_back(struct worker *w, unsigned at, const struct slot *s, unsigned page, enum move how)
{
	struct space *space = w->load->space[at];
	vaddr_t away = s->va + (2 + w->index) * level_size(3);
	bool back = true;
	int err;

	move_begin(w->load, at, s);
	err = how == MOVE_AND_GIVE ? move_and_discard(w, space, s, away) : space_move(space, s->va, away, s->bytes);
	check_error(w, err, -ENOENT);
	if (!err) {
		if (how == MOVE_AND_REPLACE && s->level == 1)
			back = replace_while_away(w, at, away + page * PAGE_SIZE);
		err = back ? space_move(space, away, s->va, s->bytes) : -EEXIST;
		if (err != -EEXIST)
			check_error(w, err, -ENOENT);
		if (err)
			check_error(w, space_unmap(space, away, s->bytes), 0);
		w->found.reshaped += !err;
	}
	move_done(w->load, at, s);
}

static void move(struct worker *w, unsigned at, struct slot s, unsigned page, enum move how)
{
	move_away_and_back(w, at, &s, page, how);
	put_up(w, at, &s);		// if it is still missing
	touch_slot(w, at, &s);
}

// Collapses the slot, or splits it if it is one page already.
static void collapse_or_split(struct worker *w, unsigned at, struct slot s)
{
	struct space *space = w->load->space[at];
	int err = space_collapse(space, s.va);

	if (err == -EEXIST || (err == -EBUSY && RANDOM(w, 2)))
		err = space_split(space, s.va);
	if (err != -EBUSY)
		check_error(w, err, -ENOENT);
	w->found.reshaped += !err;
	if (err == -ENOENT)		// a page or a region is missing
		take_slot(w, at, s);
}

static void reshape(struct worker *w, unsigned at, struct slot s)
{
	if (s.level > 1 || !RANDOM(w, 3))
		move(w, at, s, RANDOM(w, s.pages), RANDOM(w, MOVES));
	else
		collapse_or_split(w, at, s);
}

static void change_protection(struct worker *w, unsigned at, struct slot s)
{
	struct space *space = w->load->space[at];

	check_error(w, space_protect(space, s.va, s.bytes, PROT_R), -ENOENT);
	check_error(w, space_protect(space, s.va, s.bytes, PROT_R | PROT_W), -ENOENT);
}

// Nothing is mapped there again before the pages are freed, because a map would first flush all CPUs. They may be freed
// as soon as all CPUs have swept. drain() calls all CPUs to sweep, so that only walker 0, which has interrupts off, is
// waited for.
static void post_group(struct worker *w, unsigned at, unsigned g)
{
	struct slot other = slot_of((g + 1) % GROUPS, 1);

	check_error(w, take_group_down(w, at, g, space_unmap), 0);
	WRITE_ONCE(w->load->posted, 1);
	w->load->flush->drain();
	put_up_group(w, at, g);
	put_up(w, at, &other);
}

// Does what walker 0 waits for.
static void take_bait(struct worker *w, unsigned at, struct bait bait)
{
	struct slot s = slot_of(bait.g, bait.i);

	switch (bait.kind) {
	case BAIT_POSTED: post_group(w, at, s.g); break;
	case BAIT_SLOT: take_slot(w, at, s); break;
	case BAIT_GIVEN: move(w, at, s, bait.page, MOVE_AND_GIVE); break;
	case BAIT_MOVE: move(w, at, s, bait.page, MOVE_AND_REPLACE); break;
	case BAIT_COLLAPSE: collapse_or_split(w, at, s); break;
	case BAIT_PAGES: swap_pages(w, at, s, bait.page); break;
	case BAIT_TABLES:
		if (RANDOM(w, 4))
			take_group(w, at, s.g);
		else
			discard_group(w, at, s.g);
		break;
	}
}

static void change_something(struct worker *w, unsigned at, struct slot s)
{
	switch (RANDOM(w, 16)) {
	case 0: case 1: take_group(w, at, s.g); break;
	case 2: discard_group(w, at, s.g); break;
	case 3: discard_slot(w, at, slot_of(s.g, 0)); break;
	case 4: discard_slot(w, at, s); break;
	case 5: reshape(w, at, slot_of(RANDOM(w, WHOLE_GROUPS), SLOTS - 1)); break;
	case 6: change_protection(w, at, s); break;
	case 7: take_first_page(w, at, s); break;
	case 8: swap_pages(w, at, slot_of(s.g, 0), RANDOM(w, MOST_PAGES)); break;
	default: take_slot(w, at, s); break;
	}
}

// Makes sure that walker 0's walk gets to where it wants to linger.
static void prepare(struct worker *w, unsigned at)
{
	struct bait bait = bait_of(READ_ONCE(w->load->bait));
	struct slot s = slot_of(bait.g, bait.i);

	if (s.i == SLOTS - 1 && s.g < WHOLE_GROUPS && bait.kind != BAIT_COLLAPSE)
		space_split(w->load->space[at], s.va);		// if it is collapsed
	touch_slot(w, at, &s);
	if (bait.kind == BAIT_POSTED) {
		s = slot_of((s.g + 1) % GROUPS, 1);		// something to sweep for
		check_error(w, take_slot_down(w, at, &s, space_unmap), 0);
	}
}

// Stands by if walker 0 is about to linger in this unmapper's own space, or in one that no unmapper owns. Returns 1 +
// the space in which it lingers, or 0.
static unsigned await_walker(struct worker *w)
{
	struct load *l = w->load;
	unsigned there = load_acquire(&l->planned);	// pairs with plan()

	if (!there || (there != w->at + 1 && there <= l->nr_unmappers))
		return 0;
	if (!READ_ONCE(l->stands_by)) {
		prepare(w, there - 1);
		WRITE_ONCE(l->stands_by, 1);
	}
	while (!READ_ONCE(l->lingering) && READ_ONCE(l->planned) == there && !READ_ONCE(l->stop))
		cpu_relax();
	return READ_ONCE(l->lingering);
}

int unmapper(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;
	bool inside = true;

	while (!READ_ONCE(l->stop)) {
		unsigned at = RANDOM(w, 8) ? w->at : RANDOM(w, l->nr_spaces);
		unsigned there = await_walker(w);
		struct slot s = slot_of(RANDOM(w, GROUPS), RANDOM(w, SLOTS));
		bool asked = there && RANDOM(w, 8);
		struct bait bait = bait_of(READ_ONCE(l->bait));
		u64 start = now_ns();

		if (asked) {			// in its own space, or in one that is nobody's own
			at = there - 1;
			s = slot_of(bait.g, bait.i);
		}
		if (!RANDOM(w, 4))		// half of the time it runs in the space that it changes
			inside = !inside;
		go_in_or_out(w, inside ? at : l->nr_spaces);
		if (inside)
			read_as_user(w, &s);		// so that the own CPU has something to flush
		if (asked)
			take_bait(w, at, bait);
		else
			change_something(w, at, s);
		if (inside)
			read_as_user(w, &s);
		WRITE_ONCE(w->found.inside, w->found.inside + inside);
		WRITE_ONCE(w->found.operations, w->found.operations + 1);
		if (w->found.operations % 64 == 0)
			wander(w);
		WRITE_ONCE(l->op_ns, now_ns() - start);
	}
	go_in_or_out(w, l->nr_spaces);
	return 0;
}
