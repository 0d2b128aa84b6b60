// SPDX-License-Identifier: MIT
// mode=paths: how many instructions each hot path takes, a PATH {json} line each, for tests/budgets.txt. They are exact
// where the counter counts instructions (ACCEL=icount). Each path is counted many times, and its most frequent count is
// the figure, so a tick or another thread in the middle of one count does not show.
//
// Paths run in rounds. Each round begins in the same state: all that the last one has deferred is done, and a tick has
// just passed. So a figure depends neither on what ran before nor on the phase of the tick.
#include "tests/bench/paths.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "lab/header.h"
#include "mm/policy/verdict.h"

#define ROUNDS 15u

// Each count contains, besides its path, the call of an empty function.
static int nothing(struct path_scene *sc) { return 0; }
static const struct path empty = { .name = "nothing", .run = nothing };

static __noinline u64 count_run(const struct path *p, struct path_scene *sc)
{
	int (*run)(struct path_scene *) = READ_ONCE(p->run);	// unknown to the compiler, so that all are called alike
	u64 start = cycles();
	int err = run(sc);
	u64 end = cycles();

	if (err)
		panic("path %s: error %d", p->name, err);
	return end - start;
}

static void call(void (*step)(struct path_scene *), struct path_scene *sc)
{
	if (step)
		step(sc);
}

// Does all that is deferred and sleeps until a tick has just passed, so that a round is over before the next begins.
static void settle(const struct path *p, struct path_scene *sc)
{
	if (!p->settle)
		return;
	p->settle(sc);
	thread_sleep_ns(1);
}

// Returns how many were counted.
static unsigned run_round(const struct path *p, struct path_scene *sc, u64 *counts)
{
	unsigned warm = p->alone ? 0 : PATH_WARM, runs = warm + (p->alone ? 1 : PATH_COUNTED);

	for (sc->turn = 0; sc->turn < runs; sc->turn++) {
		u64 count;

		call(p->before, sc);
		count = count_run(p, sc);
		call(p->after, sc);
		if (sc->turn >= warm)
			*counts++ = count;
	}
	settle(p, sc);
	return runs - warm;
}

static int in_order(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

// The most frequent count, the smallest if there are several, and how often it occurred.
struct figure {
	u64 count;
	unsigned equal, n;
};
static struct figure figure_of(u64 *counts, unsigned n)
{
	struct figure best = { .n = n };

	ksort(counts, n, sizeof(*counts), in_order);
	for (unsigned i = 0, j; i < n; i = j) {
		for (j = i; j < n && counts[j] == counts[i]; j++)
			;
		if (j - i > best.equal)
			best = (struct figure){ counts[i], j - i, n };
	}
	return best;
}

static struct figure count_path(const struct path *p, const struct table_policy *policy)
{
	static struct path_scene sc;
	static u64 counts[ROUNDS * PATH_COUNTED];
	unsigned n = 0;

	sc = (struct path_scene){ .pair = { .policy = policy, .flush = policy ? flush_default() : NULL } };
	if (p->begin)
		p->begin(&sc, p);
	settle(p, &sc);
	for (unsigned i = 0; i < ROUNDS; i++)
		n += run_round(p, &sc, counts + n);
	call(p->end, &sc);
	return figure_of(counts, n);
}

static void print_path(const struct path *p, const struct table_policy *policy)
{
	u64 of_call = count_path(&empty, NULL).count;
	struct figure f = count_path(p, policy);

	kprintf("PATH {\"v\":1,\"name\":\"%s\",\"build\":\"%s\",\"table_free\":\"%s\",\"tlb_flush\":\"%s\","
		"\"cpus\":%u,\"unit\":\"%s\",\"count\":%llu,\"n\":%u,\"equal\":%u}\n",
		p->name, BUILD_NAME, policy ? policy->name : "-", policy ? flush_default()->name : "-", nr_cpus,
		arch_cycles_are_instructions() ? "instructions" : "cycles",
		(unsigned long long)(f.count > of_call ? f.count - of_call : 0), f.n, f.equal);
}

// A policy that is unsafe with the default back-end is left out: it frees tables under walkers.
static void print_policies(const struct path *p)
{
	FOR_EACH_POLICY(policy)
		if (pair_verdict(*policy, flush_default()).safe)
			print_path(p, *policy);
}

static int paths(void)
{
	if (nr_cpus > 2) {
		log_error("mode=paths runs on one CPU, or on two for paths that need another one; here are %u", nr_cpus);
		return EXIT_BAD_INPUT;
	}
	thread_pin_here();
	header_print();
	FOR_EACH_REGISTERED(paths, const struct path, p) {
		if ((*p)->two_cpus != (nr_cpus == 2))
			continue;
		if ((*p)->per_policy)
			print_policies(*p);
		else
			print_path(*p, NULL);
	}
	return EXIT_OK;
}
MODE(paths, paths);
