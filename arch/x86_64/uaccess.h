// SPDX-License-Identifier: MIT
// Instructions that may fault on user memory, and where each continues if they do.
#pragma once
#include "kernel/types.h"

struct extable_entry {
	u64 rip, fixup;
	u64 may_fault_in;	// otherwise the fixup is taken at once
};

const struct extable_entry *extable_find(u64 rip);	// NULL: no fault is expected there
