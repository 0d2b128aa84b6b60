// SPDX-License-Identifier: MIT
// What unmapping costs while a CPU of the space is robbed of its processor (kernel/thief.h). That CPU walks the space all
// the time, so it is most likely robbed in the middle of a walk. This one maps and unmaps pages, each with an L1 table of
// its own: for some ticks before, so that as much waits to be freed as ever does, and until the theft is over. A sample
// is one theft:
//
//   unmap_stolen   how long the first unmap took that began during it
//   unmap_longest  … the longest: when pending_max pages wait, the next unmap waits for the robbed CPU
//   pages_held     the most pages that waited to be freed meanwhile: tables and, where the flush is deferred, frames
//
// stolen_us=0: the same without a theft, pages_held during the ticks before.
#include "kernel/bench.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/thief.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/pending.h"
#include "mm/slab.h"
#include "mm/walk.h"
#include "tests/bench_load.h"
#include "tests/bench_places.h"

#define WALKED 0x400000000000ull
#define LEAD_TICKS 4		// longer than a grace period takes
#define MOST_TRIES 100			// on a busy host a short theft is often over before anything could be measured

static const unsigned stolen_us[] = { 0, 1000, 3000, 10000, 30000, 100000, 300000 };

struct victim {
	struct space *space;
	u32 stop, runs;
};

// Cases of unmap_stolen, and what is recorded beside each in the same thefts.
struct beside {
	struct bench_case longest, held;
	unsigned slices;
};
static struct bench_case *cases;
static struct beside *besides;

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

static void map(struct space *s, vaddr_t va)
{
	if (map_patiently(s, va, PAGE_SIZE, 1))
		panic("no memory for a benchmark");
}

static u64 timed_unmap(struct places *p)
{
	vaddr_t va = places_next(p);
	u64 start;

	map(p->space, va);
	start = now_ns();
	space_unmap(p->space, va, PAGE_SIZE);
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

// The most that waited.
static u64 churn_for(struct places *p, u64 ns)
{
	u64 most = 0, end = now_ns() + ns;

	do {
		timed_unmap(p);
		most = MAX(most, (u64)pending_in_use());
	} while (now_ns() < end);
	return most;
}

static void record(struct bench_case *c, u64 took, u64 worst)
{
	bench_record_raw(c, took);
	bench_record_raw(&besides[c - cases].longest, worst);
}

static bool one_theft(struct bench_case *c, struct places *p, unsigned cpu, u64 ns)
{
	u64 most, took, worst;

	if (!rob(cpu, ns))
		return false;
	most = (u64)pending_in_use();
	took = worst = timed_unmap(p);
	for (c->ops++; thief_robs(cpu); c->ops++) {
		most = MAX(most, (u64)pending_in_use());
		worst = MAX(worst, timed_unmap(p));
	}
	thief_wait_back(cpu);
	record(c, took, worst);
	bench_record_raw(&besides[c - cases].held, most);
	return true;
}

static void no_theft(struct bench_case *c, struct places *p, u64 most)
{
	for (int i = 0; i < 10; i++) {
		u64 took = timed_unmap(p);

		record(c, took, took);
		c->ops++;
	}
	bench_record_raw(&besides[c - cases].held, most);
}

static void thefts(struct bench_case *c, struct places *p, unsigned cpu)
{
	unsigned us = c->stolen_us;
	u64 most = churn_for(p, LEAD_TICKS * tick_ns());
	unsigned times = MAX(1u, 10 / (1 + us / 1000));

	if (!us)
		no_theft(c, p, most);
	for (unsigned tries = MOST_TRIES; us && times && tries; tries--)
		times -= one_theft(c, p, cpu, us * 1000ull);
}

static void slice_stolen(struct bench_case *c)
{
	struct beside *b = &besides[c - cases];
	unsigned cpu = other_cpu(0);
	struct victim v = { 0 };
	struct places places;
	struct thread *t;

	if (b->slices++ == 0 && c->stolen_us)
		return;				// a warm-up for each pair is enough
	v.space = space_create_with(c->policy, c->flush);
	BUG_ON(!v.space);
	if (b->slices == 2) {
		bench_reset(&b->longest);
		bench_reset(&b->held);
	}
	map(v.space, WALKED);
	if (!places_init(&places, v.space) || !(t = thread_create("victim", victim, &v, cpu, PRIO_NORMAL)))
		panic("no memory for a benchmark");
	while (!READ_ONCE(v.runs))
		thread_sleep_ns(NSEC_PER_MSEC);
	thefts(c, &places, cpu);
	WRITE_ONCE(v.stop, 1);
	thread_join(t);
	space_put(v.space);
	bench_settle(c);
}

// Under a flush that waits for the robbed CPU, and under one that defers, all policies fare alike: one of them is enough
// for the whole curve.
static bool wanted(const struct bench_case *c)
{
	unsigned us = c->stolen_us;

	return us == 0 || us == 1000 || us == 10000 || c->flush->spares_robbed || !strcmp(c->policy->name, "rcu") ||
	       (c->policy->waits == WAIT_FLUSH && c->flush == flush_default());
}

static bool add_beside(struct beside *b, const struct bench_case *c)
{
	struct bench_case longest = *c, held = *c;

	longest.name = "unmap_longest";
	held.name = "pages_held";
	held.unit = "pages";
	b->longest = longest;
	b->held = held;
	return bench_case_init(&b->longest) && bench_case_init(&b->held);
}

static unsigned add_cases(unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(stolen_us); i++) {
		struct bench_case base = { .name = "unmap_stolen", .pages = 1, .others = 1, .walkers = 1, .unit = "ns",
					   .stolen_us = stolen_us[i] };
		unsigned end = n + bench_add_pairs(cases + n, max - n, &base);

		for (unsigned k = n; k < end; k++) {
			if (wanted(&cases[k]))
				cases[n++] = cases[k];
			else
				bench_discard(&cases[k]);
		}
	}
	for (unsigned k = 0; k < n; k++)
		if (!add_beside(&besides[k], &cases[k]))
			panic("no memory for a benchmark");
	return n;
}

static void report(struct bench_case *c)
{
	struct beside *b = &besides[c - cases];

	bench_extra(&b->held, "pending_max", pending_max());
	bench_report(c);
	bench_report(&b->longest);
	bench_report(&b->held);
}

BENCHMARK(unmap_stolen, 12)
{
	unsigned max = ARRAY_SIZE(stolen_us) * bench_pairs(), n;

	if (nr_cpus == 1 || !thief_works()) {
		log_info("unmap_stolen needs 2 CPUs and steal=thief");
		return;
	}
	cases = kzalloc(max * sizeof(*cases));
	besides = kzalloc(max * sizeof(*besides));
	if (cases && besides) {
		n = add_cases(max);
		bench_interleave(cases, n, budget_ns, slice_stolen);
		for (unsigned i = 0; i < n; i++)
			report(&cases[i]);
	} else {
		log_error("unmap_stolen: no memory for its cases");
	}
	kfree(cases);
	kfree(besides);
}
