// SPDX-License-Identifier: MIT
// The building blocks: an empty cross-CPU call, an expedited grace period, a barrier. (Ordinary grace periods:
// grace.c.)
#include "kernel/log.h"
#include "kernel/rcu/rcu.h"
#include "kernel/xcall.h"
#include "lab/bench.h"
#include "tests/bench/load.h"

static void nothing(void *unused) { }

// The target is busy in a thread, as it is when an unmapper interrupts it.
static void slice_call(struct bench_case *c)
{
	u64 deadline;
	struct companions others;
	struct space *s = space_create();

	if (!s || !companions_start(&others, s, 1))
		return;
	deadline = now_ns() + BENCH_SLICE_NS;
	do {
		u64 t = cycles();

		xcall_one(other_cpu(0), nothing, NULL);
		bench_record(c, cycles() - t);
	} while (!bench_full(c) && now_ns() < deadline);
	companions_stop(&others);
	space_put(s);
}

// Measured in turn with bench=unmap_page, which is compared with it.
const struct bench_case call_empty_case = { .name = "call_empty", .slice = slice_call };

static void slice_expedited(struct bench_case *c)
{
	u64 deadline = now_ns() + BENCH_SLICE_NS;

	do {
		u64 t = cycles();

		synchronize_rcu_expedited();
		bench_record(c, cycles() - t);
	} while (!bench_full(c) && now_ns() < deadline);
}

static void done(struct rcu_head *unused) { }

// The barrier waits for one callback, and that for its grace period.
static void slice_barrier(struct bench_case *c)
{
	struct rcu_head head;
	u64 t;

	call_rcu(&head, done);
	t = cycles();
	rcu_barrier();
	bench_record(c, cycles() - t);
}

static void run_one(const char *name, u64 budget_ns, void (*slice)(struct bench_case *))
{
	struct bench_case c = { .name = name };

	if (!bench_case_init(&c))
		return;
	bench_interleave(&c, 1, budget_ns, slice);
	bench_report(&c);
}

BENCHMARK(expedited, 1) { run_one("expedited", budget_ns, slice_expedited); }
BENCHMARK(rcu_barrier, 1) { run_one("rcu_barrier", budget_ns, slice_barrier); }
