// SPDX-License-Identifier: MIT
// What a lockless walk costs: beside four dependent loads, alone, against an unmapper, and of a space that is not
// loaded here.
#include "kernel/bench.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "mm/slab.h"
#include "mm/walk.h"
#include "tests/bench_load.h"

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

static void slice_walk(struct bench_case *c)
{
	struct space *s = space_create_with(c->policy, c->flush);
	struct page *pins[BATCH];
	struct churner churner;
	unsigned got;
	u64 deadline;

	BUG_ON(!s);
	if (!c->remote)
		space_attach(s);
	if (map_patiently(s, STABLE, PAGE_SIZE, 1) || (c->walkers && !churner_start(&churner, s, CHURN, other_cpu(0))))
		panic("no memory for a benchmark");
	deadline = now_ns() + BENCH_SLICE_NS;
	do {
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
	} while (!bench_full(c) && now_ns() < deadline);
	if (c->walkers)
		churner_stop(&churner);
	if (!c->remote)
		space_detach();
	space_put(s);
	bench_settle(c);
}

#define MAX_CASES 32

static void run_walks(const struct bench_case *bases, unsigned nr_bases, bool parts, u64 budget_ns)
{
	struct bench_case *cases = kzalloc(MAX_CASES * sizeof(*cases));
	unsigned n = 0;

	if (!cases) {
		log_error("%s: no memory for its cases", bases->name);
		return;
	}
	if (parts) {
		cases[0] = (struct bench_case){ .name = "loads4", .pages = 1, .slice = slice_loads4 };
		n += bench_case_init(&cases[0]);
		n += primitive_cases(cases + n, MAX_CASES - n);
	}
	for (unsigned i = 0; i < nr_bases; i++)
		n += bench_add_policies(cases + n, MAX_CASES - n, &bases[i]);
	bench_interleave(cases, n, budget_ns, slice_walk);
	for (unsigned i = 0; i < n; i++)
		bench_report(&cases[i]);
	kfree(cases);
}

BENCHMARK(walk, 3)
{
	static const struct bench_case bases[] = {
		{ .name = "walk", .pages = 1 },
		{ .name = "walk_remote", .pages = 1, .remote = true },
	};

	run_walks(bases, ARRAY_SIZE(bases), true, budget_ns);
}

BENCHMARK(walk_contended, 2)
{
	static const struct bench_case base = { .name = "walk_contended", .pages = 1, .walkers = 1 };

	if (nr_cpus > 1)
		run_walks(&base, 1, false, budget_ns);
	else
		log_info("walk_contended needs 2 CPUs");
}
