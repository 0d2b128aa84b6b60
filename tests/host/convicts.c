// SPDX-License-Identifier: MIT
// The load of mode=compare on a kernel with a step taken out: the load must find that. There is a test for each of its
// judgements, and for each of the paths on which it reaches them (docs/testing.md has the table of all). They run under
// the deterministic scheduler, where the same rounds find the same.
#include "arch/host/steps.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/policy/verdict.h"
#include "tests/load/load.h"

#define ROUND_MS 100
#define MOST_ROUNDS 300

enum judgement { VIOLATIONS, BAD_PINS, BAD_READS, STUCK };

static u64 found(const struct mm_load_result *r, enum judgement what)
{
	switch (what) {
	case VIOLATIONS: return r->violations;
	case BAD_PINS: return r->bad_pins;
	case BAD_READS: return r->bad_reads;
	default: return r->stuck;
	}
}

// Rounds with one seed after the other, until one finds it.
static void expect_found(const char *policy, const char *flush, enum judgement what)
{
	struct mm_load_result r = { 0 };

	oracle_expect_violations(true);
	for (unsigned i = 0; i < MOST_ROUNDS && !found(&r, what); i++)
		if (!EXPECT_EQ(run_mm_load(policy_find(policy), flush_find(flush), test_seed() + i, ROUND_MS, &r), 0))
			break;
	oracle_expect_violations(false);
	EXPECT(found(&r, what));
	EXPECT(!mm_load_clean(&r));
}

static void expect_clean(const char *policy, const char *flush)
{
	struct mm_load_result r;

	EXPECT_EQ(run_mm_load(policy_find(policy), flush_find(flush), test_seed(), ROUND_MS, &r), 0);
	EXPECT(mm_load_evidence(&r));
	if (!mm_load_clean(&r)) {
		test_fail(__FILE__, __LINE__, "table_free=%s tlb_flush=%s without a step taken out", policy, flush);
		mm_load_print(&r);
	}
}

#define CONVICTS(name, mutant, policy, flush, what) \
	TEST(convicts, name, NEEDS_CPUS2 | NEEDS_SLOW_OK) \
	{ \
		if (!steps_on) \
			SKIP("only under sched="); \
		expect_clean(policy, flush); \
		mutant_set(mutant, true); \
		expect_found(policy, flush, what); \
		mutant_set(mutant, false); \
	} \
	_Static_assert(1, "")

CONVICTS(a_page_of_the_frames_next_owner, walk_no_leaf_recheck, "rcu-sync", "ipi", BAD_PINS);
CONVICTS(a_page_in_a_table_that_is_away, walk_no_parent_recheck, "rcu-sync", "ipi", BAD_PINS);
CONVICTS(a_page_in_a_table_that_was_away, walk_no_moves_recheck, "rcu-sync", "ipi", BAD_PINS);
CONVICTS(an_older_page_of_the_same_address, lazy_no_settle, "rcu-sync", "lazy", BAD_READS);
CONVICTS(tables_that_nobody_frees, hazard_no_retry, "hazard", "ipi", STUCK);
CONVICTS(a_sweep_that_claims_too_much, lazy_late_generation, "rcu-sync", "lazy", VIOLATIONS);

// Here a walker reads a freed table while it is poisoned. ThreadSanitizer would report that as a race.
#ifndef __SANITIZE_THREAD__
CONVICTS(a_walk_that_an_nmi_walks_in, targeted_one_slot, "targeted", "ipi", VIOLATIONS);
CONVICTS(a_way_without_memory, rcu_fallback_no_sync, "rcu", "ipi", VIOLATIONS);
CONVICTS(table_pointers_that_only_x86_drops, flush_leaf_only, "rcu", "ipi", VIOLATIONS);
CONVICTS(an_nmi_that_serves_too_much, nmi_late_ticket, "hazard", "nmi", VIOLATIONS);
#endif
