// SPDX-License-Identifier: MIT
// A scene: a walk is held in a gap between two of its steps while its tables are unmapped.
#pragma once
#include "tests/mm/walk/hold.h"

#if CHECK
struct gap {
	const char *policy;
	struct stall_point *point;	// where the walk is held
	int level;			// of the entry that it has read there
	bool no_memory;			// the unmapper can allocate nothing
	void (*nested)(struct gap *);	// a walk in the middle of the held walk
	void (*after)(struct gap *);	// the walk has ended, nothing has been drained
	struct walk_job job;
	struct page *table[PT_LEVELS];	// by level - 1
	u32 there, returned;
	u64 awaited;
};
// A walker on another CPU, which runs in no space, is held while one page and its tables are unmapped. Returns how many
// violations the oracle reported.
u64 gap_play(struct gap *gap, void (*hold)(struct stall_point *, void *));
// What holds the walker: until the unmapper waits for it, if its policy does that, or has returned. If it has returned
// too early, the oracle reports it.
void gap_until_awaited(struct stall_point *p, void *gap);
void gap_until_back(struct stall_point *p, void *gap);		// the same for a mutant, which does not wait
#endif
