// SPDX-License-Identifier: MIT
// What unmapping costs: by policy, by flush back-end, by the number of other CPUs that run in the space.
#include "kernel/bench.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/rcu.h"
#include "mm/slab.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "kernel/xcall.h"
#include "tests/bench_load.h"

#define BASE 0x100000000000ull		// alone in its 512 GiB: unmapping it frees tables of three levels

static struct space *bench_space(const struct bench_case *c)
{
	struct space *s = space_create_with(c->policy, c->flush);

	BUG_ON(!s);
	return s;
}

static void slice_unmap(struct bench_case *c)
{
	struct space *s = bench_space(c);
	u64 len = c->pages * PAGE_SIZE, deadline;
	struct companions others;

	space_attach(s);
	if (companions_start(&others, s, c->others)) {
		deadline = now_ns() + BENCH_SLICE_NS;
		do {
			if (map_patiently(s, BASE, len, 1))
				break;
			u64 t = cycles();

			space_unmap(s, BASE, len);
			bench_record(c, cycles() - t);
		} while (!bench_full(c) && now_ns() < deadline);
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
	if (!map_patiently(s, BASE, PAGE_SIZE, 1) && companions_start(&others, s, c->others)) {
		deadline = now_ns() + BENCH_SLICE_NS;
		do {
			u64 t = cycles();

			space_protect(s, BASE, PAGE_SIZE, prot);
			bench_record(c, cycles() - t);
			prot ^= PROT_W;
		} while (!bench_full(c) && now_ns() < deadline);
		companions_stop(&others);
	}
	space_detach();
	space_put(s);
	bench_settle(c);
}

// All pairs × the numbers of others, interleaved; then the lines.
static void run_matrix(const struct bench_case *base, const unsigned *others, unsigned n_others, u64 budget_ns)
{
	unsigned max = n_others * bench_pairs(), n = 0;
	struct bench_case *cases = kzalloc(max * sizeof(*cases));

	if (!cases) {
		log_error("%s: no memory for its cases", base->name);
		return;
	}
	for (unsigned i = 0; i < n_others; i++) {
		struct bench_case c = *base;

		c.others = others[i];
		n += bench_add_pairs(cases + n, max - n, &c);
	}
	bench_interleave(cases, n, budget_ns, NULL);
	for (unsigned i = 0; i < n; i++)
		bench_report(&cases[i]);
	kfree(cases);
}

static void run_alone_and_all(const struct bench_case *base, u64 budget_ns)
{
	unsigned others[] = { 0, nr_cpus - 1 };

	run_matrix(base, others, nr_cpus > 1 ? 2 : 1, budget_ns);
}

BENCHMARK(unmap_page, 6)
{
	static const struct bench_case base = { .name = "unmap_page", .pages = 1, .slice = slice_unmap };
	unsigned others[16];

	run_matrix(&base, others, others_list(others, ARRAY_SIZE(others)), budget_ns);
}

BENCHMARK(unmap_512, 3)
{
	static const struct bench_case base = { .name = "unmap_512", .pages = 512, .slice = slice_unmap };

	run_alone_and_all(&base, budget_ns);
}

BENCHMARK(protect_page, 2)
{
	static const struct bench_case base = { .name = "protect_page", .pages = 1,
						.slice = slice_protect };

	run_alone_and_all(&base, budget_ns);
}

static const unsigned nobody[] = { 0 };

#define SUSTAINED_SLICE_NS (100 * NSEC_PER_MSEC)
#define SUSTAINED_NS (400 * NSEC_PER_MSEC)	// at least, for each pair

// Sustained: map, touch, unmap, and all that was put off until later is waited for inside the slice's time.
static void slice_sustained(struct bench_case *c)
{
	struct space *s = bench_space(c);
	u64 start;

	space_attach(s);
	start = now_ns();
	do {
		u64 t = cycles();

		if (space_map(s, BASE, PAGE_SIZE, PROT_R | PROT_W, 1, 0))
			break;
		if (arch_user_write64(BASE, 1)) {	// out of memory: what waits must be freed first, at this policy's cost
			rcu_barrier();
			space_unmap(s, BASE, PAGE_SIZE);
			continue;
		}
		space_unmap(s, BASE, PAGE_SIZE);
		bench_record(c, cycles() - t);
	} while (now_ns() - start < SUSTAINED_SLICE_NS);
	bench_settle(c);
	c->busy_ns += now_ns() - start;
	space_detach();
	space_put(s);
}

BENCHMARK(map_touch_unmap, 5)
{
	static const struct bench_case base = { .name = "map_touch_unmap", .pages = 1,
						.slice = slice_sustained };

	run_matrix(&base, nobody, 1, MAX(budget_ns, bench_pairs() * SUSTAINED_NS));
}

// The most table pages that waited to be freed while one CPU unmaps as fast as it can for a while.
static void slice_held(struct bench_case *c)
{
	struct space *s = bench_space(c);
	u64 most = 0, deadline = now_ns() + SUSTAINED_SLICE_NS;

	space_attach(s);
	do {
		if (map_patiently(s, BASE, PAGE_SIZE, 1))
			break;
		space_unmap(s, BASE, PAGE_SIZE);
		most = MAX(most, tables_waiting());
		c->ops++;
	} while (now_ns() < deadline);
	bench_record_raw(c, most);
	space_detach();
	space_put(s);
	bench_settle(c);
}

BENCHMARK(pages_held, 3)
{
	static const struct bench_case base = { .name = "pages_held", .pages = 1, .unit = "pages",
						.slice = slice_held };

	run_matrix(&base, nobody, 1, budget_ns);
}
