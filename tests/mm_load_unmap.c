// SPDX-License-Identifier: MIT
// The unmappers: each, in a space of its own and sometimes in another's, takes slots down and puts them up again, discards,
// collapses, splits and moves: every way on which tables are freed or reused. A slot is out of the way only for short, and
// there are many: most walks take the fast path.
#include "kernel/errno.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/walk.h"
#include "tests/mm_load_parts.h"

// The stamps of a slot that has just been mapped. Another unmapper may have taken it down again: no matter.
static void stamp_slot(struct load *l, unsigned at, const struct slot *s)
{
	for (unsigned i = 0; i < s->pages; i++) {
		vaddr_t va = s->va + i * PAGE_SIZE;
		struct page *page;

		if (walk_pin(l->space[at], va, true, &page))
			continue;
		if (l->safe || READ_ONCE(page_head(page)->kind) == PAGE_ANON)
			WRITE_ONCE(*(u64 *)page_to_virt(page), stamp_of(at, va));
		page_unpin(page, true);
	}
}

static void check_error(struct worker *w, int err, int allowed)
{
	if (err == -ENOMEM)
		w->found.no_memory++;
	else if (err && err != allowed)
		w->found.errors++;
}

// Page by page on demand; not by walks, which would count as slow ones.
static void touch_slot(struct worker *w, unsigned at, const struct slot *s)
{
	for (unsigned i = 0; i < s->pages; i++)
		check_error(w, space_fault(w->load->space[at], s->va + i * PAGE_SIZE, true), -EFAULT);	// gone again
	stamp_slot(w->load, at, s);
}

// At once, or on demand.
void put_up(struct worker *w, unsigned at, const struct slot *s)
{
	struct space *space = w->load->space[at];
	unsigned flags = RANDOM(w, 4) || s->bytes == level_size(2) ? MAP_POPULATE : 0;
	int err = space_map(space, s->va, s->bytes, PROT_R | PROT_W, s->level, flags);

	check_error(w, err, -EEXIST);		// another was first
	if (flags)
		stamp_slot(w->load, at, s);
	else
		touch_slot(w, at, s);
}

static void take_group(struct worker *w, unsigned at, unsigned g)
{
	check_error(w, space_unmap(w->load->space[at], group_base(g), level_size(4)), 0);
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot s = slot_of(g, i);

		put_up(w, at, &s);
	}
}

static void take_slot(struct worker *w, unsigned at, struct slot s)
{
	check_error(w, space_unmap(w->load->space[at], s.va, s.bytes), 0);
	put_up(w, at, &s);
}

static void take_first_page(struct worker *w, unsigned at, struct slot s)
{
	if (s.level == 1) {
		s.pages = 1;
		s.bytes = PAGE_SIZE;
	}
	check_error(w, space_unmap(w->load->space[at], s.va, s.bytes), -EBUSY);		// of a collapsed page that is pinned
	put_up(w, at, &s);
}

// The pages and the tables go, the regions stay.
static void discard_slot(struct worker *w, unsigned at, struct slot s)
{
	check_error(w, space_discard(w->load->space[at], s.va, s.bytes), 0);
	touch_slot(w, at, &s);
}

static void discard_group(struct worker *w, unsigned at, unsigned g)
{
	check_error(w, space_discard(w->load->space[at], group_base(g), level_size(4)), 0);
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot s = slot_of(g, i);

		touch_slot(w, at, &s);
	}
}

// Away and back again, unless another has put something there meanwhile, or has taken it down. What is away is not walked.
static void move_away_and_back(struct worker *w, unsigned at, struct slot s)
{
	struct space *space = w->load->space[at];
	vaddr_t away = s.va + (2 + w->index) * level_size(3);
	int err = space_move(space, s.va, away, s.bytes);

	check_error(w, err, -ENOENT);
	if (err)
		return;
	err = space_move(space, away, s.va, s.bytes);
	if (err != -EEXIST)
		check_error(w, err, -ENOENT);
	if (err)
		check_error(w, space_unmap(space, away, s.bytes), 0);
	w->found.reshaped += !err;
}

static void reshape(struct worker *w, unsigned at)
{
	struct space *space = w->load->space[at];
	struct slot s = slot_of(RANDOM(w, WHOLE_GROUPS), SLOTS - 1);
	int err;

	if (s.level > 1 || !RANDOM(w, 3)) {
		move_away_and_back(w, at, s);
		return;
	}
	err = RANDOM(w, 3) ? space_collapse(space, s.va) : space_split(space, s.va);
	if (err != -EBUSY && err != -EEXIST)
		check_error(w, err, -ENOENT);
	w->found.reshaped += !err;
}

static void change_protection(struct worker *w, unsigned at, struct slot s)
{
	struct space *space = w->load->space[at];

	check_error(w, space_protect(space, s.va, s.bytes, PROT_R), -ENOENT);
	check_error(w, space_protect(space, s.va, s.bytes, PROT_R | PROT_W), -ENOENT);
}

int unmapper(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;
	bool inside = true;

	while (!READ_ONCE(l->stop)) {
		unsigned at = RANDOM(w, 8) ? w->at : RANDOM(w, l->nr_spaces);
		unsigned g = RANDOM(w, GROUPS), what = RANDOM(w, 16), there;
		struct slot s = slot_of(g, RANDOM(w, SLOTS));
		u64 start = now_ns();

		there = READ_ONCE(l->lingering);
		if (there && (there == w->at + 1 || there > l->nr_unmappers) && RANDOM(w, 2)) {
			at = there - 1;		// its own, or one that is nobody's own
			g = 0;
			s = slot_of(g, RANDOM(w, SLOTS));
			what = RANDOM(w, 4);	// most likely the whole group
		}
		if (!RANDOM(w, 8))		// half of the time it runs in the space that it changes
			inside = !inside;
		go_in_or_out(w, inside ? at : l->nr_spaces);
		if (inside)
			read_as_user(w, s.va);		// so that the own CPU has something to flush
		switch (what) {
		case 0: case 1: take_group(w, at, g); break;
		case 2: discard_group(w, at, g); break;
		case 3: discard_slot(w, at, slot_of(g, 0)); break;
		case 4: discard_slot(w, at, s); break;
		case 5: reshape(w, at); break;
		case 6: change_protection(w, at, s); break;
		case 7: take_first_page(w, at, s); break;
		default: take_slot(w, at, s); break;
		}
		if (inside)
			read_as_user(w, s.va);
		WRITE_ONCE(w->found.inside, w->found.inside + inside);
		WRITE_ONCE(w->found.operations, w->found.operations + 1);
		if (w->found.operations % 64 == 0)
			wander(w);
		WRITE_ONCE(l->op_ns, now_ns() - start);
	}
	go_in_or_out(w, l->nr_spaces);
	return 0;
}
