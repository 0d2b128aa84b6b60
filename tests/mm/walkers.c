// SPDX-License-Identifier: MIT
// Walkers against unmappers, all CPUs, a bounded time (load/load.h): under the safe policies nothing may be found, and
// the same load must find violations of the unsafe control; otherwise it proves nothing.
#include "lab/oracle.h"
#include "lab/test.h"
#include "tests/load/load.h"
#include "tests/mm/help.h"

#define LOAD_MS 600
#define SHORT_MS 250	// the load goes on by itself until it has evidence

static void load_under(const char *policy, u64 seed, unsigned ms, struct mm_load_result *r)
{
	struct mm_balance b;

	mm_balance_begin(&b);
	EXPECT_EQ(run_mm_load(policy_find(policy), flush_find("ipi"), seed, ms, r), 0);
	mm_load_print(r);
	if (!r->violations)	// tables that were hit are never reused
		mm_balance_end(&b);
}

// Did enough happen for silence to mean something?
static void expect_evidence(const struct mm_load_result *r)
{
	const struct counters *c = &r->counted;

	EXPECT(r->inside > 0);			// operations on a space in which their own CPU ran
	EXPECT(r->operations > r->inside);	// … and on one in which it did not run
	EXPECT(r->pins > 0);
	EXPECT(r->interrupt_walks > 0);
	EXPECT(r->nmi_walks > 0);
	EXPECT(r->delays > 0);
	EXPECT(c->walks_remote > 0);
	EXPECT(c->frees_l1 > 0);
	EXPECT(c->frees_l2 > 0);
	EXPECT(c->frees_l3 > 0);
	EXPECT(r->keeps == (c->tables_emptied > 0));
	EXPECT((r->keeps ? c->emptied_during_walk : c->frees_during_walk) > 0);
	if (c->walks_fast * 10 < c->walks * 8)	// the load waits until nine of ten are fast; later ones count too
		test_fail(__FILE__, __LINE__, "only %lu of %lu walks were fast", c->walks_fast, c->walks);
}

static void expect_clean(const struct mm_load_result *r)
{
	EXPECT_EQ(r->violations, 0);
	EXPECT_EQ(r->bad_pins, 0);
	EXPECT_EQ(r->lost_writes, 0);
	EXPECT_EQ(r->bad_reads, 0);
	EXPECT_EQ(r->errors, 0);
	EXPECT_EQ(r->no_memory, 0);
	EXPECT_EQ(r->stuck, 0);
}

// One seed for all: it must not depend on the test's name.
#define SEED 0x7153c5
static void safe_policy(const char *name, unsigned ms)
{
	struct mm_load_result r;

	load_under(name, SEED, ms, &r);
	expect_evidence(&r);
	expect_clean(&r);
}

// A load whose unmappers never, or always, run in the space that they change has not tested the flush of this CPU, or
// that of the other CPUs.
TEST(walkers, evidence_is_from_inside_and_outside, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK)
{
	struct mm_load_result r;
	u64 inside;

	load_under("rcu", SEED, SHORT_MS, &r);
	EXPECT(mm_load_evidence(&r));
	inside = r.inside;
	r.inside = 0;
	EXPECT(!mm_load_evidence(&r));
	r.inside = r.operations;
	EXPECT(!mm_load_evidence(&r));
	r.inside = inside;
	EXPECT(mm_load_evidence(&r));
}

TEST(walkers, ipi, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK) { safe_policy("ipi", LOAD_MS); }
TEST(walkers, rcu, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK) { safe_policy("rcu", LOAD_MS); }
TEST(walkers, rcu_sync, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK) { safe_policy("rcu-sync", SHORT_MS); }
TEST(walkers, rcu_page, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK) { safe_policy("rcu-page", SHORT_MS); }
TEST(walkers, rcu_proxy, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK) { safe_policy("rcu-proxy", SHORT_MS); }
TEST(walkers, auto, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK) { safe_policy("auto", SHORT_MS); }
TEST(walkers, targeted, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK) { safe_policy("targeted", SHORT_MS); }
TEST(walkers, hazard, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK) { safe_policy("hazard", SHORT_MS); }
TEST(walkers, epoch, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK) { safe_policy("epoch", SHORT_MS); }
TEST(walkers, keep, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK) { safe_policy("keep", SHORT_MS); }

TEST(walkers, immediate_is_convicted, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_SLOW_OK)
{
	struct mm_load_result r;

	load_under("immediate", SEED, LOAD_MS, &r);
	expect_evidence(&r);
	EXPECT(r.violations > 0);
	EXPECT_EQ(r.errors, 0);
}

// On a single CPU, and in a release build, the load runs too; but then there is no oracle, or nothing for it to find.
TEST(walkers, load_runs_anywhere, 0)
{
	struct mm_load_result r;

	EXPECT_EQ(run_mm_load(policy_default(), flush_default(), test_seed(), 100, &r), 0);
	EXPECT(r.pins > 0);
	EXPECT(r.counted.frees_l1 > 0 && r.counted.frees_l2 > 0 && r.counted.frees_l3 > 0);
	if (pair_verdict(policy_default(), flush_default()).safe)
		EXPECT(mm_load_clean(&r));
}
