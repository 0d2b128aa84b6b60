// SPDX-License-Identifier: MIT
// A policy that remembers what it is told of a flush: whom the back-end has proved.
#pragma once
#include "mm/policy/policy.h"

#if CHECK
// Nobody walks the spaces of this policy: its tables are freed at once.
extern const struct table_policy mm_told_policy;
extern struct mm_told {
	u32 times;		// `free` was called
	bool any;		// the last time `proved` was not NULL
	struct cpumask proved;	// … these
} mm_told;
#endif
