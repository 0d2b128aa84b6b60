// SPDX-License-Identifier: MIT
// Is a policy with a back-end safe? It is computed from what the two say of themselves; and what the command line may
// choose.
#pragma once
#include "mm/flush/flush.h"
#include "mm/policy/policy.h"

struct verdict {
	bool safe;
	const char *reason;
};
struct verdict pair_verdict(const struct table_policy *p, const struct flush_backend *b);

bool pair_named(void);			// did the command line choose one of the two?
bool allow_unsafe(void);
// After the command line was read: is the chosen pair allowed? Prints why not.
bool pair_check_options(void);
void pairs_print_all(void);		// the safe pairs in one line, each unsafe one with its reason; klog
