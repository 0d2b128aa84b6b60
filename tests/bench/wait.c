// SPDX-License-Identifier: MIT
// What a table costs that is reused without being freed, as a collapse does: the policy's `wait`, by itself. The copy of
// 2 MiB around it would hide it. By policy: while nobody walks, while all other CPUs walk this very space (and one is
// inside a walk when the wait begins), and while one of them is preempted, inside a walk of it or outside.
#include "kernel/lib.h"
#include "kernel/log.h"
#include "lab/bench.h"
#include "lab/thief.h"
#include "mm/frame/slab.h"
#include "tests/bench/load.h"
#include "tests/bench/victim.h"

#define STOLEN_US 10000u
#define THEFTS 5		// in a slice

// A wait for a grace period may end at a tick. A random pause of up to a tick makes the next one independent of that.
static void pause_after(u64 ns)
{
	static u64 seed = 1;
	u64 until = now_ns() + (ns > tick_ns() / 8 ? rand_next(&seed) % tick_ns() : 0);

	while (now_ns() < until)
		cpu_relax();
}

static void slice_wait(struct bench_case *c)
{
	u64 deadline = now_ns() + BENCH_SLICE_NS;
	struct space *s = bench_space(c);
	struct companions walkers;

	space_attach(s);
	if (!map_patiently(s, WALKED_AT, WALKED_PAGES * PAGE_SIZE, 1) && walkers_start(&walkers, s, c->walkers, WALKED_AT, false)) {
		bench_count_from_here(c);
		do {
			u64 t;

			walkers_wait_inside(&walkers);
			t = cycles();
			policy_wait(c->policy, s);
			t = cycles() - t;
			bench_record(c, t);
			pause_after(arch_cycles_to_ns(t));
		} while (!bench_full(c) && now_ns() < deadline);
		bench_count_to_here(c);
		companions_stop(&walkers);
	}
	space_detach();
	space_put(s);
	bench_settle(c);
}

BENCHMARK(table_wait, 2)
{
	static const unsigned nobody[] = { 0 };
	const struct bench_case bases[] = {
		{ .name = "table_wait", .pages = 1, .slice = slice_wait },
		{ .name = "table_wait", .pages = 1, .walkers = nr_cpus - 1, .slice = slice_wait },
	};

	bench_run_matrix(bases, nr_cpus > 1 ? 2 : 1, BENCH_POLICIES, nobody, 1, budget_ns);
}

// From the begin of a preemption's last `stolen_us` on.
static void slice_wait_stolen(struct bench_case *c)
{
	struct space *s = bench_space(c);
	struct victim v;

	victim_start(&v, s, c->walkers ? VICTIM_WALKS : VICTIM_RUNS);
	for (int i = 0; i < THEFTS && !bench_full(c); i++) {
		u64 start;

		WRITE_ONCE(v.asked, 1);
		thief_wait_robbed(v.cpu);
		start = now_ns();
		thief_release_in(v.cpu, c->stolen_us * 1000ull);
		policy_wait(c->policy, s);
		bench_record_raw(c, now_ns() - start);
		thief_wait_back(v.cpu);
	}
	victim_stop(&v);
	space_put(s);
	bench_settle(c);
}

BENCHMARK(wait_stolen, 2)
{
	static const unsigned one[] = { 1 };
	static const struct bench_case bases[] = {
		{ .name = "wait_stolen", .unit = "ns", .pages = 1, .stolen_us = STOLEN_US, .slice = slice_wait_stolen },
		{ .name = "wait_stolen", .unit = "ns", .pages = 1, .stolen_us = STOLEN_US, .walkers = 1, .slice = slice_wait_stolen },
	};

	if (nr_cpus > 1 && thief_works())
		bench_run_matrix(bases, ARRAY_SIZE(bases), BENCH_POLICIES, one, 1, budget_ns);
	else
		log_info("wait_stolen needs 2 CPUs and steal=thief");
}
