// SPDX-License-Identifier: MIT
// What back-ends report that leave the flush to a hypervisor: nobody, if it serves the hypercall; if it refuses, the CPUs
// that get an IPI instead. A test plays the hypervisor, so none is needed.
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/flush/flush.h"
#include "tests/mm/help.h"
#include "tests/mm/told.h"

#define FOR_EACH_HYPERCALL(it) FOR_EACH_BACKEND(it) if ((*it)->unseen)

#if CHECK

static struct {
	bool serves;
	u32 calls;
	struct cpumask targets;		// of the last one
} hypervisor;

// It flushes whatever a CPU is doing, as an NMI does.
static bool play_hypervisor(const struct flush *f, const struct cpumask *targets)
{
	struct cpumask proved = { 0 };

	hypervisor.calls++;
	cpumask_copy(&hypervisor.targets, targets);
	if (hypervisor.serves)
		flush_find("nmi")->flush(f, targets, &proved);
	EXPECT(cpumask_empty(&proved));
	return hypervisor.serves;
}

static u64 fallbacks(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.flush_hv_fallbacks + c.flush_xen_fallbacks;
}

// One unmap that frees tables, while other CPUs run in the space and take whatever call comes. Returns how many of them
// its policy is told of as proved.
static unsigned proved_of(const struct flush_backend *b, unsigned others, bool serves)
{
	struct mm_resident r[2] = { { .s = mm_populated(&mm_told_policy, b, PAGE_SIZE) } };
	struct thread *t[2];
	u64 fell_back = fallbacks();
	struct mm_told told;

	if (!EXPECT(r[0].s))
		return 0;
	for (unsigned i = 0; i < others; i++) {
		r[i].s = r[0].s;
		t[i] = mm_thread("resident", mm_reside, &r[i], mm_other_cpu(i));
		if (EXPECT(t[i]))
			spin_until(load_acquire(&r[i].there), "the resident", -1);
	}
	hypervisor.serves = serves;
	hypervisor.calls = 0;
	flush_hypercall_hook = play_hypervisor;
	EXPECT_EQ(space_unmap(r[0].s, BASE, PAGE_SIZE), 0);
	flush_hypercall_hook = NULL;
	told = mm_told;			// … and of the root, when the space ends
	EXPECT_EQ(hypervisor.calls, 1);
	EXPECT_EQ(fallbacks() - fell_back, serves ? 0 : 1);
	EXPECT(told.any && cpumask_weight(&hypervisor.targets) == others);
	for (unsigned i = 0; i < others; i++) {
		EXPECT(cpumask_test(&hypervisor.targets, mm_other_cpu(i)));
		EXPECT(!cpumask_weight(&told.proved) || cpumask_test(&told.proved, mm_other_cpu(i)));
		store_release(&r[i].go, 1u);
		mm_join(t[i]);
	}
	space_put(r[0].s);
	return cpumask_weight(&told.proved);
}

static void report(unsigned others)
{
	u64 violations = oracle_violations();

	FOR_EACH_HYPERCALL(b) {
		EXPECT_EQ(proved_of(*b, others, true), 0);
		EXPECT_EQ(proved_of(*b, others, false), others);
	}
	EXPECT_EQ(oracle_violations() - violations, 0);		// and the reports are true
}

TEST(flush_hypercall, served_proves_nobody_refused_proves_the_called, NEEDS_CPUS2) { report(1); }
TEST(flush_hypercall, two_are_called_and_proved, NEEDS_CPUS4) { report(2); }

// A hypercall that was served is no proof because it might have been refused.
TEST(flush_hypercall, fallback_that_did_not_happen_is_no_proof, NEEDS_CPUS2)
{
	oracle_expect_violations(true);
	mutant_set(hyperv_claims_fallback, 1);
	mutant_set(xen_claims_fallback, 1);
	FOR_EACH_HYPERCALL(b) {
		u64 violations = oracle_violations();

		EXPECT_EQ(proved_of(*b, 1, true), 1);
		EXPECT_EQ(oracle_violations() - violations, 1);
	}
	mutant_set(hyperv_claims_fallback, 0);
	mutant_set(xen_claims_fallback, 0);
	oracle_expect_violations(false);
}
#endif
