// SPDX-License-Identifier: MIT
// See model/operations.h.
#include "tests/mm/model/operations.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/inject.h"
#include "lab/stall.h"
#include "lab/swmmu.h"
#include "lab/test.h"
#include "mm/map.h"
#include "mm/policy/switch.h"
#include "mm/range.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/model/check.h"

#define MOST_PINNED 96		// pages of one walk

// ---- What an operation may return -----------------------------------------------------------------------------------

static void arm(const struct steps *st)
{
	if (st->fail_nth && st->fail_on)
		inject_alloc_failures_from(st->fail_nth);
	else if (st->fail_nth)
		inject_alloc_failure(st->fail_nth);
}

// Did the armed failure happen?
static bool disarm(struct steps *st)
{
	bool fired = st->fail_nth && inject_fired();

	inject_alloc_failure(0);
	st->fail_nth = 0;
	return fired;
}

// `err` is what the space returned. May the model follow? If memory ran out, nothing has changed.
static bool follow(struct steps *st, int err)
{
	bool fired = disarm(st);

	return !(fired && err == -ENOMEM) && !(st->walkers && err == -EBUSY);
}

// OP: what the space returns; MODEL: what the model returns, if it is to follow. True: done.
#define STEP(st, op, model) ({ \
	int _err; \
	arm(st); \
	_err = (op); \
	if (follow(st, _err)) \
		EXPECT_EQ(_err, (model)); \
	!_err; })

// ---- Changes --------------------------------------------------------------------------------------------------------

static bool do_map(struct steps *st, const struct step_range *r)
{
	return STEP(st, space_map(st->s, r->va, r->len, r->b % 8, 1, 0), model_map(st->m, r->va, r->len, r->b % 8, 1, false));
}

static bool do_populate(struct steps *st, const struct step_range *r)
{
	return STEP(st, space_map(st->s, r->va, r->len, RW, 1, MAP_POPULATE),
		    model_map(st->m, r->va, r->len, RW, 1, true));
}

static bool do_map_large(struct steps *st, const struct step_range *r)
{
	unsigned prot = r->b & 1 ? RW : r->b >> 1 & 7;
	bool populate = r->b & 0x10;

	return STEP(st, space_map(st->s, r->va, r->len, prot, 2, populate ? MAP_POPULATE : 0),
		    model_map(st->m, r->va, r->len, prot, 2, populate));
}

// A region of which no page can be allocated: there is no free 1 GiB.
static bool do_map_giant(struct steps *st, const struct step_range *r)
{
	vaddr_t va = ALIGN_DOWN(r->va, level_size(3));

	if (!st->giants)
		return false;
	if (r->a & 1) {
		int err = space_map(st->s, va, level_size(3), RW, 3, MAP_POPULATE);

		EXPECT(err == -ENOMEM || err == -EEXIST || err == -EINVAL);
		return false;
	}
	return STEP(st, space_map(st->s, va, level_size(3), RW, 3, 0), model_map(st->m, va, level_size(3), RW, 3, false));
}

static bool do_unmap(struct steps *st, const struct step_range *r)
{
	return STEP(st, space_unmap(st->s, r->va, r->len), model_unmap(st->m, r->va, r->len));
}

static bool do_unmap_sync(struct steps *st, const struct step_range *r)
{
	return STEP(st, space_unmap_sync(st->s, r->va, r->len), model_unmap(st->m, r->va, r->len));
}

static bool do_protect(struct steps *st, const struct step_range *r)
{
	return STEP(st, space_protect(st->s, r->va, r->len, r->b % 8), model_protect(st->m, r->va, r->len, r->b % 8));
}

static bool do_discard(struct steps *st, const struct step_range *r)
{
	return STEP(st, space_discard(st->s, r->va, r->len), model_discard(st->m, r->va, r->len));
}

#if CHECK

struct gap {
	struct steps *st;
	const struct step_range *r;
};

static void run_in_gap(struct stall_point *p, void *arg)
{
	const struct gap *g = arg;
	const u8 *bytes = g->st->next;
	struct step_range r;

	EXPECT_EQ(model_discard(g->st->m, g->r->va, g->r->len), 0);
	g->st->next = NULL;
	steps_run_one(g->st, bytes, &r);
}

// Do the next step while discard has dropped the lock: discard must not undo what that step fills or removes.
static bool do_discard_around(struct steps *st, const struct step_range *r)
{
	struct gap g = { st, r };
	bool around = st->next && !st->walkers;	// otherwise a walker may make the discard fail after its gap
	int err;

	if (!around)
		return do_discard(st, r);
	st->fail_nth = 0;
	stall_point("discard_between")->action = run_in_gap;
	stall_point("discard_between")->arg = &g;
	stall_arm(stall_point("discard_between"), st->s, 0, 0, 0);
	err = space_discard(st->s, r->va, r->len);
	stall_release(stall_point("discard_between"));
	if (!st->next)
		return EXPECT_EQ(err, 0);
	EXPECT(err);			// it failed before the gap
	EXPECT_EQ(err, model_discard(st->m, r->va, r->len));
	return false;
}
#else
static bool do_discard_around(struct steps *st, const struct step_range *r) { return do_discard(st, r); }
#endif

// Whole slots; or, from the range's place on, some of its pages, to a place that is as odd.
static bool do_move(struct steps *st, const struct step_range *r)
{
	unsigned to = r->a % MODEL_SLOTS, most = MIN(model_slots_from(r->slot), model_slots_from(to));
	vaddr_t from_va = model_slot_va(r->slot), to_va = model_slot_va(to);
	u64 len = (1 + r->b % 4) * SLOT_SIZE, room = most * SLOT_SIZE;

	if (r->va != from_va && r->va - from_va < room) {
		u64 odd = (r->b & 0x20 ? r->va - from_va : r->b * PAGE_SIZE);	// into the slot, there

		from_va = r->va;
		to_va += odd;
		room -= MAX(odd, r->va - model_slot_va(r->slot));
		len = r->len;
	}
	len = MIN(len, room);
	return STEP(st, space_move(st->s, from_va, to_va, len), model_move(st->m, from_va, to_va, len));
}

static bool do_collapse(struct steps *st, const struct step_range *r)
{
	vaddr_t va = ALIGN_DOWN(r->va, SLOT_SIZE);

	return STEP(st, space_collapse(st->s, va), model_collapse(st->m, va));
}

static bool do_split(struct steps *st, const struct step_range *r)
{
	return STEP(st, space_split(st->s, r->va), model_split(st->m, r->va));
}

static bool do_fault(struct steps *st, const struct step_range *r)
{
	return STEP(st, space_fault(st->s, r->va, r->b & 1), model_fault(st->m, r->va, r->b & 1));
}

static bool do_map_over(struct steps *st, const struct step_range *r)
{
	const struct region_kind k = { .prot = r->b % 8, .level = 1, .flags = r->b & 8 ? REGION_LOCKED : 0 };

	return STEP(st, space_map_over(st->s, r->va, r->len, &k), model_map_over(st->m, r->va, r->len, k.prot, k.flags));
}

// A flag without any effect but that neighbours with and without it are two regions.
static bool do_lock(struct steps *st, const struct step_range *r)
{
	unsigned set = r->b & 1 ? REGION_LOCKED : 0;

	return STEP(st, space_set_flags(st->s, r->va, r->len, set, REGION_LOCKED),
		    model_set_flags(st->m, r->va, r->len, set, REGION_LOCKED));
}

static void check_resident(const struct steps *st, vaddr_t va, u64 pages)
{
	u8 vec[64];

	if (space_resident(st->s, va, MIN(pages, ARRAY_SIZE(vec)), vec))
		return;
	for (u64 i = 0; i < MIN(pages, ARRAY_SIZE(vec)); i++)
		EXPECT_EQ(vec[i], st->m->page[model_index(va + i * PAGE_SIZE)].present);
}

static bool do_fill(struct steps *st, const struct step_range *r)
{
	bool write = r->b & 1;
	int err;

	st->fail_nth = 0;		// it would stop half-way
	if (!space_range_ok(r->va, r->len, PAGE_SIZE))
		return false;
	err = space_populate(st->s, r->va, r->len, write ? PROT_W : PROT_R);
	EXPECT_EQ(!err, !model_populate(st->m, r->va, r->len, write));
	check_resident(st, r->va, r->len >> PAGE_SHIFT);
	return !err;
}

// In place, or to a fixed place; shorter or longer by some pages, or of the same length.
static bool do_remap(struct steps *st, const struct step_range *r)
{
	unsigned slot = r->a % MODEL_SLOTS;
	u64 room = model_slots_from(slot) * SLOT_SIZE, odd = (u64)(r->a >> 4) * 7 * PAGE_SIZE;
	struct remap q = { .from = r->va, .from_len = MIN(r->len, SLOT_SIZE), .to = model_slot_va(slot) + odd, .low = PAGE_SIZE,
		.limit = model_slot_va(r->slot) + model_slots_from(r->slot) * SLOT_SIZE, .fixed = r->b & 1 };
	s64 more = ((s64)(r->b >> 3 & 7) - 2) * (s64)PAGE_SIZE, result;
	int err;

	st->fail_nth = 0;		// what is in the way of a fixed place would be gone
	if (!space_range_ok(r->va, r->len, PAGE_SIZE) || (s64)q.from_len + more <= 0 || (q.fixed && st->walkers))
		return false;
	q.to_len = q.from_len + (u64)more;
	if (q.fixed)
		q.limit = MIN(q.to + q.to_len, model_slot_va(slot) + room);
	if (q.to_len > q.limit || q.to_len > q.limit - (q.fixed ? q.to : 0))
		return false;
	result = space_remap(st->s, &q);
	err = result > 0 ? 0 : (int)result;
	if (st->walkers && err == -EBUSY)
		return false;
	EXPECT_EQ(err, model_remap(st->m, q.from, q.from_len, q.to_len, q.fixed, q.to, q.limit));
	return !err;
}

// ---- Accesses -------------------------------------------------------------------------------------------------------

static vaddr_t word_va(vaddr_t va, unsigned word) { return ALIGN_DOWN(va, PAGE_SIZE) + (word ? PAGE_SIZE - 8 : 0); }

// Its only error is -EFAULT, even if memory ran out.
static bool access(struct steps *st, vaddr_t va, unsigned word, bool write)
{
	u64 v = STEP_STAMP << 48 | (st->stamps + 1);
	int err, index = model_index(va);
	bool fired;

	arm(st);
	err = write ? arch_user_write64(word_va(va, word), v) : arch_user_read64(word_va(va, word), &v);
	fired = disarm(st);
	if (err && fired)
		return false;
	EXPECT_EQ(!err, !model_fault(st->m, va, write));
	if (err || !EXPECT(index >= 0))
		return false;
	if (write)
		st->m->page[index].word[word] = STEP_STAMP << 48 | ++st->stamps;
	else
		EXPECT_EQ(v, st->m->page[index].word[word]);
	return true;
}

static bool do_write(struct steps *st, const struct step_range *r) { return access(st, r->va, r->b >> 7, true); }
static bool do_read(struct steps *st, const struct step_range *r) { return access(st, r->va, r->b >> 7, false); }

// Touch every page of a slot, so that a collapse finds it complete.
static bool do_touch(struct steps *st, const struct step_range *r)
{
	bool all = true;

	for (unsigned i = 0; i < PT_ENTRIES && all; i++)
		all = access(st, model_slot_va(r->slot) + i * PAGE_SIZE, i & 1, r->b & 1);
	return all;
}

// ---- Pins -----------------------------------------------------------------------------------------------------------

static struct model_pin *free_pin(struct model *m)
{
	for (unsigned i = 0; i < MODEL_PINS; i++)
		if (!m->pin[i].page)
			return &m->pin[i];
	return NULL;
}

void step_end_pin(struct steps *st, unsigned i, bool dirty)
{
	if (!st->m->pin[i].page)
		return;
	space_check_pin(st->m, i);
	page_unpin(st->m->pin[i].page, dirty);
	st->m->pin[i].page = NULL;
}

static bool do_pin(struct steps *st, const struct step_range *r)
{
	struct model_pin *pin = free_pin(st->m);
	bool write = r->b & 1;
	struct page *page;

	if (!pin || !STEP(st, walk_pin(st->s, r->va, write, &page), model_fault(st->m, r->va, write)))
		return false;
	*pin = (struct model_pin){ page, model_index(r->va), .write = write };
	space_check_pin(st->m, (unsigned)(pin - st->m->pin));
	return true;
}

// Pin several pages from va on, up to the first that cannot be pinned.
static bool do_pin_range(struct steps *st, const struct step_range *r)
{
	struct page *pages[MOST_PINNED];
	unsigned n = 1 + r->b % MOST_PINNED, got, want = 0;
	bool fired;

	arm(st);
	got = walk_pin_range(st->s, r->va, n, r->a & 1, pages);
	fired = disarm(st);
	if (n <= (USER_END - ALIGN_DOWN(r->va, PAGE_SIZE)) / PAGE_SIZE)
		while (want < (fired ? got : n) && !model_fault(st->m, r->va + want * PAGE_SIZE, r->a & 1))
			want++;
	EXPECT_EQ(got, want);
	for (unsigned i = 0; i < got; i++) {
		int index = model_index(r->va + i * PAGE_SIZE);

		EXPECT_EQ(*(u64 *)page_to_virt(pages[i]), st->m->page[index].word[0]);
		page_unpin(pages[i], false);
	}
	return got > 1;
}

static bool do_unpin(struct steps *st, const struct step_range *r)
{
	bool pinned = st->m->pin[r->a % MODEL_PINS].page;

	step_end_pin(st, r->a % MODEL_PINS, r->b & 1);
	return pinned;
}

static bool do_write_pin(struct steps *st, const struct step_range *r)
{
	struct model_pin *pin = &st->m->pin[r->a % MODEL_PINS];
	u64 v = STEP_STAMP << 48 | (st->stamps + 1);

	if (!pin->page || !pin->write)
		return false;
	st->stamps++;
	*(u64 *)page_to_virt(pin->page) = v;
	if (pin->index >= 0)
		st->m->page[pin->index].word[0] = v;
	for (unsigned i = 0; i < MODEL_PINS; i++)	// each pin remembers the contents of a page that is unmapped
		if (st->m->pin[i].page == pin->page)
			st->m->pin[i].word[0] = v;
	return true;
}

// ---- The rest -------------------------------------------------------------------------------------------------------

static bool do_switch(struct steps *st, const struct step_range *r)
{
	const struct policy_pair old = { st->s->policy, st->s->backend }, new = { steps_policy(r->a), steps_backend(r->b) };
	int err = space_switch_pair(st->s, new.policy, new.backend);

	if (!pair_verdict(new.policy, new.backend).safe && !allow_unsafe())
		EXPECT_EQ(err, -EPERM);
	EXPECT(!err || err == -EPERM);
	EXPECT(st->s->policy == st->s->freer && st->s->policy == (err ? old.policy : new.policy));
	EXPECT(st->s->backend == (err ? old.backend : new.backend));
	return !err;
}

static bool do_fail(struct steps *st, const struct step_range *r)
{
	if (!st->failures)
		return false;
	st->fail_nth = 1 + r->a % 16;
	st->fail_on = r->b & 1;
	return true;
}

// Give deferred work time: ticks, grace periods, sweeps.
static bool do_sleep(struct steps *st, const struct step_range *r)
{
	thread_sleep_ns((1 + r->a % 16) * NSEC_PER_MSEC);
	return true;
}

// This CPU's software MMU caches what leads to the page, as hardware may at any time.
static bool do_prime(struct steps *st, const struct step_range *r)
{
	return CHECK && r->va < USER_END && swmmu_prime(cpu_id(), r->va);
}

const struct step_operation step_operations[STEP_OPS] = {
	[STEP_MAP] = { "map", do_map },
	[STEP_POPULATE] = { "populate", do_populate },
	[STEP_MAP_LARGE] = { "map_large", do_map_large },
	[STEP_MAP_GIANT] = { "map_giant", do_map_giant },
	[STEP_UNMAP] = { "unmap", do_unmap },
	[STEP_UNMAP_SYNC] = { "unmap_sync", do_unmap_sync },
	[STEP_PROTECT] = { "protect", do_protect },
	[STEP_DISCARD] = { "discard", do_discard },
	[STEP_MOVE] = { "move", do_move },
	[STEP_COLLAPSE] = { "collapse", do_collapse },
	[STEP_SPLIT] = { "split", do_split },
	[STEP_FAULT] = { "fault", do_fault },
	[STEP_WRITE] = { "write", do_write },
	[STEP_READ] = { "read", do_read },
	[STEP_TOUCH] = { "touch", do_touch },
	[STEP_PIN] = { "pin", do_pin },
	[STEP_PIN_RANGE] = { "pin_range", do_pin_range },
	[STEP_UNPIN] = { "unpin", do_unpin },
	[STEP_WRITE_PIN] = { "write_pin", do_write_pin },
	[STEP_SWITCH] = { "switch", do_switch },
	[STEP_FAIL] = { "fail", do_fail },
	[STEP_SLEEP] = { "sleep", do_sleep },
	[STEP_PRIME] = { "prime", do_prime },
	[STEP_DISCARD_AROUND] = { "discard_around", do_discard_around },
	[STEP_MAP_OVER] = { "map_over", do_map_over },
	[STEP_LOCK] = { "lock", do_lock },
	[STEP_FILL] = { "fill", do_fill },
	[STEP_REMAP] = { "remap", do_remap },
};
