// SPDX-License-Identifier: MIT
// Spaces that are replaced while workers use them, and what their pages may hold.
#include "kernel/lib.h"
#include "kernel/log.h"
#include "mm/frame/slab.h"
#include "mm/policy/verdict.h"
#include "tests/torture/torture.h"

struct world world;

// ---- Stamps ---------------------------------------------------------------------------------------------------------

static unsigned entry_of(vaddr_t va) { return (unsigned)(va >> level_shift(4)); }

bool is_shared(vaddr_t va)
{
	return entry_of(va) % entry_of(DIST) - ENTRY_SHARED < SHARED_GROUPS;
}

static vaddr_t birthplace(vaddr_t va)
{
	return is_shared(va) && va >= DIST ? va - DIST : va;
}

// Even, so that a walk that takes the page for a table finds nothing present in it.
u64 stamp_of(u64 serial, vaddr_t va) { return serial << 36 | birthplace(va) >> PAGE_SHIFT << 1; }

bool stamp_right(u64 serial, vaddr_t va, u64 stamp)
{
	bool moved_block = entry_of(va) == ENTRY_BLOCKS + entry_of(DIST);

	return !stamp || stamp == stamp_of(serial, va) || (moved_block && stamp == stamp_of(serial, va - DIST));
}

vaddr_t strip_of(unsigned worker)
{
	return ((vaddr_t)ENTRY_STRIPS << level_shift(4)) + worker / 8 % 2 * level_size(3) + worker / 16 * level_size(2) +
	       worker % 8 * 2 * STRIP_PAGES * PAGE_SIZE;
}

vaddr_t block_of(unsigned worker)
{
	return ((vaddr_t)ENTRY_BLOCKS << level_shift(4)) + worker % 4 * level_size(3) + worker / 4 * BLOCK;
}

// ---- Spaces ---------------------------------------------------------------------------------------------------------

bool random_safe_pair(u64 *seed, const struct table_policy **p, const struct flush_backend **b)
{
	unsigned n = 0;

	FOR_EACH_POLICY(policy)
		FOR_EACH_BACKEND(flush)
			if (!flush_missing(*flush) && pair_verdict(*policy, *flush).safe && !(rand_next(seed) % ++n)) {
				*p = *policy;
				*b = *flush;
			}
	return n;
}

static struct space *create(u64 *seed)
{
	const struct table_policy *p = NULL;
	const struct flush_backend *b = NULL;

	if (world.switches && rand_next(seed) % 2)
		random_safe_pair(seed, &p, &b);
	return space_create_with(p, b);
}

struct ref world_take(unsigned slot)
{
	struct slot *s = &world.slot[slot];
	struct ref r = { .slot = slot };

	spin_lock(&s->lock);
	if (s->space) {
		r.space = s->space;
		r.serial = s->serial;
		space_get(r.space);
	}
	spin_unlock(&s->lock);
	return r;
}

void world_drop(struct ref *r)
{
	if (r->space)
		space_put(r->space);
	r->space = NULL;
}

static struct space *replace(unsigned slot, struct space *fresh)
{
	struct slot *s = &world.slot[slot];
	struct space *old;

	spin_lock(&s->lock);
	old = s->space;
	s->space = fresh;
	s->serial = fetch_add(&world.serials, 1) + 1;
	spin_unlock(&s->lock);
	return old;
}

void world_renew(struct worker *w, unsigned slot)
{
	struct space *fresh = create(&w->seed), *old = replace(slot, fresh);

	if (old)
		space_put(old);
}

void attach_somewhere(struct worker *w)
{
	unsigned slot = RANDOM(w, world.nr_slots + 1);

	if (w->attached.space) {
		space_detach();
		world_drop(&w->attached);
	}
	if (slot < world.nr_slots)
		w->attached = world_take(slot);
	if (w->attached.space)
		space_attach(w->attached.space);
}

bool world_create(u64 seed)
{
	world.nr_slots = MIN(2 + nr_cpus / 4, (unsigned)MAX_SLOTS);
	for (unsigned i = 0; i < world.nr_slots; i++) {
		spin_init(&world.slot[i].lock, "torture slot", RANK_TEST);
		replace(i, create(&seed));
		if (!world.slot[i].space)
			return false;
	}
	return true;
}

void world_destroy(void)
{
	for (unsigned i = 0; i < world.nr_slots; i++) {
		struct space *old = replace(i, NULL);

		if (old)
			space_put(old);
	}
}

// ---- Verdicts -------------------------------------------------------------------------------------------------------

#define MOST_PRINTED 10
static const char *const fault_text[] = {
#define X(name, text) text,
	TORTURE_FAULTS(X)
#undef X
};

u64 torture_faults(void)
{
	u64 n = 0;

	for (unsigned i = 0; i < NR_FAULTS; i++)
		n += READ_ONCE(world.fault[i]);
	return n;
}

void torture_fault(enum torture_fault f, const struct ref *r, vaddr_t va, u64 seen)
{
	static u64 printed;

	fetch_add(&world.fault[f], 1);
	if (fetch_add(&printed, 1) < MOST_PRINTED)
		log_error("torture: %s: CPU %u, %s, space %llu, %llx, seen %llx", fault_text[f], cpu_id(), current->name,
			  (unsigned long long)(r ? r->serial : 0), (unsigned long long)va, (unsigned long long)seen);
}
