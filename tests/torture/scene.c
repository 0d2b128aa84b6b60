// SPDX-License-Identifier: MIT
// Scenes: a short random sequence of operations by one worker, on addresses of its own in a shared space. The other
// workers walk, pin and read what is there but change nothing, so a model of eight pages says exactly what each
// operation must return and what each page must hold. The tables are shared with the neighbours' scenes.
//
//	strip   eight pages: regions, permissions, discards, page by page
//	block   2 MiB, of which the eight pages are a part: collapse, split, and a move, once
//
// An operation that fails for lack of memory has changed nothing.
#include "kernel/errno.h"
#include "mm/walk.h"
#include "tests/torture/torture.h"
#include <arch/uaccess.h>

struct page_model {
	u8 prot;
	bool mapped;
	bool loose;		// unmapped, and other CPUs may still reach it (tlb_flush=lazy)
	bool no_stamp;		// had no stamp when it was moved: it must not get one later
	u64 stamp, value;	// words 0 and 1
};

struct scene {
	struct worker *w;
	const struct ref *r;
	struct space *s;
	vaddr_t va;		// of the first page
	bool wandered;		// has moved since the scene began, perhaps to another CPU
	struct page_model page[STRIP_PAGES];
};

static vaddr_t page_va(const struct scene *sc, unsigned i) { return sc->va + i * PAGE_SIZE; }
static bool inside(const struct scene *sc) { return sc->w->attached.space == sc->s; }

// `expected`: the error that must come, 0 for none. True: it took effect, and the model has to follow.
static bool happened(struct scene *sc, unsigned i, int err, int expected)
{
	check_error(sc->r, page_va(sc, i), err, expected ? MAY(-expected) : 0);
	if (!err && expected)
		torture_fault(FAULT_bad_error, sc->r, page_va(sc, i), (u64)-expected);
	return !err;
}

// ---- Accesses -------------------------------------------------------------------------------------------------------

// By user access or through a pin, at random. -EAGAIN: nothing can be said, because memory was short.
static int user_access(struct scene *sc, unsigned i, bool write, u64 *words)
{
	vaddr_t va = page_va(sc, i);

	for (int tries = 0; tries < 2; tries++) {
		int err = write ? arch_user_write64(va + 8, words[1]) : arch_user_read64(va + 8, &words[1]);

		if (!err && write)
			err = words[0] ? arch_user_write64(va, words[0]) : 0;
		else if (!err)
			err = arch_user_read64(va, &words[0]);
		if (!err)
			return 0;
		err = space_fault(sc->s, va, write);	// was it the page that was missing, or the memory for it?
		if (err)
			return err == -ENOMEM ? -EAGAIN : err;
	}
	return -EFAULT;
}

static int pin_access(struct scene *sc, unsigned i, bool write, u64 *words)
{
	struct page *page;
	int err = walk_pin(sc->s, page_va(sc, i), write, &page);
	u64 *word;

	if (err)
		return err == -ENOMEM ? -EAGAIN : err;
	word = page_to_virt(page);
	if (write) {
		WRITE_ONCE(word[1], words[1]);
		if (words[0])
			WRITE_ONCE(word[0], words[0]);
	} else {
		words[1] = READ_ONCE(word[1]);
		words[0] = READ_ONCE(word[0]);
	}
	page_unpin(page, write);
	return 0;
}

static int access_page(struct scene *sc, unsigned i, bool write, u64 *words)
{
	const struct page_model *p = &sc->page[i];
	bool may = p->mapped && p->prot & PROT_R && (!write || p->prot & PROT_W), user = inside(sc) && RANDOM(sc->w, 2);
	int err;

	if (user && p->loose && sc->wandered)
		return -EAGAIN;
	err = user ? user_access(sc, i, write, words) : pin_access(sc, i, write, words);
	if (err != -EAGAIN && err != (may ? 0 : -EFAULT))
		torture_fault(FAULT_bad_access, sc->r, page_va(sc, i), (u64)write << 32 | (u32)-err);
	return may ? err : -EFAULT;
}

static void check_page(struct scene *sc, unsigned i)
{
	const struct page_model *p = &sc->page[i];
	u64 words[2];

	if (access_page(sc, i, false, words))
		return;
	if (words[0] != p->stamp || words[1] != p->value)
		torture_fault(FAULT_bad_value, sc->r, page_va(sc, i), words[1] != p->value ? words[1] : words[0]);
}

static void write_page(struct scene *sc, unsigned i)
{
	struct page_model *p = &sc->page[i];
	bool stamps = !p->stamp && !p->no_stamp;
	u64 words[2] = { stamps ? stamp_of(sc->r->serial, page_va(sc, i)) : 0, sc->w->values += 2 };

	if (access_page(sc, i, true, words))
		return;
	p->value = words[1];
	p->stamp = stamps ? words[0] : p->stamp;
}


static void wander_about(struct scene *sc)
{
	sc->wandered = true;
	wander_off(sc->w);
}

// No CPU can reach any more what page i has shown so far, not even one that has not flushed yet.
static void raise_floor(struct scene *sc, unsigned i)
{
	store_release(&sc->w->floor[i], sc->w->values + 2);	// pairs with floor_of()
}

static void begin(struct scene *sc)
{
	struct worker *w = sc->w;

	for (unsigned i = 0; i < STRIP_PAGES; i++)
		if (!sc->page[i].value)
			raise_floor(sc, i);
	WRITE_ONCE(w->hot_serial, sc->r->serial);
	store_release(&w->hot_va, sc->va);
}

static void dropped(struct scene *sc, unsigned i)
{
	struct page_model *p = &sc->page[i];

	*p = (struct page_model){ .mapped = p->mapped, .prot = p->prot };
	raise_floor(sc, i);
}

// ---- Strips ---------------------------------------------------------------------------------------------------------

static unsigned mapped_in(const struct scene *sc, unsigned i, unsigned n)
{
	unsigned mapped = 0;

	for (unsigned k = i; k < i + n; k++)
		mapped += sc->page[k].mapped;
	return mapped;
}

static void map_strip(struct scene *sc, unsigned i, unsigned n)
{
	struct worker *w = sc->w;
	unsigned prot = RANDOM(w, 4) ? PROT_R | PROT_W : PROT_R, flags = RANDOM(w, 2) ? MAP_POPULATE : 0;
	int err = space_map(sc->s, page_va(sc, i), n * PAGE_SIZE, prot, 1, flags);

	if (!happened(sc, i, err, mapped_in(sc, i, n) ? -EEXIST : 0))
		return;
	for (unsigned k = i; k < i + n; k++) {
		sc->page[k] = (struct page_model){ .mapped = true, .prot = (u8)prot };
		raise_floor(sc, k);
	}
}

static void unmap_strip(struct scene *sc, unsigned i, unsigned n)
{
	bool sync = RANDOM(sc->w, 2);
	int err = sync ? space_unmap_sync(sc->s, page_va(sc, i), n * PAGE_SIZE)
		       : space_unmap(sc->s, page_va(sc, i), n * PAGE_SIZE);

	if (!happened(sc, i, err, 0))
		return;
	for (unsigned k = i; k < i + n; k++)
		sc->page[k] = (struct page_model){ .loose = !sync && (sc->page[k].mapped || sc->page[k].loose) };
}

static void protect_strip(struct scene *sc, unsigned i, unsigned n)
{
	static const u8 prots[] = { 0, PROT_R, PROT_R | PROT_W, PROT_R | PROT_W };
	unsigned prot = prots[RANDOM(sc->w, ARRAY_SIZE(prots))];
	int err = space_protect(sc->s, page_va(sc, i), n * PAGE_SIZE, prot);

	if (!happened(sc, i, err, mapped_in(sc, i, n) < n ? -ENOENT : 0) && err != -ENOENT)
		return;
	for (unsigned k = i; k < i + n && sc->page[k].mapped; k++)	// also what lies before a hole
		sc->page[k].prot = (u8)prot;
}

static void discard_strip(struct scene *sc, unsigned i, unsigned n)
{
	if (!happened(sc, i, space_discard(sc->s, page_va(sc, i), n * PAGE_SIZE), 0))
		return;
	for (unsigned k = i; k < i + n; k++)
		dropped(sc, k);
}

static void step_strip(struct scene *sc)
{
	unsigned i = RANDOM(sc->w, STRIP_PAGES), n = 1 + RANDOM(sc->w, STRIP_PAGES - i);

	switch (RANDOM(sc->w, 16)) {
	case 0: case 1: case 2: map_strip(sc, i, n); break;
	case 3: unmap_strip(sc, i, n); break;
	case 4: protect_strip(sc, i, n); break;
	case 5: case 6: discard_strip(sc, i, n); break;
	case 7: case 8: case 9: case 10: write_page(sc, i); break;
	case 11: wander_about(sc); break;
	default: check_page(sc, i); break;
	}
}

static void play(struct scene *sc, void (*step)(struct scene *))
{
	begin(sc);
	for (unsigned n = 8 + RANDOM(sc->w, 16); n && !stopping(); n--) {
		bool injected = inject_begin(sc->w);

		step(sc);
		if (injected)
			inject_end(sc->w);
		for (unsigned i = 0; !RANDOM(sc->w, 4) && i < STRIP_PAGES; i++)
			check_page(sc, i);
		beat(&sc->w->beat, "a scene");
	}
}

static void end(struct scene *sc, vaddr_t va, u64 len)
{
	int err;

	do {		// others may be taking all memory
		err = space_unmap_sync(sc->s, va, len);
		if (err == -ENOMEM)
			thread_yield();
	} while (err == -ENOMEM);
	happened(sc, 0, err, 0);
	for (unsigned i = 0; i < STRIP_PAGES; i++) {
		sc->page[i] = (struct page_model){ 0 };
		check_page(sc, i);
	}
	WRITE_ONCE(sc->w->hot_va, 0);
}

void play_strip(struct worker *w, const struct ref *r)
{
	struct scene sc = { .w = w, .r = r, .s = r->space, .va = strip_of(w->index) };

	play(&sc, step_strip);
	end(&sc, strip_of(w->index), STRIP_PAGES * PAGE_SIZE);
}

// ---- Blocks ---------------------------------------------------------------------------------------------------------

static vaddr_t block_now(const struct scene *sc) { return ALIGN_DOWN(sc->va, BLOCK); }

static void discard_block(struct scene *sc)
{
	unsigned i = RANDOM(sc->w, STRIP_PAGES);
	bool all = !RANDOM(sc->w, 4);
	int err = all ? space_discard(sc->s, block_now(sc), BLOCK) : space_discard(sc->s, page_va(sc, i), PAGE_SIZE);

	check_error(sc->r, page_va(sc, i), err, all ? 0 : MAY(EBUSY) | MAY(EINVAL));
	for (unsigned k = 0; k < STRIP_PAGES && !err; k++)
		if (all || k == i)
			dropped(sc, k);
}

static void protect_block(struct scene *sc)
{
	u8 prot = RANDOM(sc->w, 4) ? PROT_R | PROT_W : PROT_R;

	if (!happened(sc, 0, space_protect(sc->s, block_now(sc), BLOCK, prot), 0))
		return;
	for (unsigned i = 0; i < STRIP_PAGES; i++)
		sc->page[i].prot = prot;
}

// Pages that are allocated at the new place get a stamp of that place: a worker that finds such a page by the old
// address has found one that was never there.
static void look_after_move(struct scene *sc, struct scene *left)
{
	sc->va += DIST;
	if (RANDOM(sc->w, 2))	// otherwise the others go on looking at the old place
		WRITE_ONCE(sc->w->hot_va, sc->va);
	for (unsigned i = 0; i < STRIP_PAGES; i++) {
		sc->page[i].no_stamp = !sc->page[i].stamp;
		left->page[i] = (struct page_model){ 0 };
	}
	for (unsigned i = 0; i < STRIP_PAGES; i++) {
		if (RANDOM(sc->w, 2) && !space_discard(sc->s, page_va(sc, i), PAGE_SIZE)) {
			dropped(sc, i);
			write_page(sc, i);
		}
		check_page(left, i);
		check_page(sc, i);
	}
}

static void move_block(struct scene *sc)
{
	struct scene left = *sc;
	bool trap;

	if (block_now(sc) >= DIST)
		return;
	trap = trap_begin(sc->w, sc->r, sc->va, STRIP_PAGES * PAGE_SIZE, RANDOM(sc->w, 2));
	if (happened(sc, 0, space_move(sc->s, block_now(sc), block_now(sc) + DIST, BLOCK), 0))
		look_after_move(sc, &left);
	if (trap)
		trap_end(sc->w);
}

static void collapse_block(struct scene *sc)
{
	bool trap = trap_begin(sc->w, sc->r, block_now(sc), BLOCK, RANDOM(sc->w, 2));

	check_error(sc->r, block_now(sc), space_collapse(sc->s, block_now(sc)),
		    MAY(ENOENT) | MAY(EINVAL) | MAY(EBUSY) | MAY(EEXIST));
	if (trap)
		trap_end(sc->w);
}

static void step_block(struct scene *sc)
{
	unsigned i = RANDOM(sc->w, STRIP_PAGES);
	vaddr_t b = block_now(sc);

	switch (RANDOM(sc->w, 20)) {
	case 0: case 1: case 2: collapse_block(sc); break;
	case 3: check_error(sc->r, b, space_split(sc->s, b), MAY(ENOENT) | MAY(EINVAL) | MAY(EBUSY)); break;
	case 4: case 5: discard_block(sc); break;
	case 6: protect_block(sc); break;
	case 7: case 8: case 9: move_block(sc); break;
	case 10: case 11: case 12: case 13: write_page(sc, i); break;
	case 14: wander_about(sc); break;
	default: check_page(sc, i); break;
	}
}

void play_block(struct worker *w, const struct ref *r)
{
	vaddr_t base = block_of(w->index);
	struct scene sc = { .w = w, .r = r, .s = r->space, .va = base + RANDOM(w, PT_ENTRIES - STRIP_PAGES) * PAGE_SIZE };
	int level = RANDOM(w, 4) ? 1 : 2;

	if (!happened(&sc, 0, space_map(sc.s, base, BLOCK, PROT_R | PROT_W, level, RANDOM(w, 4) ? MAP_POPULATE : 0), 0))
		return;
	for (unsigned i = 0; i < STRIP_PAGES; i++) {
		sc.page[i] = (struct page_model){ .mapped = true, .prot = PROT_R | PROT_W };
		write_page(&sc, i);
	}
	play(&sc, step_block);
	end(&sc, block_now(&sc), BLOCK);
}
