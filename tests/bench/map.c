// SPDX-License-Identifier: MIT
// What the other changes of a space cost: mapping, collapse into a large page, the end of the space; and map, touch,
// unmap in a loop, with all the work that is deferred.
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "lab/bench.h"
#include "mm/table.h"
#include "tests/bench/load.h"
#include <arch/uaccess.h>

#define LARGE (512 * PAGE_SIZE)
#define EXIT_PAGES 64u			// mapped in a space that ends

static const unsigned nobody[] = { 0 };

// Memory is short only because deferred frees still wait: such an operation is no sample.
static bool made_room(int err)
{
	if (err != -ENOMEM)
		return false;
	rcu_barrier();
	return true;
}

static void slice_map(struct bench_case *c)
{
	u64 deadline = now_ns() + BENCH_SLICE_NS;
	struct space *s = bench_space(c);
	int err;

	space_attach(s);
	do {
		u64 t = cycles();

		err = space_map(s, ALONE, PAGE_SIZE, PROT_R | PROT_W, 1, MAP_POPULATE);
		t = cycles() - t;
		if (!err) {
			bench_record(c, t);
			space_unmap(s, ALONE, PAGE_SIZE);
		}
	} while ((!err || made_room(err)) && !bench_full(c) && now_ns() < deadline);
	space_detach();
	space_put(s);
	bench_settle(c);
}

BENCHMARK(map_page, 1)
{
	static const struct bench_case base = { .name = "map_page", .pages = 1, .slice = slice_map };

	bench_run_matrix(&base, 1, BENCH_POLICIES, nobody, 1, budget_ns);
}

static void slice_collapse(struct bench_case *c)
{
	struct space *s = bench_space(c);
	struct companions others;
	u64 deadline;
	int err;

	space_attach(s);
	if (companions_start(&others, s, c->others)) {
		deadline = now_ns() + BENCH_SLICE_NS;
		do {
			if (map_patiently(s, ALONE, LARGE, 1))
				break;
			u64 t = cycles();

			err = space_collapse(s, ALONE);
			t = cycles() - t;
			if (!err)
				bench_record(c, t);
			space_unmap(s, ALONE, LARGE);
		} while ((!err || made_room(err)) && !bench_full(c) && now_ns() < deadline);
		companions_stop(&others);
	}
	space_detach();
	space_put(s);
	bench_settle(c);
}

BENCHMARK(collapse, 2)
{
	static const struct bench_case base = { .name = "collapse", .pages = 512, .slice = slice_collapse };
	unsigned others[] = { 0, nr_cpus - 1 };

	bench_run_matrix(&base, 1, BENCH_CROSS, others, nr_cpus > 1 ? 2 : 1, budget_ns);
}

// The last reference to a space is dropped while this CPU still has it loaded.
static void slice_exit(struct bench_case *c)
{
	u64 deadline = now_ns() + BENCH_SLICE_NS;
	int err;

	do {
		struct space *s = bench_space(c);
		u64 t;

		space_attach(s);
		err = map_patiently(s, ALONE, c->pages * PAGE_SIZE, 1);
		space_detach();
		t = cycles();
		space_put(s);
		t = cycles() - t;
		if (!err)
			bench_record(c, t);
	} while (!err && !bench_full(c) && now_ns() < deadline);
	bench_settle(c);
}

BENCHMARK(space_exit, 1)
{
	static const struct bench_case base = { .name = "space_exit", .pages = EXIT_PAGES, .slice = slice_exit };

	bench_run_matrix(&base, 1, BENCH_CROSS, nobody, 1, budget_ns);
}

#define SUSTAINED_SLICE_NS (100 * NSEC_PER_MSEC)

// The sustained rate of map, touch, unmap: the slice's time includes the wait for all that was deferred.
static void slice_sustained(struct bench_case *c)
{
	struct space *s = bench_space(c);
	u64 start;

	space_attach(s);
	start = now_ns();
	do {
		u64 t = cycles();

		if (space_map(s, ALONE, PAGE_SIZE, PROT_R | PROT_W, 1, 0))
			break;
		// Out of memory: what waits must be freed first, and that time counts against the policy.
		if (arch_user_write64(ALONE, 1)) {
			rcu_barrier();
			space_unmap(s, ALONE, PAGE_SIZE);
			continue;
		}
		space_unmap(s, ALONE, PAGE_SIZE);
		bench_record(c, cycles() - t);
	} while (now_ns() - start < SUSTAINED_SLICE_NS);
	bench_settle(c);
	c->busy_ns += now_ns() - start;
	space_detach();
	space_put(s);
}

BENCHMARK(map_touch_unmap, 9)
{
	static const struct bench_case base = { .name = "map_touch_unmap", .pages = 1, .slice = slice_sustained };

	bench_run_matrix(&base, 1, BENCH_PAIRS, nobody, 1, budget_ns);
}

// The largest number of table pages that waited to be freed, in each of several stretches in which one CPU unmaps as
// fast as it can. There are enough stretches for a median even of a pair that has only one slice.
#define HELD_STRETCHES 5
static u64 most_waiting(struct bench_case *c, struct space *s, u64 ns)
{
	u64 most = 0, deadline = now_ns() + ns;

	do {
		if (map_patiently(s, ALONE, PAGE_SIZE, 1))
			break;
		space_unmap(s, ALONE, PAGE_SIZE);
		most = MAX(most, tables_waiting());
		c->ops++;
	} while (now_ns() < deadline);
	return most;
}

static void slice_held(struct bench_case *c)
{
	struct space *s = bench_space(c);

	space_attach(s);
	for (int i = 0; i < HELD_STRETCHES; i++)
		bench_record_raw(c, most_waiting(c, s, SUSTAINED_SLICE_NS / HELD_STRETCHES));
	space_detach();
	space_put(s);
	bench_settle(c);
}

BENCHMARK(pages_held, 3)
{
	static const struct bench_case base = { .name = "pages_held", .pages = 1, .unit = "pages", .slice = slice_held };

	bench_run_matrix(&base, 1, BENCH_PAIRS, nobody, 1, budget_ns);
}
