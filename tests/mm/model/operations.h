// SPDX-License-Identifier: MIT
// Does each step's operation to the space and to its model, and checks that both return the same.
#pragma once
#include "tests/mm/model/steps.h"

struct step_range {
	vaddr_t va;
	u64 len;
	unsigned slot;
	u8 a, b;		// the step's last bytes
};
typedef bool step_fn(struct steps *st, const struct step_range *r);	// true: the operation had its effect

struct step_operation {
	const char *name;
	step_fn *fn;
};
extern const struct step_operation step_operations[STEP_OPS];
void step_end_pin(struct steps *st, unsigned pin, bool dirty);	// if there is one
