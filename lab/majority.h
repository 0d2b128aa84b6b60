// SPDX-License-Identifier: MIT
// The value that more than half of a sequence's have, exactly, in three words: Boyer and Moore's vote. Each value that
// differs from the leader takes a vote from it, so only a majority is sure to lead in the end. Whether the leader is one
// is proved by counting how often it came since it began to lead: more than three quarters are always proved. No lock.
#pragma once
#include "kernel/types.h"

struct majority {
	u64 value;	// the leader
	u32 votes;	// for it less those against it
	u32 seen;	// how often it came since it began to lead: never more than it is there
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

// Of `n` values that were added: is m->value that of more than half?
static inline bool majority_proved(const struct majority *m, u64 n) { return 2ull * m->seen > n; }
