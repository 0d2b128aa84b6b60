// SPDX-License-Identifier: MIT
// Collecting and reporting measurements.
#include "kernel/bench.h"
#include "kernel/cmdline.h"
#include "kernel/header.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "mm/slab.h"

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
		hist_add(c->hist, value);
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
		bench_reset(&cases[i]);
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

void bench_reset(struct bench_case *c)
{
	hist_reset(c->hist);
	c->ops = c->busy_ns = 0;
	c->used = (struct counters){ 0 };
}

void bench_discard(struct bench_case *c)
{
	kfree(c->hist);
	c->hist = NULL;
}

// Per 1,000 operations, so that the line stays in integers.
static unsigned long long per_thousand(const struct bench_case *c, u64 counter)
{
	return c->ops ? counter * 1000 / c->ops : 0;
}

// What tells a case from all others: the keys that its two lines have in common.
#define IDENTITY_MAX 320
static void identity(const struct bench_case *c, char *buf)
{
	ksnprintf(buf, IDENTITY_MAX, "\"v\":1,\"name\":\"%s\",\"build\":\"%s\",\"table_free\":\"%s\",\"tlb_flush\":\"%s\",\"cpus\":%u,"
		  "\"others\":%u,\"walkers\":%u,\"pages\":%u,\"remote\":%u,\"stolen_us\":%u,\"unit\":\"%s\",\"n\":%u",
		  c->name, BUILD_NAME, c->policy ? c->policy->name : "-", c->flush ? c->flush->name : "-", nr_cpus, c->others,
		  c->walkers, c->pages, c->remote, c->stolen_us, c->unit ? c->unit : "cycles", c->hist->n);
}

// Null where fewer than ten samples lie beyond it.
struct quantile { char text[24]; };
static struct quantile quantile(const struct bench_case *c, u32 num, u32 den)
{
	struct quantile q = { "null" };

	if ((u64)c->hist->n * (den - num) >= 10ull * den)
		ksnprintf(q.text, sizeof(q.text), "%llu", (unsigned long long)hist_quantile(c->hist, num, den));
	return q;
}

static void print_bench(const struct bench_case *c)
{
	unsigned long long median = hist_quantile(c->hist, 1, 2);
	char who[IDENTITY_MAX];

	identity(c, who);
	kprintf("BENCH {%s,\"median\":%llu,\"p50\":%llu,\"p90\":%s,\"p99\":%s,\"p999\":%s,\"min\":%llu,\"max\":%llu,\"sum\":%llu,"
		"\"ops\":%llu,\"ops_per_sec\":%llu,\"ipi_flush_per_1000\":%llu,\"ipi_sync_per_1000\":%llu,"
		"\"ipi_walker_per_1000\":%llu,\"tables_freed_per_1000\":%llu,\"fallbacks\":%llu}\n",
		who, median, median, quantile(c, 9, 10).text, quantile(c, 99, 100).text, quantile(c, 999, 1000).text,
		(unsigned long long)c->hist->min, (unsigned long long)c->hist->max, (unsigned long long)c->hist->sum,
		(unsigned long long)c->ops, (unsigned long long)(c->busy_ns ? c->ops * NSEC_PER_SEC / c->busy_ns : 0),
		per_thousand(c, c->used.ipi_flush), per_thousand(c, c->used.ipi_sync), per_thousand(c, c->used.ipi_walker),
		per_thousand(c, c->used.tables_freed), (unsigned long long)c->used.table_fallbacks);
}

static size_t hist_line(const struct bench_case *c, const char *who, char *buf, size_t size)
{
	size_t n = (size_t)ksnprintf(buf, size, "HIST {%s,\"min\":%llu,\"max\":%llu,\"sum\":%llu,\"bits\":%u,\"buckets\":", who,
				     (unsigned long long)c->hist->min, (unsigned long long)c->hist->max,
				     (unsigned long long)c->hist->sum, HIST_BITS);

	n += hist_print_buckets(c->hist, buf + MIN(n, size), size - MIN(n, size));
	return n + (size_t)ksnprintf(buf + MIN(n, size), size - MIN(n, size), "}\n");
}

// Longer than kprintf() takes, perhaps: up to 60 KiB where every bucket is used.
static void print_hist(const struct bench_case *c)
{
	char who[IDENTITY_MAX], none, *line;
	size_t n;

	identity(c, who);
	n = hist_line(c, who, &none, 0);
	line = kmalloc(n + 1);
	if (!line) {
		log_error("no memory for the HIST line of %s", c->name);
		return;
	}
	hist_line(c, who, line, n + 1);
	log_write(line, n);
	kfree(line);
}

void bench_report(struct bench_case *c)
{
	if (c->hist->n) {
		print_bench(c);
		print_hist(c);
	} else {
		log_warn("%s: no sample within its time", c->name);
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
	header_print();
	if (bench_run_all(opt_bench, (opt_seconds ? opt_seconds : 60) * NSEC_PER_SEC) >= 0)
		return EXIT_OK;
	log_error("bench=%s matches no benchmark; valid are", opt_bench);
	FOR_EACH_REGISTERED(benches, const struct bench, b)
		log_error("  bench=%s", (*b)->name);
	return EXIT_BAD_INPUT;
}
MODE(bench, run_bench);
