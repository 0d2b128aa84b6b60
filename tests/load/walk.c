// SPDX-License-Identifier: MIT
// The walkers: they pin, read and write what they find, and judge it. One of them lingers (load/linger.c).
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/walk.h"
#include "tests/load/parts.h"
#include <arch/uaccess.h>

// The frame is pinned: whatever it is now, it stays.
static void judge_pin(struct worker *w, unsigned at, vaddr_t va, struct page *page, u32 least, bool write)
{
	u64 *word = page_to_virt(page), *own = &word[8 + w->index % 504];
	u64 seen = READ_ONCE(word[0]), mine = rand_next(&w->seed) & ~1ull;

	WRITE_ONCE(w->found.pins, w->found.pins + 1);
	if (READ_ONCE(page_head(page)->kind) != PAGE_ANON || !stamp_fits(at, va, seen, least)) {
		w->found.bad_pins++;
	} else if (write && w->load->safe) {
		WRITE_ONCE(*own, mine);
		for (int i = 0; i < 32; i++)
			cpu_relax();
		w->found.lost_writes += READ_ONCE(*own) != mine;
	}
	page_unpin(page, write);
}

typedef unsigned pin_fn(struct space *s, vaddr_t va, unsigned n, bool write, struct page **pages);

static unsigned pin_one(struct space *s, vaddr_t va, unsigned n, bool write, struct page **pages)
{
	return walk_pin(s, va, write, pages) == 0;
}

static void pin_by(pin_fn *pin, struct worker *w, unsigned at, const struct slot *s, unsigned first, unsigned n, bool write)
{
	vaddr_t va = s->va + first * PAGE_SIZE;
	struct page *pages[MOST_PAGES];
	u32 least[MOST_PAGES];

	for (unsigned i = 0; i < n; i++)
		least[i] = ended_before(w->load, at, s, first + i);
	n = pin(w->load->space[at], va, n, write, pages);
	for (unsigned i = 0; i < n; i++)
		judge_pin(w, at, va + i * PAGE_SIZE, pages[i], least[i], write);
}

void pin_fast(struct worker *w, unsigned at, const struct slot *s, unsigned first, unsigned n, bool write)
{
	pin_by(walk_pin_fast, w, at, s, first, n, write);
}

void pin_some(struct worker *w, unsigned at, struct slot s, unsigned first)
{
	unsigned how = RANDOM(w, 8), rest = s.pages - first;
	bool write = !RANDOM(w, 8);

	if (how == 0)
		pin_by(pin_one, w, at, &s, first, 1, write);
	else if (how == 1)
		pin_by(walk_pin_range, w, at, &s, first, rest, write);
	else
		pin_fast(w, at, &s, first, how == 2 ? rest : 1, write);
}

void read_as_user(struct worker *w, const struct slot *s)
{
	unsigned page = RANDOM(w, s->pages), at = w->inside;
	vaddr_t va = s->va + page * PAGE_SIZE;
	u32 least = up_before(w->load, at, s, page);
	u64 seen;

	if (arch_user_read64_nofault(va, &seen))
		return;
	w->found.user_reads++;
	w->found.bad_reads += !stamp_fits(at, va, seen, least);
}

int walker(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;

	for (u64 round = 0; READ_ONCE(l->stop) < 2; round++) {
		struct slot s = slot_of(RANDOM(w, GROUPS), RANDOM(w, SLOTS));
		unsigned at;

		if (round % 64 == 0) {
			go_in_or_out(w, RANDOM(w, l->nr_spaces + 1));
			wander(w);
		}
		at = w->inside < l->nr_spaces && RANDOM(w, 4) ? w->inside : RANDOM(w, l->nr_spaces);
		if (w->lingers)
			linger_now_and_then(w, at);
		pin_some(w, at, s, RANDOM(w, s.pages));
		if (at == w->inside)
			read_as_user(w, &s);
	}
	go_in_or_out(w, l->nr_spaces);
	return 0;
}
