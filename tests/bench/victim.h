// SPDX-License-Identifier: MIT
// A CPU that walks a space, or only runs in it, until the thief (lab/thief.h) preempts it where a benchmark asks for it:
// in the middle of a walk, when it has read the L2 entry and not yet the L1 table that the entry names, or outside any
// walk.
#pragma once
#include "kernel/thread.h"
#include "mm/space.h"

enum victim_place { VICTIM_RUNS, VICTIM_WALKS };
struct victim {
	struct space *space;
	unsigned cpu;
	enum victim_place place;
	u32 stop, runs;
	u32 asked;		// be preempted now, until thief_release()
	struct thread *thread;
};
// On the first CPU that is not the caller's, which maps the page that is walked; returns when it runs. Panics without
// memory.
void victim_start(struct victim *v, struct space *s, enum victim_place place);
void victim_stop(struct victim *v);
