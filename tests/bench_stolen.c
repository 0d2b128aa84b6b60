// SPDX-License-Identifier: MIT
// What unmapping costs while a CPU of the space is robbed of its processor (kernel/thief.h). That CPU walks the space all
// the time, so it is most likely robbed in the middle of a walk. A sample is one theft: how long the first unmap took,
// and the most table pages that waited to be freed while this CPU went on to map and unmap until the theft was over.
#include "kernel/bench.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/thief.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/slab.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/bench_load.h"

#define WALKED 0x400000000000ull
#define CHURN 0x500000000000ull
#define STOLEN_SAMPLES 256

static const unsigned stolen_us[] = { 0, 1000, 10000, 100000 };

struct victim {
	struct space *space;
	u32 stop, runs;
};

// A case of unmap_stolen and, with the same index, the one of pages_held that is filled beside it.
static struct bench_case *unmaps, *held;

static int victim(void *arg)
{
	struct victim *v = arg;
	struct page *page;

	space_attach(v->space);
	while (!READ_ONCE(v->stop)) {
		if (walk_pin_fast(v->space, WALKED, 1, false, &page))
			page_unpin(page, false);
		WRITE_ONCE(v->runs, 1);
	}
	space_detach();
	return 0;
}

static u64 timed_unmap(struct space *s)
{
	u64 start;

	if (map_patiently(s, CHURN, PAGE_SIZE, 1))
		panic("no memory for a benchmark");
	start = now_ns();
	space_unmap(s, CHURN, PAGE_SIZE);
	return now_ns() - start;
}

// False: it was over before this CPU noticed, on a busy host.
static bool rob(unsigned cpu, u64 ns)
{
	u64 stolen = thief_stolen_ns(cpu);

	thief_rob(cpu, ns);
	spin_until(thief_robs(cpu) || thief_stolen_ns(cpu) != stolen, "the thief", cpu);
	return thief_robs(cpu);
}

static void one_theft(struct bench_case *c, struct space *s, unsigned cpu)
{
	u64 most = 0;

	if (c->stolen_us && !rob(cpu, c->stolen_us * 1000ull))
		return;
	bench_record_raw(c, timed_unmap(s));
	for (c->ops++; c->stolen_us && thief_robs(cpu); c->ops++) {
		most = MAX(most, tables_waiting());
		timed_unmap(s);
	}
	if (!c->stolen_us)
		return;
	thief_wait_back(cpu);
	bench_record_raw(&held[c - unmaps], most);
}

static void slice_stolen(struct bench_case *c)
{
	struct space *s = space_create_with(c->policy, c->flush);
	unsigned cpu = other_cpu(0), times = MAX(1u, 10u / (1 + c->stolen_us / 1000));
	struct victim v = { .space = s };
	struct thread *t;

	BUG_ON(!s);
	if (!c->hist->n)
		bench_reset(&held[c - unmaps]);	// the first slice is a warm-up
	if (map_patiently(s, WALKED, PAGE_SIZE, 1) || !(t = thread_create("victim", victim, &v, cpu, PRIO_NORMAL)))
		panic("no memory for a benchmark");
	while (!READ_ONCE(v.runs))
		thread_sleep_ns(NSEC_PER_MSEC);
	while (times-- && !bench_full(c))
		one_theft(c, s, cpu);
	WRITE_ONCE(v.stop, 1);
	thread_join(t);
	space_put(s);
	bench_settle(c);
}

static unsigned add_cases(unsigned max)
{
	unsigned n = 0, nr_held = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(stolen_us); i++) {
		struct bench_case unmap = { .name = "unmap_stolen", .pages = 1, .others = 1, .walkers = 1, .unit = "ns",
					    .stolen_us = stolen_us[i], .limit = STOLEN_SAMPLES }, pages = unmap;

		pages.name = "pages_held";
		pages.unit = "pages";
		n += bench_add_pairs(unmaps + n, max - n, &unmap);
		nr_held += bench_add_pairs(held + nr_held, max - nr_held, &pages);
	}
	BUG_ON(n != nr_held);
	return n;
}

BENCHMARK(unmap_stolen, 12)
{
	unsigned max = ARRAY_SIZE(stolen_us) * bench_pairs(), n;

	if (nr_cpus == 1 || !thief_works()) {
		log_info("unmap_stolen needs 2 CPUs and steal=thief");
		return;
	}
	unmaps = kzalloc(max * sizeof(*unmaps));
	held = kzalloc(max * sizeof(*held));
	if (unmaps && held) {
		n = add_cases(max);
		bench_interleave(unmaps, n, budget_ns, slice_stolen);
		for (unsigned i = 0; i < n; i++) {
			bench_report(&unmaps[i]);
			if (held[i].stolen_us)
				bench_report(&held[i]);
			else
				bench_discard(&held[i]);
		}
	}
	kfree(unmaps);
	kfree(held);
}
