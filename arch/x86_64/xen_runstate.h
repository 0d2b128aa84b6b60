// SPDX-License-Identifier: MIT
// A run-state area as Xen writes it (xen/include/public/vcpu.h).
#pragma once
#include "kernel/types.h"

enum { RUNSTATE_RUNNING = 0, RUNSTATE_RUNNABLE = 1, RUNSTATE_BLOCKED = 2, RUNSTATE_OFFLINE = 3, NR_RUNSTATES };
#define RUNSTATE_BEING_WRITTEN (1ull << 63)	// in `since`

struct runstate {
	u32 state, pad;
	u64 since;		// when it entered that state, ns
	u64 ns[NR_RUNSTATES];	// in each state so far
} __aligned(64);		// of a page, so it crosses none
_Static_assert(sizeof(struct runstate) == 64 && _Alignof(struct runstate) == 64, "48 bytes are Xen's");

bool runstate_preempted(const struct runstate *r);	// a hint: it may be out of date at once
u64 runstate_stolen_ns(const struct runstate *r);	// waits while Xen writes
