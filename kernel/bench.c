// SPDX-License-Identifier: MIT
// Collecting and reporting measurements.
#include "kernel/bench.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "mm/slab.h"

bool bench_case_init(struct bench_case *c)
{
	c->cap = c->cap ? c->cap : BENCH_SAMPLES;
	c->samples = kmalloc(c->cap * sizeof(u64));
	if (!c->samples)
		log_error("no memory for the samples of %s", c->name);
	return c->samples;
}

static bool add_case(struct bench_case *c, const struct bench_case *base, const struct table_policy *p,
		     const struct flush_backend *b)
{
	if (b->missing() || !(pair_verdict(p, b).safe || allow_unsafe()))
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

unsigned bench_pairs(void)
{
	unsigned n = 0;

	FOR_EACH_BACKEND(b)
		FOR_EACH_POLICY(p)
			n++;
	return n;
}

// The median of many back-to-back readings: what each measurement contains besides its operation.
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
	if (!bench_full(c))
		c->samples[c->nr++] = value;
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

static void run_slice(struct bench_case *c, void (*slice)(struct bench_case *c))
{
	if (c->slice)
		c->slice(c);
	else
		slice(c);
}

void bench_interleave(struct bench_case *cases, unsigned n, u64 budget_ns, void (*slice)(struct bench_case *c))
{
	u64 end = now_ns() + budget_ns;		// warm-up included: with many CPUs on few cores it may take all of it
	bool more = true;

	bench_clock_cost();
	for (unsigned i = 0; i < n; i++) {	// warm-up: caches, the allocators' lists, the emulator's translations
		run_slice(&cases[i], slice);
		cases[i].nr = 0;
		cases[i].ops = cases[i].busy_ns = 0;
	}
	for (unsigned round = 0; more && (round == 0 || now_ns() < end); round++) {
		more = false;
		for (unsigned i = 0; i < n; i++) {
			struct counters before, after, used;

			if (bench_full(&cases[i]))
				continue;
			counters_snapshot(&before);
			run_slice(&cases[i], slice);
			counters_snapshot(&after);
			counters_sub(&used, &after, &before);
			counters_add(&cases[i].used, &used);
			more = true;
		}
	}
}

static int compare_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static u64 median_of(struct bench_case *c)
{
	if (!c->nr)
		return 0;
	ksort(c->samples, c->nr, sizeof(u64), compare_u64);
	return c->samples[c->nr / 2];
}

// Per 1,000 operations, so that the line stays in integers.
static u64 per_thousand(const struct bench_case *c, u64 counter) { return c->ops ? counter * 1000 / c->ops : 0; }

void bench_discard(struct bench_case *c)
{
	kfree(c->samples);
	c->samples = NULL;
}

void bench_report(struct bench_case *c)
{
	u64 median = median_of(c);
	char p99[24] = "null";

	if (c->nr >= 1000)
		ksnprintf(p99, sizeof(p99), "%llu", (unsigned long long)c->samples[(u64)c->nr * 99 / 100]);
	if (!c->nr) {
		log_warn("%s: no sample within its time", c->name);
	} else {
		kprintf("BENCH {\"v\":1,\"name\":\"%s\",\"build\":\"%s\",\"table_free\":\"%s\",\"tlb_flush\":\"%s\",\"cpus\":%u,\"others\":%u,"
			"\"walkers\":%u,\"pages\":%u,\"remote\":%u,\"stolen_us\":%u,\"unit\":\"%s\",\"n\":%u,\"median\":%llu,\"p99\":%s,"
			"\"min\":%llu,\"max\":%llu,\"ops\":%llu,\"ops_per_sec\":%llu,\"ipi_flush_per_1000\":%llu,\"ipi_sync_per_1000\":%llu,"
			"\"ipi_walker_per_1000\":%llu,\"tables_freed_per_1000\":%llu,\"fallbacks\":%llu}\n",
			c->name, BUILD_NAME, c->policy ? c->policy->name : "-", c->flush ? c->flush->name : "-", nr_cpus, c->others,
			c->walkers, c->pages, c->remote, c->stolen_us, c->unit ? c->unit : "cycles", c->nr, (unsigned long long)median, p99,
			(unsigned long long)c->samples[0], (unsigned long long)c->samples[c->nr - 1], (unsigned long long)c->ops,
			(unsigned long long)(c->busy_ns ? c->ops * NSEC_PER_SEC / c->busy_ns : 0), (unsigned long long)per_thousand(c, c->used.ipi_flush),
			(unsigned long long)per_thousand(c, c->used.ipi_sync), (unsigned long long)per_thousand(c, c->used.ipi_walker),
			(unsigned long long)per_thousand(c, c->used.tables_freed), (unsigned long long)c->used.table_fallbacks);
	}
	bench_discard(c);
}

// Benchmarks say "another CPU" and mean it.
static void pin_here(void)
{
	struct cpumask here = { 0 };

	preempt_disable();
	cpumask_set(&here, cpu_id());
	preempt_enable();
	thread_set_affinity(&here);
}

int bench_run_all(const char *glob, u64 total_ns)
{
	unsigned total = 0, k = 0, n = 0;
	u64 start = now_ns();

	FOR_EACH_REGISTERED(benches, const struct bench, b) {
		if (glob_match(glob, (*b)->name)) {
			total += (*b)->weight;
			n++;
		}
	}
	if (!n)
		return -1;
	pin_here();
	FOR_EACH_REGISTERED(benches, const struct bench, b) {
		if (!glob_match(glob, (*b)->name))
			continue;
		log_info("measuring %s (%u of %u, %llu s gone of about %llu)", (*b)->name, ++k, n,
			 (unsigned long long)((now_ns() - start) / NSEC_PER_SEC), (unsigned long long)(total_ns / NSEC_PER_SEC));
		(*b)->run(total_ns / total * (*b)->weight);
	}
	return (int)n;
}

static int run_bench(void)
{
	if (bench_run_all(opt_bench, (opt_seconds ? opt_seconds : 60) * NSEC_PER_SEC) >= 0)
		return EXIT_OK;
	log_error("bench=%s matches no benchmark; valid are", opt_bench);
	FOR_EACH_REGISTERED(benches, const struct bench, b)
		log_error("  bench=%s", (*b)->name);
	return EXIT_BAD_INPUT;
}
MODE(bench, run_bench);
