// SPDX-License-Identifier: MIT
// Hot paths of spaces, under each policy: the walk, unmap, map and touch; and protect.
#include "kernel/panic.h"
#include "mm/walk.h"
#include "tests/bench/paths.h"
#include <arch/uaccess.h>

#define BESIDE 0x400000000000ull

static void enter_space(struct path_scene *sc, const struct path *p)
{
	sc->pair.pages = p->pages;
	sc->space = bench_space(&sc->pair);
	space_attach(sc->space);
}

static void leave_space(struct path_scene *sc)
{
	space_detach();
	space_put(sc->space);
	bench_settle(&sc->pair);
}

static void settle(struct path_scene *sc) { bench_settle(&sc->pair); }

static void map(struct path_scene *sc)
{
	BUG_ON(map_patiently(sc->space, ALONE, sc->pair.pages * PAGE_SIZE, 1));
}

static int unmap(struct path_scene *sc) { return space_unmap(sc->space, ALONE, sc->pair.pages * PAGE_SIZE); }

// This takes half a tick, so a round has only one run of it. The second unmap does what only the first unmap of a round
// does, so that the counted one does not.
static void map_many(struct path_scene *sc)
{
	map(sc);
	BUG_ON(map_patiently(sc->space, BESIDE, PAGE_SIZE, 1));
	BUG_ON(space_unmap(sc->space, BESIDE, PAGE_SIZE));
}

static void enter_mapped(struct path_scene *sc, const struct path *p)
{
	enter_space(sc, p);
	map(sc);
}

static int walk(struct path_scene *sc) { return walk_pin(sc->space, ALONE, true, &sc->page); }
static void unpin(struct path_scene *sc) { page_unpin(sc->page, false); }

static int map_touch_unmap(struct path_scene *sc)
{
	return space_map(sc->space, ALONE, PAGE_SIZE, PROT_R | PROT_W, 1, 0) ?: arch_user_write64(ALONE, 1) ?: unmap(sc);
}

static int protect(struct path_scene *sc) { return space_protect(sc->space, ALONE, PAGE_SIZE, PROT_R); }
static void allow_writing(struct path_scene *sc) { BUG_ON(space_protect(sc->space, ALONE, PAGE_SIZE, PROT_R | PROT_W)); }

PATH(walk, .per_policy = true, .pages = 1, .begin = enter_mapped, .run = walk, .after = unpin,
     .settle = settle, .end = leave_space);
PATH(unmap, .per_policy = true, .pages = 1, .begin = enter_space, .before = map, .run = unmap, .settle = settle,
     .end = leave_space);
PATH(unmap_512, .per_policy = true, .pages = 512, .alone = true, .begin = enter_space, .before = map_many,
     .run = unmap, .settle = settle, .end = leave_space);
PATH(map_touch_unmap, .per_policy = true, .pages = 1, .begin = enter_space, .run = map_touch_unmap,
     .settle = settle, .end = leave_space);
PATH(protect, .pages = 1, .begin = enter_mapped, .before = allow_writing, .run = protect,
     .settle = settle, .end = leave_space);
