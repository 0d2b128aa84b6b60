// SPDX-License-Identifier: MIT
// Steps of a random sequence, four bytes each, done to a space and to its model (model/model.h), and the checks after
// each. The in-kernel suite draws the bytes from its seed; the fuzzer invents them (tests/fuzz).
#pragma once
#include "tests/mm/model/model.h"

#define STEP_BYTES 4
#define STEP_STAMP 0x57a3ull		// upper bits of all that is ever written
enum step_op {			// the first byte, modulo STEP_OPS; the corpora of tests/fuzz depend on the order
	STEP_MAP, STEP_POPULATE, STEP_MAP_LARGE, STEP_MAP_GIANT, STEP_UNMAP, STEP_UNMAP_SYNC, STEP_PROTECT, STEP_DISCARD,
	STEP_MOVE, STEP_COLLAPSE, STEP_SPLIT, STEP_FAULT, STEP_WRITE, STEP_READ, STEP_TOUCH, STEP_PIN, STEP_PIN_RANGE,
	STEP_UNPIN, STEP_WRITE_PIN, STEP_SWITCH, STEP_FAIL, STEP_SLEEP, STEP_PRIME, STEP_DISCARD_AROUND,
	STEP_MAP_OVER, STEP_LOCK, STEP_FILL, STEP_REMAP, STEP_OPS,
};
// The second byte: a slot, and the shape of the range: all of the slot, some pages of it, some slots, something odd.
enum { STEP_SLOT, STEP_SOME_PAGES, STEP_SOME_SLOTS, STEP_ODD };
#define STEP_WHERE(slot, shape) ((u8)((shape) * MODEL_SLOTS + (slot)))

struct steps {
	struct space *s;	// the current thread runs in it
	struct model *m;
	bool walkers;		// others walk meanwhile: their transient references may lead to -EBUSY, and counts vary
	bool failures;		// allocations may fail on purpose
	bool giants;		// 1 GiB mappings; no frame of that size must be free
	u64 fail_nth;		// of the next operation's allocations that one fails; 0: none
	bool fail_on;		// and all that follow
	const u8 *next;		// the step that follows, until it has been done
	u64 stamps;
	u64 done[STEP_OPS];	// how often each operation had its effect
};
const char *steps_name(enum step_op op);
const struct table_policy *steps_policy(u8 which);	// one of all policies; below, one of the back-ends available
const struct flush_backend *steps_backend(u8 which);

void steps_run(struct steps *st, const u8 *bytes, size_t n);	// whole steps, until the test has failed
void steps_end(struct steps *st);				// end all pins; compare every page
// Run one step without the checks after it: used inside another step that has dropped the lock. True: it had its
// effect.
struct step_range;
bool steps_run_one(struct steps *st, const u8 *bytes, struct step_range *r);
