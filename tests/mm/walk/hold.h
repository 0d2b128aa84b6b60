// SPDX-License-Identifier: MIT
// A walk on another CPU, to be held at a stall point; and one that is held before it reads a table (walk/hold.c).
#pragma once
#include "lab/stall.h"
#include "mm/space.h"

#if CHECK

struct walk_job {
	struct space *s;
	vaddr_t va;
	bool write;
	bool local;		// the walker runs in the space
	bool one;		// by walk_pin(), whose code differs from a range's, with the slow path if it fails
	unsigned got;
	struct page *page;
};
int walk_once(void *job);	// a thread's function
// They grow when an unmapper begins to wait: by its policy's own means (a sync IPI, a grace period, polling);
// walk_awaited() also when it waits for the flush.
u64 policy_waits(void);
u64 walk_awaited(void);

struct held_walk {
	struct walk_job job;
	struct page *table;	// the walker is about to read it
	u32 there;		// the walker is held
	u32 returned;		// the unmapper has returned
	u32 too_early;		// how often the held walker saw a state that must not come yet
};
// Hold a walk under that policy at the entry of `level`; unmap; let the walk end. `action` is what the walker does
// while it is held; keep_upper: only the L1 table is freed. Not for hazard pointers, which hold a table only once it is
// named (walk/gap.h). EXPECTs what each policy must do with its tables; the caller checks what the oracle reports.
void hold_walk(struct held_walk *h, const char *policy, bool local, int level, bool keep_upper,
	       void (*action)(struct stall_point *, void *));
void hold_up_the_unmap(struct stall_point *p, void *held);	// the unmap must wait for this walk
void hold_up_the_free(struct stall_point *p, void *held);	// the unmap returns, and the table must wait for this walk
void hold_up_nobody(struct stall_point *p, void *held);		// nobody waits for this walk
#endif
