// SPDX-License-Identifier: MIT
// What unmapping and protecting cost: by policy, by flush back-end, by the number of other CPUs that run in the space.
#include "kernel/log.h"
#include "kernel/panic.h"
#include "lab/bench.h"
#include "tests/bench/load.h"

#define GAP (2 * PAGE_SIZE)		// between a range and its neighbours, so that their regions do not merge

static void unmap_until_over(struct bench_case *c, struct space *s, vaddr_t va, struct companions *others)
{
	u64 len = c->pages * PAGE_SIZE, deadline = now_ns() + BENCH_SLICE_NS;

	do {
		if (map_patiently(s, va, len, 1))
			break;
		walkers_wait_inside(others);
		u64 t = cycles();

		space_unmap(s, va, len);
		bench_record(c, cycles() - t);
	} while (!bench_full(c) && now_ns() < deadline);
}

static void slice_unmap(struct bench_case *c)
{
	struct space *s = bench_space(c);
	struct companions others;

	space_attach(s);
	if (companions_start(&others, s, c->others)) {
		bench_count_from_here(c);
		unmap_until_over(c, s, ALONE, &others);
		bench_settle(c);
		bench_count_to_here(c);		// without the end of the space, which interrupts all that have it loaded
		companions_stop(&others);
	}
	space_detach();
	space_put(s);
	bench_settle(c);
}

// All other CPUs walk the space meanwhile, and one is inside a walk when an unmap begins. Its counters are what it is
// for: which walkers were waited for, and for how many of them the flush had done so already. A flush goes to those that
// have the space loaded.
static void slice_unmap_walked(struct bench_case *c)
{
	struct space *s = bench_space(c);
	struct companions walkers;

	space_attach(s);
	if (!map_patiently(s, WALKED_AT, WALKED_PAGES * PAGE_SIZE, 1) && walkers_start(&walkers, s, c->walkers, WALKED_AT, c->remote)) {
		bench_count_from_here(c);
		unmap_until_over(c, s, ALONE, &walkers);
		bench_settle(c);
		bench_count_to_here(c);
		companions_stop(&walkers);
	}
	space_detach();
	space_put(s);
	bench_settle(c);
}

// A mapped neighbour on either side keeps the tables. A range as long as a table lies in two, and each has a neighbour.
static void slice_unmap_kept(struct bench_case *c)
{
	struct space *s = bench_space(c);
	struct companions others;

	space_attach(s);
	if (!map_patiently(s, ALONE, PAGE_SIZE, 1) &&
	    !map_patiently(s, ALONE + 2 * GAP + c->pages * PAGE_SIZE, PAGE_SIZE, 1) &&
	    companions_start(&others, s, c->others)) {
		bench_count_from_here(c);
		unmap_until_over(c, s, ALONE + GAP, &others);
		bench_settle(c);
		bench_count_to_here(c);		// without the neighbours' tables
		companions_stop(&others);
	}
	space_detach();
	space_put(s);
	bench_settle(c);
}

static void slice_protect(struct bench_case *c)
{
	struct space *s = bench_space(c);
	struct companions others;
	unsigned prot = PROT_R;
	u64 deadline;

	space_attach(s);
	if (!map_patiently(s, ALONE, PAGE_SIZE, 1) && companions_start(&others, s, c->others)) {
		deadline = now_ns() + BENCH_SLICE_NS;
		do {
			u64 t = cycles();

			space_protect(s, ALONE, PAGE_SIZE, prot);
			bench_record(c, cycles() - t);
			prot ^= PROT_W;
		} while (!bench_full(c) && now_ns() < deadline);
		companions_stop(&others);
	}
	space_detach();
	space_put(s);
	bench_settle(c);
}

static void run_alone_and_all(const struct bench_case *bases, unsigned nr_bases, enum bench_axes axes, u64 budget_ns)
{
	unsigned others[] = { 0, nr_cpus - 1 };

	bench_run_matrix(bases, nr_bases, axes, others, nr_cpus > 1 ? 2 : 1, budget_ns);
}

BENCHMARK(unmap_page, 6)
{
	static const struct bench_case base = { .name = "unmap_page", .pages = 1, .slice = slice_unmap };
	unsigned others[16];

	bench_run_matrix_beside(nr_cpus > 1 ? &call_empty_case : NULL, &base, 1, BENCH_PAIRS, others,
				others_list(others, ARRAY_SIZE(others)), budget_ns);
}

BENCHMARK(unmap_8, 1)
{
	static const struct bench_case base = { .name = "unmap_8", .pages = 8, .slice = slice_unmap };

	run_alone_and_all(&base, 1, BENCH_CROSS, budget_ns);
}

BENCHMARK(unmap_64, 1)
{
	static const struct bench_case base = { .name = "unmap_64", .pages = 64, .slice = slice_unmap };

	run_alone_and_all(&base, 1, BENCH_CROSS, budget_ns);
}

BENCHMARK(unmap_walked, 2)
{
	static const unsigned nobody[] = { 0 };
	const struct bench_case bases[] = {
		{ .name = "unmap_walked", .pages = 1, .walkers = nr_cpus - 1, .slice = slice_unmap_walked },
		{ .name = "unmap_walked", .pages = 1, .walkers = nr_cpus - 1, .remote = true, .slice = slice_unmap_walked },
	};

	if (nr_cpus > 1)
		bench_run_matrix(bases, ARRAY_SIZE(bases), BENCH_PAIRS, nobody, 1, budget_ns);
	else
		log_info("unmap_walked needs 2 CPUs");
}

BENCHMARK(unmap_512, 3)
{
	static const struct bench_case base = { .name = "unmap_512", .pages = 512, .slice = slice_unmap };

	run_alone_and_all(&base, 1, BENCH_PAIRS, budget_ns);
}

BENCHMARK(unmap_kept, 3)
{
	static const struct bench_case bases[] = {
		{ .name = "unmap_kept", .pages = 1, .slice = slice_unmap_kept },
		{ .name = "unmap_kept", .pages = 8, .slice = slice_unmap_kept },
		{ .name = "unmap_kept", .pages = 64, .slice = slice_unmap_kept },
		{ .name = "unmap_kept", .pages = 512, .slice = slice_unmap_kept },
	};

	run_alone_and_all(bases, ARRAY_SIZE(bases), BENCH_CROSS, budget_ns);
}

BENCHMARK(protect_page, 2)
{
	static const struct bench_case base = { .name = "protect_page", .pages = 1, .slice = slice_protect };

	run_alone_and_all(&base, 1, BENCH_PAIRS, budget_ns);
}
