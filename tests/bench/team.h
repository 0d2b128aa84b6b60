// SPDX-License-Identifier: MIT
// Several CPUs, this one among them, that do the same thing, or different things, for the same time.
#pragma once
#include "kernel/thread.h"
#include "lab/bench.h"
#include "mm/space.h"

struct team_member {
	u64 ops;		// what `work` has returned
	struct thread *thread;	// NULL: the caller
} __cacheline;

struct team {
	u64 deadline __cacheline;	// now_ns(); 0: not yet known
	unsigned n;			// members; number 0 is the caller, on its own CPU
	u64 (*work)(struct team *t, unsigned me);	// until team_over(); returns the number of its operations
	struct bench_case *c;
	struct space **spaces;		// by member, which attaches to it before the start
	u32 ready __cacheline, done;
	struct team_member member[NR_CPUS];
};
static inline bool team_over(const struct team *t) { return now_ns() >= READ_ONCE(t->deadline); }

// All members start together and work for so long. Returns when they are done; team_join() must follow. 0: no memory
// for the threads; otherwise now_ns() at the start.
u64 team_run(struct team *t, u64 ns);
void team_join(struct team *t);
u64 team_ops(const struct team *t, unsigned first, unsigned end);	// of members first … end-1 together
