// SPDX-License-Identifier: MIT
// mode=torture: the load of walkers against unmappers, one round a second with a new seed each, until seconds= are
// over. Pairs change from round to round: every safe one, or the one that the command line names. If that is an unsafe
// one (allow_unsafe=1), it ends as soon as it is convicted, and must be.
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/rcu.h"
#include "kernel/time.h"
#include "mm/oracle.h"
#include "mm/policy.h"
#include "tests/mm_help.h"
#include "tests/mm_load.h"

#define ROUND_MS 1000
#define MAX_PAIRS 64

struct pair {
	const struct table_policy *policy;
	const struct flush_backend *flush;
};

struct totals {
	u64 rounds, walks, operations, reshaped, thefts, frees[3], violations, bad;
	u64 ns, convicted_ns;	// all rounds together; until the first violation, 0: none
};

static unsigned list_pairs(struct pair *pairs)
{
	unsigned n = 0;

	if (policy_named()) {
		pairs[n++] = (struct pair){ policy_default(), flush_default() };
		return n;
	}
	FOR_EACH_BACKEND(b) {
		FOR_EACH_POLICY(p)
			if (n < MAX_PAIRS && !(*b)->missing() && pair_verdict(*p, *b).safe)
				pairs[n++] = (struct pair){ *p, *b };
	}
	return n;
}

static bool round(const struct pair *pair, u64 seed, struct totals *t)
{
	bool safe = pair_verdict(pair->policy, pair->flush).safe;
	struct mm_load_result r;

	if (run_mm_load(pair->policy, pair->flush, seed, ROUND_MS, &r)) {
		log_error("out of memory");
		return false;
	}
	t->rounds++;
	t->walks += r.counted.walks;
	t->operations += r.operations;
	t->reshaped += r.reshaped;
	t->thefts += r.thefts;
	if (!t->convicted_ns && r.convicted_ns)
		t->convicted_ns = t->ns + r.convicted_ns;
	t->ns += r.ns;
	t->frees[0] += r.counted.frees_l1;
	t->frees[1] += r.counted.frees_l2;
	t->frees[2] += r.counted.frees_l3;
	t->violations += r.violations;
	t->bad += !mm_load_clean(&r);
	if (safe && !mm_load_clean(&r))
		mm_load_print(&r);
	return true;
}

static void print_progress(const struct pair *pair, u64 seed, const struct totals *t)
{
	kprintf("# torture: %llu rounds, last %s+%s seed=%llu: %llu walks, %llu operations, %llu reshaped, %llu thefts, tables freed %llu/%llu/%llu, "
		"grace periods %llu, violations %llu\n", (unsigned long long)t->rounds, pair->policy->name, pair->flush->name,
		(unsigned long long)seed, (unsigned long long)t->walks, (unsigned long long)t->operations, (unsigned long long)t->reshaped,
		(unsigned long long)t->thefts,
		(unsigned long long)t->frees[0], (unsigned long long)t->frees[1], (unsigned long long)t->frees[2],
		(unsigned long long)rcu_completed(), (unsigned long long)t->violations);
}

// What an unsafe pair does to the frames that it frees too early is not the kernel's to answer for.
static int end_unsafe(const struct pair *pair, const struct totals *t)
{
	if (!t->convicted_ns) {
		kprintf("# torture: %s+%s is claimed unsafe and was not convicted in %llu ms\n", pair->policy->name, pair->flush->name,
			(unsigned long long)(t->ns / NSEC_PER_MSEC));
		return EXIT_INCONCLUSIVE;
	}
	if (opt_seconds && t->convicted_ns > opt_seconds * NSEC_PER_SEC) {
		kprintf("# torture: %s+%s was convicted only after %llu ms\n", pair->policy->name, pair->flush->name,
			(unsigned long long)(t->convicted_ns / NSEC_PER_MSEC));
		return EXIT_INCONCLUSIVE;
	}
	kprintf("# torture: %s+%s violated, as claimed, after %llu ms\n", pair->policy->name, pair->flush->name,
		(unsigned long long)(t->convicted_ns / NSEC_PER_MSEC));
	return warn_count() ? EXIT_TESTS_FAILED : EXIT_OK;
}

static int torture(void)
{
	u64 end = now_ns() + (opt_seconds ? opt_seconds : 60) * NSEC_PER_SEC, state = opt_seed, before, after;
	static struct pair pairs[MAX_PAIRS];
	unsigned n = list_pairs(pairs);
	bool safe = pair_verdict(pairs[0].policy, pairs[0].flush).safe;
	struct totals t = { 0 };

	policy_print_all();
	// A short load first makes what is made once and kept: the stacks of its threads.
	if (run_mm_load(pairs[0].policy, pairs[0].flush, opt_seed, 1, &(struct mm_load_result){ 0 }))
		return EXIT_INCONCLUSIVE;
	before = mm_settled_frames();
	for (unsigned k = 0; now_ns() < end && (safe || !t.convicted_ns); k++) {
		u64 seed = rand_next(&state);

		if (!round(&pairs[k % n], seed, &t))
			return EXIT_INCONCLUSIVE;
		print_progress(&pairs[k % n], seed, &t);
	}
	if (!safe)
		return end_unsafe(&pairs[0], &t);
	after = mm_settled_frames();
	kprintf("# torture: %llu violations, %llu bad rounds of %llu, %lld frames leaked; repeat with mode=torture seed=%llu\n",
		(unsigned long long)t.violations, (unsigned long long)t.bad, (unsigned long long)t.rounds,
		(long long)(before - after), (unsigned long long)opt_seed);
	return t.bad || before != after || warn_count() ? EXIT_TESTS_FAILED : EXIT_OK;
}
MODE(torture, torture);
