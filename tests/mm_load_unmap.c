// SPDX-License-Identifier: MIT
// The unmappers: each, in a space of its own and sometimes in another's, takes slots down and puts them up again. A slot
// is out of the way only for short, and there are many: most walks take the fast path.
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

// At once, or page by page on demand.
void put_up(struct worker *w, unsigned at, const struct slot *s)
{
	struct space *space = w->load->space[at];
	unsigned flags = RANDOM(w, 4) ? MAP_POPULATE : 0;
	int err = space_map(space, s->va, slot_bytes(s), PROT_R | PROT_W, s->level, flags);

	check_error(w, err, -EEXIST);		// another was first
	for (unsigned i = 0; i < s->pages && !flags; i++)
		check_error(w, space_fault(space, s->va + i * PAGE_SIZE, true), -EFAULT);	// gone again
	stamp_slot(w->load, at, s);
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
	check_error(w, space_unmap(w->load->space[at], s.va, slot_bytes(&s)), 0);
	put_up(w, at, &s);
}

static void take_first_page(struct worker *w, unsigned at, struct slot s)
{
	if (s.level == 1)
		s.pages = 1;
	take_slot(w, at, s);
}

static void change_protection(struct worker *w, unsigned at, struct slot s)
{
	struct space *space = w->load->space[at];

	check_error(w, space_protect(space, s.va, slot_bytes(&s), PROT_R), -ENOENT);
	check_error(w, space_protect(space, s.va, slot_bytes(&s), PROT_R | PROT_W), -ENOENT);
}

int unmapper(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;

	if (w->index & 1)		// half of them run in the space that they change
		space_attach(l->space[w->at]);
	while (!READ_ONCE(l->stop)) {
		unsigned at = RANDOM(w, 8) ? w->at : RANDOM(w, l->nr_spaces);
		unsigned g = RANDOM(w, GROUPS), what = RANDOM(w, 8);
		struct slot s = slot_of(g, RANDOM(w, SLOTS));
		u64 start = now_ns();

		if (READ_ONCE(l->lingering) == w->at + 1 && RANDOM(w, 2)) {
			at = w->at;
			g = what = 0;
		}
		switch (what) {
		case 0: take_group(w, at, g); break;
		case 1: change_protection(w, at, s); break;
		case 2: take_first_page(w, at, s); break;
		default: take_slot(w, at, s); break;
		}
		w->found.operations++;
		WRITE_ONCE(l->op_ns, now_ns() - start);
	}
	if (w->index & 1)
		space_detach();
	return 0;
}
