// SPDX-License-Identifier: MIT
// The value that more than half of a sequence's values have, in three words: Boyer and Moore's majority vote. Each
// value that differs from the leader takes a vote from it, so a majority leads in the end. That the leader is a
// majority is proved by counting how often it came since it began to lead; a majority of three quarters is always
// proved. No lock.
#pragma once
#include "kernel/types.h"

struct majority {
	u64 value;	// the leader
	u32 votes;	// for it less those against it
	u32 seen;	// how often it came since it began to lead: at most as often as it came in all
};

static inline void majority_add(struct majority *m, u64 value)
{
	if (value != m->value && m->votes) {
		m->votes--;
		return;
	}
	if (value != m->value)
		*m = (struct majority){ .value = value };
	m->votes++;
	m->seen++;
}

// Do more than half of the `n` values that were added equal m->value?
static inline bool majority_proved(const struct majority *m, u64 n) { return 2ull * m->seen > n; }
