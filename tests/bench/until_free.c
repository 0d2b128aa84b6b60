// SPDX-License-Identifier: MIT
// How long a table lives on after its unmap has begun. A sample is one unmap of a page whose L1 table is freed with it:
//
//   until_unmapped   from its begin until it has returned: the flush is in it
//   until_free       from its begin until the table is FREE: the wait for walkers, too, wherever that is done
//
// Beside it another CPU runs in the space, or walks it (`walkers`); with `stolen_us` that CPU is preempted when the unmap
// begins, and so long from then on. What a policy hides behind the flush shows as a smaller sum of the two waits. The
// counters of until_unmapped are those of the unmap alone.
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "lab/bench.h"
#include "lab/thief.h"
#include "mm/frame/slab.h"
#include "mm/table.h"
#include "mm/flush/flush.h"
#include "tests/bench/load.h"
#include "tests/bench/places.h"
#include "tests/bench/victim.h"

#define STOLEN_US 10000u
#define AT_A_TIME 5		// samples of a slice, at least
#define KINDS 4				// walks or not, preempted or not

static struct bench_case *cases;	// until_free
static struct beside {
	struct bench_case unmap;	// until_unmapped, of the case of the same index
	bool warm;
} *beside;

// Each begins at a random time between two ticks, with all that was unlinked before it FREE.
static void begin_afresh(void)
{
	static u64 seed = 1;
	u64 until = now_ns() + rand_next(&seed) % tick_ns();

	while (now_ns() < until || tables_waiting())
		cpu_relax();
}

static void one_unmap(struct bench_case *c, struct places *at, struct victim *v)
{
	struct bench_case *unmap = &beside[c - cases].unmap;
	vaddr_t va = places_next(at);
	u64 start;

	if (map_patiently(at->space, va, PAGE_SIZE, 1))
		panic("no memory for a benchmark");
	begin_afresh();
	if (c->stolen_us) {
		WRITE_ONCE(v->asked, 1);
		thief_wait_robbed(v->cpu);
		thief_release_in(v->cpu, c->stolen_us * 1000ull);
	}
	bench_count_from_here(unmap);
	start = now_ns();
	space_unmap(at->space, va, PAGE_SIZE);
	bench_record_raw(unmap, now_ns() - start);
	bench_count_to_here(unmap);
	unmap->ops++;
	while (tables_waiting())
		cpu_relax();
	bench_record_raw(c, now_ns() - start);
	c->ops++;
	if (c->stolen_us)
		thief_wait_back(v->cpu);
}

// No slice is thrown away: a sample waits so long that nothing needs to be warm.
static void slice_until_free(struct bench_case *c)
{
	struct beside *b = &beside[c - cases];
	u64 deadline = now_ns() + BENCH_SLICE_NS;
	struct space *s;
	unsigned n = 0;
	struct places at;
	struct victim v;

	if (!b->warm) {
		b->warm = true;
		return;
	}
	s = bench_space(c);
	space_attach(s);
	victim_start(&v, s, c->walkers ? VICTIM_WALKS : VICTIM_RUNS);
	if (!places_init(&at, s))
		panic("no memory for a benchmark");
	do
		one_unmap(c, &at, &v);
	while (++n < AT_A_TIME || (!c->stolen_us && now_ns() < deadline));
	victim_stop(&v);
	space_detach();
	space_put(s);
	bench_settle(c);
}

// Without a preemption the other pairs would show nothing new. A flush that waits for a preempted CPU does so in or out
// of a walk.
static bool wanted(const struct bench_case *c)
{
	bool by_default = c->flush == flush_default() || c->policy == policy_default();

	if (!c->stolen_us)
		return by_default;
	return thief_works() && (c->flush->spares_robbed || (c->flush == flush_default() && c->walkers));
}

static unsigned add_cases(unsigned max)
{
	unsigned n = 0;

	for (unsigned kind = 0; kind < KINDS; kind++) {
		const struct bench_case base = { .name = "until_free", .unit = "ns", .pages = 1, .others = 1, .walkers = kind & 1,
						 .stolen_us = kind & 2 ? STOLEN_US : 0, .slice = slice_until_free };
		unsigned added = bench_add_pairs(cases + n, max - n, &base), end = n + added;

		for (unsigned i = n; i < end; i++) {
			if (wanted(&cases[i]))
				cases[n++] = cases[i];
			else
				bench_discard(&cases[i]);
		}
	}
	for (unsigned i = 0; i < n; i++) {
		beside[i].unmap = cases[i];
		beside[i].unmap.name = "until_unmapped";
		if (!bench_case_init(&beside[i].unmap))
			panic("no memory for a benchmark");
	}
	return n;
}

BENCHMARK(until_free, 5)
{
	unsigned max = KINDS * bench_pairs(), n;

	if (nr_cpus == 1) {
		log_info("until_free needs 2 CPUs");
		return;
	}
	cases = kzalloc(max * sizeof(*cases));
	beside = kzalloc(max * sizeof(*beside));
	if (cases && beside) {
		n = add_cases(max);
		bench_interleave(cases, n, budget_ns, NULL);
		for (unsigned i = 0; i < n; i++) {
			bench_report(&cases[i]);
			bench_report(&beside[i].unmap);
		}
	} else {
		log_error("until_free: no memory for its cases");
	}
	kfree(cases);
	kfree(beside);
}
