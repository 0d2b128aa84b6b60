// SPDX-License-Identifier: MIT
// What a lockless walk costs: alone, against unmappers, and in a space that is not loaded here; with four dependent
// loads for comparison.
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "lab/bench.h"
#include "mm/frame/slab.h"
#include "mm/walk.h"
#include "tests/bench/load.h"

#define STABLE 0x200000000000ull	// what is walked
#define CHURN 0x200000200000ull		// what the unmapper maps and unmaps: the next L1 table under the same L2 table
#define BATCH 32

static __noinline u64 *loads4(u64 *p)
{
	for (int i = 0; i < 4; i++)
		p = (u64 *)READ_ONCE(*p);
	return p;
}

// A ring of four words in four frames, as the entries of a walk lie in four tables.
static void slice_loads4(struct bench_case *c)
{
	u64 deadline = now_ns() + BENCH_SLICE_NS;
	struct page *frame[4];
	u64 *word[4];

	for (int i = 0; i < 4; i++) {
		frame[i] = page_alloc(0, PAGE_KERNEL, 0);
		BUG_ON(!frame[i]);
		word[i] = (u64 *)page_to_virt(frame[i]) + 64 * (i + 1);
	}
	for (int i = 0; i < 4; i++)
		WRITE_ONCE(*word[i], (u64)word[(i + 1) % 4]);
	do {
		u64 t = cycles();

		for (int i = 0; i < BATCH; i++)
			word[0] = loads4(word[0]);
		bench_record_batch(c, cycles() - t, BATCH);
	} while (!bench_full(c) && now_ns() < deadline);
	for (int i = 0; i < 4; i++)
		page_put(frame[i]);
}

// `n` unmappers on as many other CPUs, each in a table of its own.
static struct churner *churners_start(struct space *s, unsigned n)
{
	struct churner *churners = kzalloc(MAX(n, 1u) * sizeof(*churners));

	BUG_ON(!churners);
	for (unsigned i = 0; i < n; i++)
		BUG_ON(!churner_start(&churners[i], s, CHURN + i * level_size(2), other_cpu(i)));
	return churners;
}

static void churners_stop(struct churner *churners, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		churner_stop(&churners[i]);
	kfree(churners);
}

// Walks of one page, BATCH timed together, without their puts.
static void walk_singly(struct bench_case *c, struct space *s)
{
	struct page *pins[BATCH];
	unsigned got;
	u64 t = cycles();

	for (got = 0; got < BATCH; got++)
		if (walk_pin(s, STABLE, true, &pins[got]))
			break;
	t = cycles() - t;
	if (!WARN_ON(got != BATCH))
		bench_record_batch(c, t, BATCH);
	c->busy_ns += arch_cycles_to_ns(t);
	while (got)
		page_unpin(pins[--got], false);
}

// One walk of many pages, in one read side.
static void walk_many(struct bench_case *c, struct space *s)
{
	static struct page *pins[PT_ENTRIES];
	u64 t = cycles();
	unsigned got = walk_pin_fast(s, STABLE, c->pages, true, pins);

	t = cycles() - t;
	if (!WARN_ON(got != c->pages))
		bench_record(c, t);
	c->busy_ns += arch_cycles_to_ns(t);
	while (got)
		page_unpin(pins[--got], false);
}

static void slice_walk(struct bench_case *c)
{
	struct space *s = bench_space(c);
	struct churner *churners;
	u64 deadline;

	if (!c->remote)
		space_attach(s);
	if (map_patiently(s, STABLE, c->pages * PAGE_SIZE, 1))
		panic("no memory for a benchmark");
	churners = churners_start(s, c->walkers);
	deadline = now_ns() + BENCH_SLICE_NS;
	do {
		if (c->pages == 1)
			walk_singly(c, s);
		else
			walk_many(c, s);
	} while (!bench_full(c) && now_ns() < deadline);
	churners_stop(churners, c->walkers);
	if (!c->remote)
		space_detach();
	space_put(s);
	bench_settle(c);
}

#define MAX_CASES 32

// They take turns with the loads and the primitives.
static void run_walk_and_parts(const struct bench_case *bases, unsigned nr_bases, u64 budget_ns)
{
	struct bench_case *cases = kzalloc(MAX_CASES * sizeof(*cases));
	unsigned n = 0;

	if (!cases) {
		log_error("%s: no memory for its cases", bases->name);
		return;
	}
	cases[0] = (struct bench_case){ .name = "loads4", .pages = 1, .slice = slice_loads4 };
	n += bench_case_init(&cases[0]);
	n += primitive_cases(cases + n, MAX_CASES - n);
	for (unsigned i = 0; i < nr_bases; i++)
		n += bench_add_policies(cases + n, MAX_CASES - n, &bases[i]);
	bench_interleave(cases, n, budget_ns, slice_walk);
	for (unsigned i = 0; i < n; i++)
		bench_report(&cases[i]);
	kfree(cases);
}

static void run_policies(const struct bench_case *bases, unsigned nr_bases, u64 budget_ns)
{
	static const unsigned nobody[] = { 0 };

	bench_run_matrix(bases, nr_bases, BENCH_POLICIES, nobody, 1, budget_ns);
}

BENCHMARK(walk, 3)
{
	static const struct bench_case bases[] = {
		{ .name = "walk", .pages = 1 },
		{ .name = "walk_remote", .pages = 1, .remote = true },
	};

	run_walk_and_parts(bases, ARRAY_SIZE(bases), budget_ns);
}

#define MOST_UNMAPPERS 7u	// more of them on fewer cores hold each other up for minutes

BENCHMARK(walk_contended, 3)
{
	const struct bench_case bases[] = {
		{ .name = "walk_contended", .pages = 1, .walkers = 1, .slice = slice_walk },
		{ .name = "walk_contended", .pages = 1, .walkers = MIN(nr_cpus - 1, MOST_UNMAPPERS), .slice = slice_walk },
	};

	if (nr_cpus > 1)
		run_policies(bases, nr_cpus > 2 ? 2 : 1, budget_ns);
	else
		log_info("walk_contended needs 2 CPUs");
}

BENCHMARK(walk_16, 1)
{
	static const struct bench_case base = { .name = "walk_16", .pages = 16, .slice = slice_walk };

	run_policies(&base, 1, budget_ns);
}

BENCHMARK(walk_512, 1)
{
	static const struct bench_case base = { .name = "walk_512", .pages = 512, .slice = slice_walk };

	run_policies(&base, 1, budget_ns);
}
