// SPDX-License-Identifier: MIT
// How long a policy keeps interrupts off (checking builds carry the meter), while this CPU walks WALK_CHUNK pages again and
// again and another one unmaps. irqs_off: each stretch on this CPU, ticks included. irqs_off_max: the longest on any
// CPU in one slice.
#include "kernel/log.h"
#include "kernel/panic.h"
#include "lab/bench.h"
#include "lab/irqsoff.h"
#include "mm/frame/slab.h"
#include "mm/walk.h"
#include "tests/bench/load.h"

#define WALKED 0x300000000000ull
#define CHURN 0x300000200000ull
#define MAX_CASES 16

static struct bench_case *longest, *all;	// by the same index

static void slice_irqs_off(struct bench_case *c)
{
	struct bench_case *each = &all[c - longest];
	struct space *s = bench_space(c);
	struct page *pins[WALK_CHUNK];
	struct churner churner;
	u64 deadline;

	if (!c->hist->n)
		bench_reset(each);	// the first slice is a warm-up
	space_attach(s);
	if (map_patiently(s, WALKED, sizeof(pins) / sizeof(pins[0]) * PAGE_SIZE, 1) ||
	    (c->walkers && !churner_start(&churner, s, CHURN, other_cpu(0))))
		panic("no memory for a benchmark");
	irqsoff_reset();
	irqsoff_record(each->hist);
	deadline = now_ns() + BENCH_SLICE_NS;
	do {
		for (unsigned got = walk_pin_range(s, WALKED, WALK_CHUNK, true, pins); got; got--)
			page_unpin(pins[got - 1], false);
		c->ops++;
		each->ops++;
	} while (now_ns() < deadline);
	irqsoff_record(NULL);
	bench_record_raw(c, irqsoff_longest());
	if (c->walkers)
		churner_stop(&churner);
	space_detach();
	space_put(s);
	bench_settle(c);
}

static void report(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		bench_report(&longest[i]);
		if (all[i].hist->n)	// the host build has no meter
			bench_report(&all[i]);
		else
			bench_discard(&all[i]);
	}
}

BENCHMARK(irqs_off_max, 1)
{
	struct bench_case base = { .name = "irqs_off_max", .pages = WALK_CHUNK, .walkers = nr_cpus > 1 };
	unsigned n;

	if (!CHECK) {
		log_info("irqs_off and irqs_off_max are measured in the checking build");
		return;
	}
	longest = kzalloc(MAX_CASES * sizeof(*longest));
	all = kzalloc(MAX_CASES * sizeof(*all));
	if (longest && all) {
		n = bench_add_policies(longest, MAX_CASES, &base);
		base.name = "irqs_off";
		BUG_ON(bench_add_policies(all, MAX_CASES, &base) != n);
		bench_interleave(longest, n, budget_ns, slice_irqs_off);
		report(n);
	}
	kfree(longest);
	kfree(all);
}
