// SPDX-License-Identifier: MIT
// The BENCH and HIST lines of a case.
#include "lab/bench.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "mm/flush/flush.h"
#include "mm/frame/slab.h"

// Per 1,000 operations, so that the line stays in integers.
static unsigned long long per_thousand(const struct bench_case *c, u64 counter)
{
	return c->ops ? counter * 1000 / c->ops : 0;
}

static const char *unit_of(const struct bench_case *c)
{
	return c->unit ? c->unit : arch_cycles_are_instructions() ? "instructions" : "cycles";
}

// What distinguishes a case from all others: the keys that its two lines have in common.
#define IDENTITY_MAX 320
static void identity(const struct bench_case *c, char *buf)
{
	ksnprintf(buf, IDENTITY_MAX, "\"v\":1,\"name\":\"%s\",\"build\":\"%s\",\"table_free\":\"%s\",\"tlb_flush\":\"%s\",\"cpus\":%u,"
		  "\"others\":%u,\"walkers\":%u,\"pages\":%u,\"remote\":%u,\"stolen_us\":%u,\"unit\":\"%s\",\"n\":%u",
		  c->name, BUILD_NAME, c->policy ? c->policy->name : "-", c->flush ? c->flush->name : "-", nr_cpus, c->others,
		  c->walkers, c->pages, c->remote, c->stolen_us, unit_of(c), c->hist->n);
}

// Null where fewer than ten samples lie beyond it.
struct figure { char text[32]; };
static struct figure quantile(const struct bench_case *c, u32 num, u32 den)
{
	struct figure q = { "null" };

	if ((u64)c->hist->n * (den - num) >= 10ull * den)
		ksnprintf(q.text, sizeof(q.text), "%llu", (unsigned long long)hist_quantile(c->hist, num, den));
	return q;
}

// Counted instructions have one value as a rule, and the buckets would blur it.
static struct figure usual(const struct bench_case *c)
{
	struct figure q = { "" };

	if (!c->unit && arch_cycles_are_instructions() && majority_proved(&c->usual, c->hist->n))
		ksnprintf(q.text, sizeof(q.text), ",\"usual\":%llu", (unsigned long long)c->usual.value);
	return q;
}

#define EXTRAS_MAX 512
static void print_extras(const struct bench_case *c, char *buf)
{
	size_t n = 0;

	*buf = 0;
	for (unsigned i = 0; i < BENCH_EXTRAS && c->extra[i].key && n < EXTRAS_MAX; i++)
		n += (size_t)ksnprintf(buf + n, EXTRAS_MAX - n, ",\"%s\":%llu", c->extra[i].key,
				       (unsigned long long)c->extra[i].value);
}

static void print_bench(const struct bench_case *c)
{
	unsigned long long median = hist_quantile(c->hist, 1, 2);
	char who[IDENTITY_MAX], extras[EXTRAS_MAX];

	identity(c, who);
	print_extras(c, extras);
	kprintf("BENCH {%s,\"median\":%llu,\"p50\":%llu,\"p90\":%s,\"p99\":%s,\"p999\":%s,\"min\":%llu,\"max\":%llu,\"sum\":%llu%s,"
		"\"ops\":%llu,\"ops_per_sec\":%llu,\"ipi_flush_per_1000\":%llu,\"lazy_skipped_per_1000\":%llu,"
		"\"ipi_sync_per_1000\":%llu,\"ipi_walker_per_1000\":%llu,\"ipis_per_1000\":%llu,\"pv_flagged_per_1000\":%llu,"
		"\"hypercalls_per_1000\":%llu,\"tables_freed_per_1000\":%llu,\"walkers_awaited_per_1000\":%llu,"
		"\"walkers_proved_per_1000\":%llu,\"free_polled_per_1000\":%llu,\"free_deferred_per_1000\":%llu,"
		"\"rcu_waits_per_1000\":%llu,\"fallbacks\":%llu%s}\n",
		who, median, median, quantile(c, 9, 10).text, quantile(c, 99, 100).text, quantile(c, 999, 1000).text,
		(unsigned long long)c->hist->min, (unsigned long long)c->hist->max, (unsigned long long)c->hist->sum,
		usual(c).text, (unsigned long long)c->ops,
		(unsigned long long)(c->busy_ns ? c->ops * NSEC_PER_SEC / c->busy_ns : 0),
		per_thousand(c, c->used.ipi_flush), per_thousand(c, c->used.flush_lazy_skipped),
		per_thousand(c, c->used.ipi_sync), per_thousand(c, c->used.ipi_walker), per_thousand(c, c->used.ipi_xcall),
		per_thousand(c, c->used.flush_pv_flagged), per_thousand(c, c->used.flush_hv_calls + c->used.flush_xen_calls),
		per_thousand(c, c->used.tables_freed), per_thousand(c, c->used.walkers_awaited),
		per_thousand(c, c->used.walkers_proved), per_thousand(c, c->used.free_polled),
		per_thousand(c, c->used.free_deferred), per_thousand(c, c->used.rcu_waits), (unsigned long long)c->used.table_fallbacks, extras);
}

static size_t hist_line(const struct bench_case *c, const char *who, char *buf, size_t size)
{
	size_t n = (size_t)ksnprintf(buf, size, "HIST {%s,\"min\":%llu,\"max\":%llu,\"sum\":%llu,\"bits\":%u,\"buckets\":", who,
				     (unsigned long long)c->hist->min, (unsigned long long)c->hist->max,
				     (unsigned long long)c->hist->sum, HIST_BITS);

	n += hist_print_buckets(c->hist, buf + MIN(n, size), size - MIN(n, size));
	return n + (size_t)ksnprintf(buf + MIN(n, size), size - MIN(n, size), "}\n");
}

// The line may be longer than kprintf() takes: up to 60 KiB where every bucket is used.
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

void (*bench_reported)(const struct bench_case *c);

void bench_report(struct bench_case *c)
{
	if (c->hist->n) {
		print_bench(c);
		print_hist(c);
		if (bench_reported)
			bench_reported(c);
	} else {
		log_warn("%s: no sample within its time", c->name);
	}
	bench_discard(c);
}
