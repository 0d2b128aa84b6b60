// SPDX-License-Identifier: MIT
// Collecting and reporting measurements.
#include "lab/bench.h"
#include "lab/asked.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "lab/header.h"
#include "mm/frame/slab.h"
#include "mm/policy/verdict.h"

bool bench_case_init(struct bench_case *c)
{
	c->limit = c->limit ? c->limit : ~0u;
	c->hist = kmalloc(sizeof(*c->hist));
	if (c->hist)
		hist_reset(c->hist);
	else
		log_error("no memory for the histogram of %s", c->name);
	return c->hist;
}

static bool add_case(struct bench_case *c, const struct bench_case *base, const struct table_policy *p,
		     const struct flush_backend *b)
{
	if (flush_missing(b) || !(pair_verdict(p, b).safe || allow_unsafe()))
		return false;
	*c = *base;
	c->policy = p;
	c->flush = b;
	return bench_case_init(c);
}

unsigned bench_add_pairs(struct bench_case *cases, unsigned max, const struct bench_case *base)
{
	unsigned n = 0;

	FOR_EACH_BACKEND(b)
		FOR_EACH_POLICY(p)
			n += n < max && add_case(&cases[n], base, *p, *b);
	return n;
}

unsigned bench_add_policies(struct bench_case *cases, unsigned max, const struct bench_case *base)
{
	unsigned n = 0;

	FOR_EACH_POLICY(p)
		n += n < max && add_case(&cases[n], base, *p, flush_default());
	return n;
}

unsigned bench_add_cross(struct bench_case *cases, unsigned max, const struct bench_case *base)
{
	unsigned n = bench_add_policies(cases, max, base);

	FOR_EACH_BACKEND(b)
		if (*b != flush_default())
			n += n < max && add_case(&cases[n], base, policy_default(), *b);
	return n;
}

static unsigned add_axes(struct bench_case *cases, unsigned max, const struct bench_case *base, enum bench_axes axes)
{
	switch (axes) {
	case BENCH_PAIRS:
		return bench_add_pairs(cases, max, base);
	case BENCH_CROSS:
		return bench_add_cross(cases, max, base);
	default:
		return bench_add_policies(cases, max, base);
	}
}

unsigned bench_policies(void)
{
	unsigned n = 0;

	FOR_EACH_POLICY(p)
		n++;
	return n;
}

unsigned bench_pairs(void)
{
	unsigned n = 0;

	FOR_EACH_BACKEND(b)
		n += bench_policies();
	return n;
}

// The least distance of many back-to-back readings: what each measurement contains besides its operation.
u64 bench_clock_cost(void)
{
	static u64 cost;
	u64 least = ~0ull;

	if (cost)
		return cost;
	for (int i = 0; i < 1000; i++) {
		u64 t = cycles();

		least = MIN(least, cycles() - t);
	}
	cost = least;
	return cost;
}

void bench_record_raw(struct bench_case *c, u64 value)
{
	if (bench_full(c))
		return;
	hist_add(c->hist, value);
	majority_add(&c->usual, value);
}

void bench_record_batch(struct bench_case *c, u64 cycles_taken, unsigned batch)
{
	u64 cost = bench_clock_cost();

	bench_record_raw(c, (cycles_taken > cost ? cycles_taken - cost : 0) / batch);
	c->ops += batch;
}

void bench_record(struct bench_case *c, u64 cycles_taken) { bench_record_batch(c, cycles_taken, 1); }

static void counters_add(struct counters *sum, const struct counters *d)
{
	for (unsigned i = 0; i < sizeof(*sum) / sizeof(u64); i++)
		((u64 *)sum)[i] += ((const u64 *)d)[i];
}

void bench_count_from_here(struct bench_case *c)
{
	counters_snapshot(&c->before);
	c->counting = true;
}

void bench_count_to_here(struct bench_case *c)
{
	struct counters now, used;

	if (!c->counting)
		return;
	c->counting = false;
	counters_snapshot(&now);
	counters_sub(&used, &now, &c->before);
	counters_add(&c->used, &used);
}

static void run_slice(struct bench_case *c, void (*slice)(struct bench_case *c))
{
	bench_count_from_here(c);
	if (c->slice)
		c->slice(c);
	else
		slice(c);
	bench_count_to_here(c);
}

// Run one slice of each case, to warm up the caches, the allocators' lists and the emulator's translations. Its samples
// are thrown away, unless it has taken all the time, as it does with many CPUs on few cores: then they are the
// measurement. True: thrown away.
static bool warm_up(struct bench_case *cases, unsigned n, u64 end, void (*slice)(struct bench_case *c))
{
	bench_clock_cost();
	for (unsigned i = 0; i < n; i++)
		run_slice(&cases[i], slice);
	if (now_ns() >= end) {
		log_info("%s: the warm-up took all the time: its samples are the measurement", cases->name);
		return false;
	}
	for (unsigned i = 0; i < n; i++)
		bench_reset(&cases[i]);
	return true;
}

void bench_interleave(struct bench_case *cases, unsigned n, u64 budget_ns, void (*slice)(struct bench_case *c))
{
	u64 end = now_ns() + budget_ns;
	bool warm = warm_up(cases, n, end, slice), more = true;

	for (unsigned round = 0; more && (round == 0 || now_ns() < end); round++) {
		more = false;
		for (unsigned i = 0; i < n; i++) {
			if (bench_full(&cases[i]) || (!warm && cases[i].hist->n))
				continue;
			run_slice(&cases[i], slice);
			more = true;
		}
	}
}

void bench_run_matrix_beside(const struct bench_case *common, const struct bench_case *bases, unsigned nr_bases,
			     enum bench_axes axes, const unsigned *others, unsigned n_others, u64 budget_ns)
{
	unsigned max = nr_bases * n_others * bench_pairs() + 1, n = 0;
	struct bench_case *cases = kzalloc(max * sizeof(*cases));

	if (!cases) {
		log_error("%s: no memory for its cases", bases->name);
		return;
	}
	if (common) {
		cases[0] = *common;
		n += bench_case_init(&cases[0]);
	}
	for (unsigned i = 0; i < nr_bases * n_others; i++) {
		struct bench_case base = bases[i / n_others];

		base.others = others[i % n_others];
		n += add_axes(cases + n, max - n, &base, axes);
	}
	bench_interleave(cases, n, budget_ns, NULL);
	for (unsigned i = 0; i < n; i++)
		bench_report(&cases[i]);
	kfree(cases);
}

void bench_extra(struct bench_case *c, const char *key, u64 value)
{
	unsigned i = 0;

	while (i < BENCH_EXTRAS && c->extra[i].key)
		i++;
	if (i == BENCH_EXTRAS)
		panic("%s: no room for %s in its BENCH line", c->name, key);
	c->extra[i].key = key;
	c->extra[i].value = value;
}

void bench_reset(struct bench_case *c)
{
	hist_reset(c->hist);
	c->usual = (struct majority){ 0 };
	c->ops = c->busy_ns = 0;
	c->used = (struct counters){ 0 };
}

void bench_discard(struct bench_case *c)
{
	kfree(c->hist);
	c->hist = NULL;
}

// Each benchmark gets its share, by weight, of the time that is left. A benchmark that runs over its share (it runs
// each of its cases at least once) leaves less for those after it, but at least half of what they would have got.
int bench_run_all(const char *glob, u64 total_ns)
{
	unsigned all = 0, left, k = 0, n = 0;
	u64 start = now_ns();

	FOR_EACH_REGISTERED(benches, const struct bench, b) {
		if (glob_match(glob, (*b)->name)) {
			all += (*b)->weight;
			n++;
		}
	}
	if (!n)
		return -1;
	thread_pin_here();	// "another CPU" in a benchmark must not be this one
	left = all;
	FOR_EACH_REGISTERED(benches, const struct bench, b) {
		u64 gone = now_ns() - start;

		if (!glob_match(glob, (*b)->name))
			continue;
		log_info("measuring %s (%u of %u, %llu s gone of about %llu)", (*b)->name, ++k, n,
			 (unsigned long long)(gone / NSEC_PER_SEC), (unsigned long long)(total_ns / NSEC_PER_SEC));
		(*b)->run(MAX((total_ns > gone ? total_ns - gone : 0) / left, total_ns / all / 2) * (*b)->weight);
		left -= (*b)->weight;
	}
	return (int)n;
}

static int run_bench(void)
{
	header_print();
	if (bench_run_all(opt_bench, mode_seconds(60) * NSEC_PER_SEC) >= 0) {
		asked_print();
		return EXIT_OK;
	}
	log_error("bench=%s matches no benchmark; valid are", opt_bench);
	FOR_EACH_REGISTERED(benches, const struct bench, b)
		log_error("  bench=%s", (*b)->name);
	return EXIT_BAD_INPUT;
}
MODE(bench, run_bench);
