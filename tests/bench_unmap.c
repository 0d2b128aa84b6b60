// SPDX-License-Identifier: MIT
// What unmapping costs: by policy, by the number of other CPUs that run in the space.
#include "kernel/bench.h"
#include "kernel/panic.h"
#include "kernel/rcu.h"
#include "mm/slab.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "kernel/xcall.h"
#include "tests/bench_load.h"

#define BASE 0x100000000000ull		// alone in its 512 GiB: unmapping it frees tables of three levels
#define MAX_CASES 64

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
	rcu_barrier();
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
	rcu_barrier();
}

// All policies × all numbers of others, interleaved; then the lines.
static void run_matrix(const char *name, unsigned pages, u64 budget_ns, void (*slice)(struct bench_case *))
{
	struct bench_case *cases = kzalloc(MAX_CASES * sizeof(*cases));
	unsigned others[16], n_others = others_list(others, ARRAY_SIZE(others)), n = 0;

	if (!cases)
		return;
	for (unsigned i = 0; i < n_others; i++) {
		FOR_EACH_POLICY(p) {
			if (n == MAX_CASES)
				break;
			cases[n] = (struct bench_case){ .name = name, .policy = *p, .flush = flush_default(), .pages = pages,
							.others = others[i] };
			n += bench_case_init(&cases[n]);
		}
	}
	bench_interleave(cases, n, budget_ns, slice);
	for (unsigned i = 0; i < n; i++)
		bench_report(&cases[i]);
	kfree(cases);
}

BENCHMARK(unmap_page, 4) { run_matrix("unmap_page", 1, budget_ns, slice_unmap); }
BENCHMARK(unmap_512, 4) { run_matrix("unmap_512", 512, budget_ns, slice_unmap); }
BENCHMARK(protect_page, 1) { run_matrix("protect_page", 1, budget_ns, slice_protect); }

// One case for each policy, interleaved; then the lines.
static void run_policies(const char *name, const char *unit, u64 budget_ns, void (*slice)(struct bench_case *))
{
	struct bench_case cases[16];
	unsigned n = 0;

	FOR_EACH_POLICY(p) {
		if (n == ARRAY_SIZE(cases))
			break;
		cases[n] = (struct bench_case){ .name = name, .policy = *p, .flush = flush_default(), .pages = 1, .unit = unit };
		n += bench_case_init(&cases[n]);
	}
	bench_interleave(cases, n, budget_ns, slice);
	for (unsigned i = 0; i < n; i++)
		bench_report(&cases[i]);
}

#define SUSTAINED_SLICE_NS (100 * NSEC_PER_MSEC)
#define SUSTAINED_NS (2 * NSEC_PER_SEC)		// at least, for each policy

// Sustained: map, touch, unmap, and all that was put off until later is waited for inside the slice's time.
static void slice_sustained(struct bench_case *c)
{
	struct space *s = bench_space(c);
	u64 start;

	if (c->busy_ns < SUSTAINED_NS && c->nr > c->cap / 2)
		c->nr = c->cap / 2;		// enough samples, not yet enough time: make room for new ones
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
	rcu_barrier();
	c->busy_ns += now_ns() - start;
	space_detach();
	space_put(s);
}

BENCHMARK(map_touch_unmap, 5)
{
	unsigned policies = 0;

	FOR_EACH_POLICY(p)
		policies++;
	run_policies("map_touch_unmap", NULL, MAX(budget_ns, policies * (SUSTAINED_NS + SUSTAINED_SLICE_NS)), slice_sustained);
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
	rcu_barrier();
}

BENCHMARK(pages_held, 1) { run_policies("pages_held", "pages", budget_ns, slice_held); }
