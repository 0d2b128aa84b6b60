// SPDX-License-Identifier: MIT
// How long a policy keeps interrupts off (checking builds carry the meter). Each sample is the longest stretch on any
// CPU in one slice of walks of WALK_CHUNK pages on this CPU while another one unmaps.
#include "kernel/bench.h"
#include "kernel/irqsoff.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "mm/slab.h"
#include "mm/walk.h"
#include "tests/bench_load.h"

#define WALKED 0x300000000000ull
#define CHURN 0x300000200000ull
#define MAX_CASES 16

static void slice_irqs_off(struct bench_case *c)
{
	struct space *s = space_create_with(c->policy, c->flush);
	struct page *pins[WALK_CHUNK];
	struct churner churner;
	u64 deadline;

	BUG_ON(!s);
	space_attach(s);
	if (map_patiently(s, WALKED, sizeof(pins) / sizeof(pins[0]) * PAGE_SIZE, 1) ||
	    (c->walkers && !churner_start(&churner, s, CHURN, other_cpu(0))))
		panic("no memory for a benchmark");
	irqsoff_reset();
	deadline = now_ns() + BENCH_SLICE_NS;
	do {
		for (unsigned got = walk_pin_range(s, WALKED, WALK_CHUNK, true, pins); got; got--)
			page_unpin(pins[got - 1], false);
		c->ops++;
	} while (now_ns() < deadline);
	bench_record_raw(c, irqsoff_longest());
	if (c->walkers)
		churner_stop(&churner);
	space_detach();
	space_put(s);
	bench_settle(c);
}

BENCHMARK(irqs_off_max, 1)
{
	struct bench_case *cases = kzalloc(MAX_CASES * sizeof(*cases));
	struct bench_case base = { .name = "irqs_off_max", .pages = WALK_CHUNK, .walkers = nr_cpus > 1 };
	unsigned n;

	if (!CHECK)
		log_info("irqs_off_max is measured in the checking build");
	if (!CHECK || !cases) {
		kfree(cases);
		return;
	}
	n = bench_add_policies(cases, MAX_CASES, &base);
	bench_interleave(cases, n, budget_ns, slice_irqs_off);
	for (unsigned i = 0; i < n; i++)
		bench_report(&cases[i]);
	kfree(cases);
}
