// SPDX-License-Identifier: MIT
// mode=compare. The checking build judges: every pair of policy and flush back-end runs the same load of walkers
// against unmappers from the same seed, while the oracle watches, and gets a VERDICT line. The release build measures:
// BENCH lines. Either ends with a short table of its own.
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include "lab/bench.h"
#include "lab/header.h"
#include "lab/oracle.h"
#include "mm/policy/policy.h"
#include "mm/policy/verdict.h"
#include "tests/bench/short_table.h"
#include "tests/load/load.h"

#define LEAST_MS 250u		// a safe pair's load lasts at least so long, even if the time is over

enum found { FOUND_CLEAN, FOUND_VIOLATED, FOUND_INCONCLUSIVE };
static const char *const found_names[] = { "clean", "violated", "inconclusive" };

// The control: a policy that is unsafe with every back-end.
static bool is_control(const struct table_policy *p)
{
	FOR_EACH_BACKEND(b)
		if (pair_verdict(p, *b).safe)
			return false;
	return true;
}

// "Clean" is a statement about a run in which a violation could have happened and would have been seen: most walks were
// lockless, tables of each level were freed, some of them during walks (or kept, where the policy keeps them), by CPUs that ran in the space and by others, and
// the same load with the same back-end did catch the unsafe control.
static enum found found_by(const struct mm_load_result *r, bool control_violated)
{
	if (!mm_load_clean(r))
		return FOUND_VIOLATED;
	if (!control_violated || nr_cpus == 1 || !mm_load_evidence(r))
		return FOUND_INCONCLUSIVE;
	return FOUND_CLEAN;
}

static void print_verdict(const struct table_policy *p, const struct flush_backend *b, const struct mm_load_result *r, enum found f)
{
	const struct counters *c = &r->counted;

	kprintf("VERDICT {\"v\":1,\"table_free\":\"%s\",\"tlb_flush\":\"%s\",\"claimed\":\"%s\",\"found\":\"%s\",\"violations\":%llu,"
		"\"walks\":%llu,\"fast\":%llu,\"slow\":%llu,\"remote\":%llu,\"frees_l1\":%llu,\"frees_l2\":%llu,\"frees_l3\":%llu,"
		"\"frees_during_walk\":%llu,\"tables_emptied\":%llu,\"emptied_during_walk\":%llu,\"swmmu_fills\":%llu,\"swmmu_checks\":%llu}\n",
		p->name, b->name, pair_verdict(p, b).safe ? "safe" : "unsafe", found_names[f], (unsigned long long)r->violations,
		(unsigned long long)c->walks, (unsigned long long)c->walks_fast, (unsigned long long)c->walks_slow,
		(unsigned long long)c->walks_remote, (unsigned long long)c->frees_l1, (unsigned long long)c->frees_l2,
		(unsigned long long)c->frees_l3, (unsigned long long)c->frees_during_walk,
		(unsigned long long)c->tables_emptied, (unsigned long long)c->emptied_during_walk,
		(unsigned long long)c->swmmu_fills, (unsigned long long)c->swmmu_checks);
}

static struct {
	unsigned pairs, wrong, unproven;
} judged;

// Into the column of its back-end, marked where it contradicts the claim.
static void note_verdict(const struct table_policy *p, const struct flush_backend *b, enum found f)
{
	bool wrong = f != FOUND_INCONCLUSIVE && pair_verdict(p, b).safe != (f == FOUND_CLEAN);
	unsigned column = 0;

	FOR_EACH_BACKEND(it) {
		if (*it == b)
			break;
		column += !flush_missing(*it);
	}
	short_table_set(p, column, "%s%s", f == FOUND_INCONCLUSIVE ? "unproven" : found_names[f], wrong ? "!" : "");
	judged.pairs++;
	judged.wrong += wrong;
	judged.unproven += f == FOUND_INCONCLUSIVE;
}

// One pair; EXIT_OK when what was found is what is claimed.
static int judge_pair(const struct table_policy *p, const struct flush_backend *b, unsigned ms, bool *control_violated)
{
	bool safe = pair_verdict(p, b).safe;
	struct mm_load_result r;
	enum found f;
	int err;

	err = run_mm_load(p, b, opt_seed, ms, &r);
	if (err) {
		log_error("no memory to judge table_free=%s with tlb_flush=%s", p->name, b->name);
		return EXIT_INCONCLUSIVE;
	}
	if (is_control(p) && r.violations)
		*control_violated = true;
	f = found_by(&r, *control_violated);
	if (safe && f != FOUND_CLEAN && nr_cpus > 1)
		mm_load_print(&r);		// shows which condition failed
	print_verdict(p, b, &r, f);
	note_verdict(p, b, f);
	if (nr_cpus == 1)
		return EXIT_OK;
	if (f == FOUND_INCONCLUSIVE)
		return EXIT_INCONCLUSIVE;
	return safe == (f == FOUND_CLEAN) ? EXIT_OK : EXIT_TESTS_FAILED;
}

static unsigned count_pairs(void)
{
	unsigned n = 0;

	FOR_EACH_BACKEND(b)
		FOR_EACH_POLICY(p)
			n += !flush_missing(*b);
	return n;
}

// Judges all policies with one back-end, the unsafe ones first: they are the control for the others, and soon
// convicted. The pairs that follow share the time that they leave over.
static int judge_backend(const struct flush_backend *b, u64 end, unsigned *k, unsigned n)
{
	bool control_violated = false;
	int status = EXIT_OK, err;

	for (int safe = 0; safe < 2; safe++) {
		FOR_EACH_POLICY(p) {
			u64 now = now_ns();
			unsigned ms = now < end ? (unsigned)((end - now) / NSEC_PER_MSEC / (n - *k)) : 0;

			if (pair_verdict(*p, b).safe != safe)
				continue;
			log_info("[%u of %u, %lu s left] judging table_free=%s with tlb_flush=%s", ++*k, n,
				 (u64)(now < end ? (end - now) / NSEC_PER_SEC : 0), (*p)->name, b->name);
			err = judge_pair(*p, b, MAX(ms, LEAST_MS), &control_violated);
			if (err)
				status = err;
		}
	}
	return status;
}

static int judge_all(u64 ns)
{
	unsigned n = count_pairs(), k = 0;
	int status = EXIT_OK, err;
	u64 end = now_ns() + ns;

	if (nr_cpus == 1)
		log_info("one CPU: no walk can meet a free, so the verdicts are inconclusive, as they should be");
	FOR_EACH_BACKEND(b) {
		if (flush_missing(*b))
			continue;
		err = judge_backend(*b, end, &k, n);
		if (err)
			status = err;
	}
	return status;
}

static void conclude(void)
{
	short_table_print();
	if (nr_cpus == 1)
		kprintf("# One CPU: no walk can meet a free, so nothing is proved.\n");
	else if (judged.wrong)
		kprintf("# %u of %u pairs contradict their claims (!).\n", judged.wrong, judged.pairs);
	else if (judged.unproven)
		kprintf("# %u of %u pairs could not be judged.\n", judged.unproven, judged.pairs);
	else
		kprintf("# Every claim was confirmed: the safe pairs are clean, the unsafe ones were caught.\n");
}

static int judge(u64 ns)
{
	const char *backends[SHORT_TABLE_COLUMNS];
	unsigned n = 0;
	int status;

	FOR_EACH_BACKEND(b)
		if (!flush_missing(*b) && n < SHORT_TABLE_COLUMNS)
			backends[n++] = (*b)->name;
	short_table_begin(backends, n);
	status = judge_all(ns - ns / 20);
	bench_run_all("irqs_off_max", ns / 20);
	conclude();
	return status;
}

enum { WALK, UNMAP_ALONE, UNMAP_SHARED };
static const char *const figures[] = { [WALK] = "walk", [UNMAP_ALONE] = "unmap alone", [UNMAP_SHARED] = "shared" };

// All figures are of the default back-end.
static void note_figure(const struct bench_case *c)
{
	bool unmap = !strcmp(c->name, "unmap_page");

	if (c->flush != flush_default() || (!unmap && strcmp(c->name, "walk")))
		return;
	if (!unmap || !c->others || c->others == nr_cpus - 1)
		short_table_set(c->policy, !unmap ? WALK : c->others ? UNMAP_SHARED : UNMAP_ALONE, "%llu%s",
				(unsigned long long)hist_quantile(c->hist, 1, 2), pair_verdict(c->policy, c->flush).safe ? "" : "!");
}

static void measure(u64 ns)
{
	short_table_begin(figures, ARRAY_SIZE(figures));
	bench_reported = note_figure;
	bench_run_all("*", ns);
	bench_reported = NULL;
	short_table_print();
	kprintf("# Medians in %s, with tlb_flush=%s; the checking build finds out which pairs are safe.\n",
		arch_cycles_are_instructions() ? "instructions" : "cycles", flush_current_name());
}

static int compare(void)
{
	u64 ns = mode_seconds(CHECK ? 60 : 80) * NSEC_PER_SEC;
	int status = EXIT_OK;

	header_print();
	pairs_print_all();
	if (CHECK)
		status = judge(ns);
	else
		measure(ns);
	return warn_count() && !status ? EXIT_TESTS_FAILED : status;
}
MODE(compare, compare);
