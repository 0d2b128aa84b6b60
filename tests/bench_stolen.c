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
#define PATIENCE 3			// times the budget, before pairs are left out
#define LEAST_NS (10 * NSEC_PER_SEC)
#define MOST_TRIES 100			// on a busy host a short theft is often over before anything could be measured

static const unsigned stolen_us[] = { 0, 1000, 3000, 10000, 30000, 100000, 300000 };

struct victim {
	struct space *space;
	u32 stop, runs;
};

// Of one pair: what is recorded of thefts of each length.
struct pair {
	struct { struct bench_case first, longest, held; } of[ARRAY_SIZE(stolen_us)];
	bool warm;
};
static struct bench_case *cases;	// one for each pair, whose slice fills all of those
static struct pair *pairs;		// by its index
static u64 too_late;			// now_ns() from which on a pair that says little new is left out: a busy host

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

static void record(struct pair *p, unsigned i, u64 took, u64 worst)
{
	bench_record_raw(&p->of[i].first, took);
	bench_record_raw(&p->of[i].longest, worst);
}

static bool one_theft(struct pair *p, unsigned i, struct places *at, unsigned cpu)
{
	u64 most, took, worst, *ops = &p->of[i].first.ops;

	if (!rob(cpu, stolen_us[i] * 1000ull))
		return false;
	most = (u64)pending_in_use();
	took = worst = timed_unmap(at);
	for (++*ops; thief_robs(cpu); ++*ops) {
		most = MAX(most, (u64)pending_in_use());
		worst = MAX(worst, timed_unmap(at));
	}
	thief_wait_back(cpu);
	record(p, i, took, worst);
	bench_record_raw(&p->of[i].held, most);
	return true;
}

static void no_theft(struct pair *p, unsigned i, struct places *at, u64 most)
{
	for (int k = 0; k < 10; k++) {
		u64 took = timed_unmap(at);

		record(p, i, took, took);
		p->of[i].first.ops++;
	}
	bench_record_raw(&p->of[i].held, most);
}

static void thefts_of(struct pair *p, unsigned i, struct places *at, unsigned cpu)
{
	unsigned times = MAX(1u, 10 / (1 + stolen_us[i] / 1000));
	u64 most;

	bench_count_from_here(&p->of[i].first);
	most = churn_for(at, LEAD_TICKS * tick_ns());
	if (!stolen_us[i])
		no_theft(p, i, at, most);
	for (unsigned tries = MOST_TRIES; stolen_us[i] && times && tries; tries--)
		times -= one_theft(p, i, at, cpu);
	bench_count_to_here(&p->of[i].first);
}

// Under a flush that waits for the robbed CPU, and under one that defers, all policies fare alike: one of them is enough
// for the whole curve.
static bool wanted(const struct bench_case *c, unsigned us)
{
	return us == 0 || us == 1000 || us == 10000 || c->flush->spares_robbed || !strcmp(c->policy->name, "rcu") ||
	       (c->policy->waits == WAIT_FLUSH && c->flush == flush_default());
}

static bool whole_curve(const struct bench_case *c) { return wanted(c, stolen_us[ARRAY_SIZE(stolen_us) - 1]); }

// The ticks before a theft are its warm-up. Ascending: should the one before still wait to be freed, it is the smaller part.
static void slice_stolen(struct bench_case *c)
{
	unsigned cpu = other_cpu(0);
	struct victim v = { 0 };
	struct places at;
	struct thread *t;

	if (!pairs[c - cases].warm) {
		pairs[c - cases].warm = true;
		return;
	}
	if (now_ns() > too_late && !whole_curve(c) && !pairs[c - cases].of[0].first.hist->n)
		return;
	v.space = bench_space(c);
	map(v.space, WALKED);
	if (!places_init(&at, v.space) || !(t = thread_create("victim", victim, &v, cpu, PRIO_NORMAL)))
		panic("no memory for a benchmark");
	while (!READ_ONCE(v.runs))
		thread_sleep_ns(NSEC_PER_MSEC);
	for (unsigned i = 0; i < ARRAY_SIZE(stolen_us); i++)
		if (wanted(c, stolen_us[i]))
			thefts_of(&pairs[c - cases], i, &at, cpu);
	WRITE_ONCE(v.stop, 1);
	thread_join(t);
	space_put(v.space);
	bench_settle(c);
}

static void init(struct bench_case *c, const struct bench_case *of, const char *name, const char *unit, unsigned us)
{
	*c = (struct bench_case){ .name = name, .unit = unit, .policy = of->policy, .flush = of->flush, .others = 1,
				  .walkers = 1, .pages = 1, .stolen_us = us };
	if (!bench_case_init(c))
		panic("no memory for a benchmark");
}

static unsigned add_cases(unsigned max)
{
	static const struct bench_case base = { .name = "unmap_stolen", .slice = slice_stolen };
	unsigned n = bench_add_pairs(cases, max, &base);

	for (unsigned k = 0; k < n; k++) {
		for (unsigned i = 0; i < ARRAY_SIZE(stolen_us); i++) {
			init(&pairs[k].of[i].first, &cases[k], "unmap_stolen", "ns", stolen_us[i]);
			init(&pairs[k].of[i].longest, &cases[k], "unmap_longest", "ns", stolen_us[i]);
			init(&pairs[k].of[i].held, &cases[k], "pages_held", "pages", stolen_us[i]);
			bench_extra(&pairs[k].of[i].held, "pending_max", pending_max());
		}
	}
	return n;
}

static void end(struct bench_case *c, bool report)
{
	if (report)
		bench_report(c);
	else
		bench_discard(c);
}

static void report(struct bench_case *c)
{
	struct pair *p = &pairs[c - cases];
	bool left_out = !whole_curve(c) && !p->of[0].first.hist->n;

	if (left_out)
		log_info("unmap_stolen: %s with %s left out for want of time", c->policy->name, c->flush->name);
	for (unsigned i = 0; i < ARRAY_SIZE(stolen_us); i++) {
		bool measured = wanted(c, stolen_us[i]) && !left_out;

		end(&p->of[i].first, measured);
		end(&p->of[i].longest, measured);
		end(&p->of[i].held, measured);
	}
	bench_discard(c);
}

BENCHMARK(unmap_stolen, 12)
{
	unsigned max = bench_pairs(), n;

	if (nr_cpus == 1 || !thief_works()) {
		log_info("unmap_stolen needs 2 CPUs and steal=thief");
		return;
	}
	cases = kzalloc(max * sizeof(*cases));
	pairs = kzalloc(max * sizeof(*pairs));
	if (cases && pairs) {
		n = add_cases(max);
		too_late = now_ns() + MAX(PATIENCE * budget_ns, LEAST_NS);
		bench_interleave(cases, n, budget_ns, NULL);
		for (unsigned i = 0; i < n; i++)
			report(&cases[i]);
	} else {
		log_error("unmap_stolen: no memory for its cases");
	}
	kfree(cases);
	kfree(pairs);
}
