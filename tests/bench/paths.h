// SPDX-License-Identifier: MIT
// A hot path whose instructions are counted (docs/budgets.md). It registers itself where it is written.
#pragma once
#include "kernel/rcu/rcu.h"
#include "kernel/thread.h"
#include "tests/bench/load.h"

// Runs of a round: the first ones are not counted.
#define PATH_WARM 2u
#define PATH_COUNTED 4u

// What one path works on.
struct path_scene {
	struct bench_case pair;		// policy and back-end; NULL where none is concerned
	struct space *space;
	struct page *page;
	struct thread *partner;
	u32 partner_runs, stop;
	unsigned turn;			// of this round, from 0
	struct rcu_head heads[PATH_WARM + PATH_COUNTED];
};

struct path {
	const char *name;
	bool two_cpus;			// counted on two CPUs, both together; otherwise on one: the counter counts all
	bool per_policy;		// counted for each policy that is safe with the default back-end
	unsigned pages;
	bool alone;			// long: a round is one run; `before` warms up
	int (*run)(struct path_scene *sc);				// what is counted; 0, or what went wrong
	void (*begin)(struct path_scene *sc, const struct path *p);	// these may be NULL
	void (*before)(struct path_scene *sc);				// each run
	void (*after)(struct path_scene *sc);
	void (*settle)(struct path_scene *sc);				// does all that is deferred: between rounds
	void (*end)(struct path_scene *sc);
};
#define PATH(n, ...) \
	static const struct path path_##n = { .name = #n, __VA_ARGS__ }; \
	REGISTER(paths, path_##n)
