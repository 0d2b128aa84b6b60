// SPDX-License-Identifier: MIT
// Hyper-V's flush hypercalls, as KVM or Xen offers them.
#include <arch/hyperv.h>
#include "lab/mutant.h"
#include "lab/test.h"
#include "tests/arch/nested/judge.h"

static const char *hyperv_missing(void)
{
	return arch_hyperv_missing() ? "needs Hyper-V's flush hypercalls" : NULL;
}

#if CHECK
TEST(nested, hyperv_unsafe, NEEDS_CHECK | NEEDS_CPUS4)
{
	if (hyperv_missing())
		SKIP(hyperv_missing());
	nested_judge_all("hyperv", false, NULL);
}

TEST(nested, hyperv_safe, NEEDS_CHECK | NEEDS_CPUS4)
{
	struct counters sum = { 0 };

	if (hyperv_missing())
		SKIP(hyperv_missing());
	nested_judge_all("hyperv", true, &sum);
	log_info("%lu flush hypercalls", sum.flush_hv_calls);
	EXPECT(sum.flush_hv_calls);
	EXPECT_EQ(sum.flush_hv_fallbacks, 0);
}

#endif

static void expect_calls(struct counters c, u64 calls, u64 lists, u64 extended, u64 fallbacks)
{
	EXPECT_EQ(c.flush_hv_calls, calls);
	EXPECT_EQ(c.flush_hv_lists, lists);
	EXPECT_EQ(c.flush_hv_extended, extended);
	EXPECT_EQ(c.flush_hv_fallbacks, fallbacks);
}

TEST(nested, hyperv_forms, NEEDS_CPUS2)
{
	if (hyperv_missing())
		SKIP(hyperv_missing());
	expect_calls(nested_one_of_each("hyperv"), 2, 1, 0, 0);
	arch_hyperv_extend(true);
	expect_calls(nested_one_of_each("hyperv"), 2, 1, 2, 0);
	arch_hyperv_extend(false);
}

#if CHECK
// The hypervisor refuses the hypercall: the back-end flushes by IPI instead.
TEST(nested, hyperv_fallback, NEEDS_CHECK | NEEDS_CPUS2)
{
	struct counters c;

	if (hyperv_missing())
		SKIP(hyperv_missing());
	mutant_set(hyperv_refuses, 1);
	c = nested_one_of_each("hyperv");
	mutant_set(hyperv_refuses, 0);
	expect_calls(c, 2, 0, 0, 2);
	EXPECT(c.ipi_xcall >= 2);
}
#endif
