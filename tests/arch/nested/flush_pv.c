// SPDX-License-Identifier: MIT
// The bug of 2012 under a real KVM, and its flag, by which it flushes for a CPU that it has preempted.
#include "kernel/steal.h"
#include "lab/test.h"
#include "tests/arch/nested/judge.h"

#define MOST_ROUNDS 20

#if CHECK
static const char *kvm_missing(void)
{
	if (steal_owner() != STEAL_KVM)
		return "needs a hypervisor that keeps steal-time records";
	return steal_missing() ?: nested_marks_busy_cpus() ? NULL : NESTED_MARKS_NONE;
}

TEST(nested, pv_unsafe, NEEDS_CHECK | NEEDS_CPUS4)
{
	if (kvm_missing())
		SKIP(kvm_missing());
	nested_judge_all("pv", false, NULL);
}

TEST(nested, pv_safe, NEEDS_CHECK | NEEDS_CPUS4)
{
	struct counters sum = { 0 };
	bool both = false;		// by the flag and by IPI: which CPU is preempted when is up to the hypervisor

	if (kvm_missing())
		SKIP(kvm_missing());
	for (unsigned i = 0; i < MOST_ROUNDS && !both && !test_failed(); i++) {
		nested_judge_all("pv", true, &sum);
		both = sum.flush_pv_flagged && sum.ipi_flush > sum.flush_pv_flagged;
	}
	log_info("of %lu shootdowns %lu were left to the hypervisor", sum.ipi_flush, sum.flush_pv_flagged);
	EXPECT(both);
}
#endif
