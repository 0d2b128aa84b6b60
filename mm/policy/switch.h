// SPDX-License-Identifier: MIT
// Switching table-free policy and flush back-end while the system runs (DESIGN 8). The protocol and its argument stand
// in switch.c and docs/switching.md.
#pragma once
#include "mm/policy/verdict.h"

struct space;

// On return s is walked, freed and flushed under the new pair, and nothing that was deferred under the old one is left.
// Walkers and unmappers go on meanwhile. May sleep (grace periods); the caller holds a count; one switch runs at a
// time. Not with the space's lock held. -ENODEV: the back-end is not available here. -EPERM: the pair, or a state on
// the way from a safe pair, is unsafe, and allow_unsafe=1 was not given; nothing has changed then.
int space_switch_pair(struct space *s, const struct table_policy *p, const struct flush_backend *b);
// The same for every space that has a user, in the same few grace periods, and for all that are created later.
int policy_switch_all(const struct table_policy *p, const struct flush_backend *b);
// policy_switch_all() to a safe pair, chosen by *seed among those that are available. For torture.
int policy_switch_random(u64 *seed);

// The states that a switch passes through, for the computation of their safety.
enum { WALKS_OLD = 1, WALKS_UNION = 2, WALKS_NEW = 4 };	// the disciplines that walkers may be following
enum { FREES_OLD = 1, FREES_NEW = 2 };				// under which tables may be on their way to FREE
struct switch_state {
	const char *name;
	u8 walks, frees;
};
struct policy_pair {
	const struct table_policy *policy;
	const struct flush_backend *backend;
};
struct verdict switch_state_verdict(const struct switch_state *st, const struct policy_pair *old,
				    const struct policy_pair *new);
#define NR_SWITCH_STATES 5
extern const struct switch_state switch_states[NR_SWITCH_STATES];
