// SPDX-License-Identifier: MIT
// See model/steps.h. A step's bytes: the operation; the place (slot and shape of the range); two more for the rest.
#include "tests/mm/model/steps.h"
#include "kernel/lib.h"
#include "lab/test.h"
#include "mm/policy/verdict.h"
#include "tests/mm/model/check.h"
#include "tests/mm/model/operations.h"
#include "tests/mm/stamps.h"

const struct table_policy *steps_policy(u8 which)
{
	unsigned n = 0;

	FOR_EACH_POLICY(p)
		n++;
	n = which % n;
	FOR_EACH_POLICY(p)
		if (!n--)
			return *p;
	return NULL;
}

const struct flush_backend *steps_backend(u8 which)
{
	unsigned n = 0;

	FOR_EACH_BACKEND(b)
		n += !flush_missing(*b);
	n = which % n;
	FOR_EACH_BACKEND(b)
		if (!flush_missing(*b) && !n--)
			return *b;
	return NULL;
}

const char *steps_name(enum step_op op) { return step_operations[op].name; }

static bool maps(unsigned op) { return op == STEP_MAP || op == STEP_POPULATE || op == STEP_MAP_LARGE || op == STEP_MAP_OVER; }

// Steps that map stay within the model's pages.
static struct step_range range_of(unsigned op, const u8 *bytes)
{
	struct step_range r = { .slot = bytes[1] % MODEL_SLOTS, .a = bytes[2], .b = bytes[3] };
	unsigned shape = bytes[1] / MODEL_SLOTS % 4, left = model_slots_from(r.slot);
	u64 room = left * SLOT_SIZE;

	r.va = model_slot_va(r.slot);
	r.len = SLOT_SIZE;
	if (shape == STEP_SOME_PAGES) {			// some pages from a-th pair on
		r.va += (2 * r.a + (r.b >> 6 & 1)) * PAGE_SIZE;
		r.len = MIN((1u + r.b % 40) * PAGE_SIZE, room - (r.va - model_slot_va(r.slot)));
	} else if (shape == STEP_SOME_SLOTS) {		// some slots
		r.len = MIN(1u + r.b % 4, left) * SLOT_SIZE;
	} else if (shape == STEP_ODD && r.a < 0x20) {	// requests that must be refused
		r.va += r.a & 1 ? 8 : r.a & 2 ? USER_END : 0;
		r.len = r.a & 4 ? 0 : r.a & 8 ? 100 : ~0ull - PAGE_SIZE + 1;
	} else if (shape == STEP_ODD) {		// across holes: up to the end, or everything
		r.va = r.a & 1 ? 0 : r.va + 2 * r.a * PAGE_SIZE;
		r.len = maps(op) ? PAGE_SIZE : USER_END - r.va;
	}
	return r;
}

static void look_around(struct steps *st, const struct step_range *r)
{
	const vaddr_t at[] = { r->va - PAGE_SIZE, r->va, r->va + r->len / 2, r->va + r->len - PAGE_SIZE, r->va + r->len };

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		space_check_page(st->s, st->m, at[i]);
	for (unsigned i = 0; i < MODEL_PINS; i++)
		if (st->m->pin[i].page)
			space_check_pin(st->m, i);
}

// With walkers, a page may be found busy after the first of two cuts was made: copy from the space what is still
// collapsed.
static void learn_collapsed(struct steps *st)
{
	for (unsigned i = 0; i < MODEL_SLOTS; i++)
		if (st->m->collapsed[i])
			st->m->collapsed[i] = leaf_level(st->s, model_slot_va(i)) == 2;
}

bool steps_run_one(struct steps *st, const u8 *bytes, struct step_range *r)
{
	unsigned which = bytes[0] % STEP_OPS;
	const struct step_operation *op = &step_operations[which];
	bool done;

	*r = range_of(which, bytes);
	done = op->fn(st, r);
	if (which != STEP_FAIL)
		st->fail_nth = 0;
	st->done[which] += done;
	if (test_failed())
		log_error("by step %s at %#llx, %#llx bytes, arguments %#x, %#x", op->name, (unsigned long long)r->va,
			  (unsigned long long)r->len, r->a, r->b);
	return done;
}

void steps_run(struct steps *st, const u8 *bytes, size_t n)
{
	const u8 *end = bytes + ALIGN_DOWN(n, (size_t)STEP_BYTES);
	struct step_range r;

	while (bytes < end && !test_failed()) {
		const u8 *after = bytes + STEP_BYTES;

		st->next = after < end ? after : NULL;
		steps_run_one(st, bytes, &r);
		bytes = after == end || st->next ? after : after + STEP_BYTES;	// the next step may be done already
		if (st->walkers)
			learn_collapsed(st);
		space_check(st->s, st->m, st->walkers);
		look_around(st, &r);
		if (test_failed())
			log_error("after a step at %#llx, %#llx bytes, arguments %#x, %#x", (unsigned long long)r.va,
				  (unsigned long long)r.len, r.a, r.b);
	}
}

// space_check() has read every entry; walks and user accesses are tried only where something begins or ends.
void steps_end(struct steps *st)
{
	const struct model *m = st->m;

	for (unsigned i = 0; i < MODEL_PINS; i++)
		step_end_pin(st, i, i & 1);
	for (unsigned i = 0; i < MODEL_PAGES && !test_failed(); i += PT_ENTRIES / 2 - 1)
		space_check_page(st->s, m, model_va(i));
	for (unsigned i = 0; i < m->nr_mappings && !test_failed(); i++) {
		space_check_page(st->s, m, m->list[i].start);
		space_check_page(st->s, m, m->list[i].end - PAGE_SIZE);
	}
}
