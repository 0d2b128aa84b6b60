// SPDX-License-Identifier: MIT
// mode=torture with a pair that is computed to be unsafe (allow_unsafe=1): the load of walkers against unmappers. It ends
// as soon as the pair is convicted, which must happen. A load that has given up (tests/load/load.h) is followed by
// another one, with a new seed, until `seconds=` are over.
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include "tests/load/load.h"
#include "tests/mm/help.h"
#include "tests/torture/torture.h"

struct totals {
	u64 rounds, walks, freed, chances, violations;
	u64 ns, convicted_ns;	// all rounds together; until the first violation, 0: none
};

static bool play_round(u64 seed, struct totals *t)
{
	struct mm_load_result r;

	if (run_mm_load(policy_default(), flush_default(), seed, 0, &r)) {
		log_error("out of memory");
		return false;
	}
	if (!t->convicted_ns && r.convicted_ns)
		t->convicted_ns = t->ns + r.convicted_ns;
	t->ns += r.ns;
	t->rounds++;
	t->walks += r.counted.walks;
	t->freed += r.counted.frees_l1 + r.counted.frees_l2 + r.counted.frees_l3;
	t->chances += r.chances;
	t->violations += r.violations;
	kprintf("# torture %llu s: %llu rounds, last seed=%llu, %llu walks, %llu tables freed, %llu violations\n",
		(unsigned long long)(t->ns / NSEC_PER_SEC), (unsigned long long)t->rounds, (unsigned long long)seed,
		(unsigned long long)t->walks, (unsigned long long)t->freed, (unsigned long long)t->violations);
	return true;
}

// What an unsafe pair does to frames that it frees too early does not make the run fail.
static int verdict(const struct totals *t)
{
	const char *p = policy_default()->name, *b = flush_default()->name;

	if (!t->convicted_ns) {
		kprintf("# torture: %s+%s is claimed unsafe and was not convicted in %llu ms, with %llu chances\n", p, b,
			(unsigned long long)(t->ns / NSEC_PER_MSEC), (unsigned long long)t->chances);
		return EXIT_INCONCLUSIVE;
	}
	kprintf("# torture: %s+%s violated, as claimed, after %llu ms, with %llu chances\n", p, b,
		(unsigned long long)(t->convicted_ns / NSEC_PER_MSEC), (unsigned long long)t->chances);
	return warn_count() ? EXIT_TESTS_FAILED : EXIT_OK;
}

int torture_unsafe(u64 seconds)
{
	u64 end = now_ns() + seconds * NSEC_PER_SEC, state = opt_seed;
	struct totals t = { 0 };

	do {
		if (!play_round(rand_next(&state), &t))
			return EXIT_INCONCLUSIVE;
	} while (!t.convicted_ns && now_ns() < end);
	return verdict(&t);
}
