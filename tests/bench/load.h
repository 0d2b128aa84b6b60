// SPDX-License-Identifier: MIT
// Load beside a measurement: other CPUs that run in the space, or change it.
#pragma once
#include "kernel/thread.h"
#include "lab/bench.h"
#include "mm/space.h"

#define WALKED_AT 0x400000000000ull	// what other CPUs walk
#define ALONE 0x100000000000ull		// alone in its 512 GiB: unmapping it frees tables of three levels

// Threads on `n` CPUs other than the caller's until stopped. Each runs in the space (attached, busy, interrupts on), or
// walks WALKED_PAGES pages of it over and over, in one read side.
#define WALKED_PAGES 64u
struct companions {
	struct space *space;
	vaddr_t walked;		// 0: they only run there
	bool remote;		// they walk, and do not have the space loaded
	u32 stop, running;
	u32 walk;		// of the first one, counted at its begin and its end: odd while it is inside
	u32 seen;		// the walk that walkers_wait_inside() has found
	unsigned n;
	struct thread *threads[NR_CPUS];
};
bool companions_start(struct companions *c, struct space *s, unsigned n);	// returns when all run; false: no memory
bool walkers_start(struct companions *c, struct space *s, unsigned n, vaddr_t walked, bool remote);	// the same
// If they walk: spin until the first one is inside a walk, another one than when this last returned.
void walkers_wait_inside(struct companions *c);
void companions_stop(struct companions *c);

// One thread on another CPU that maps and unmaps single pages, tables included, in its own part of the space until
// stopped.
struct churner {
	struct space *space;
	vaddr_t base;
	u32 stop;
	u64 unmaps;
	struct thread *thread;
};
bool churner_start(struct churner *c, struct space *s, vaddr_t base, unsigned cpu);
void churner_stop(struct churner *c);

struct space *bench_space(const struct bench_case *c);	// a new one under the case's pair
extern const struct bench_case call_empty_case;	// bench/rcu.c; needs 2 CPUs
unsigned primitive_cases(struct bench_case *cases, unsigned max);	// bench/primitives.c; returns how many
unsigned other_cpu(unsigned k);		// the k-th CPU that is not the caller's
// Waits until all that the case's policy or back-end has deferred is done; for the end of each slice.
void bench_settle(const struct bench_case *c);
// Maps; when memory is short because deferred frees still wait, lets them run and tries again.
int map_patiently(struct space *s, vaddr_t va, u64 len, int level);
// The numbers of other CPUs to measure with: 0, 1, … all; thinned out on large machines. Returns how many.
unsigned others_list(unsigned *list, unsigned max);
