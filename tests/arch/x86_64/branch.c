// SPDX-License-Identifier: MIT
// The branch that is patched while the system runs (arch/x86_64/branch.c), when an unrelated NMI arrives in the middle.
// What the branch is for is tested with the trace (tests/lab/trace/trace.c).
#include "kernel/cpumask.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "lab/trace.h"
#include <arch/ipi.h>

#if CHECK

static void nmi_here(struct stall_point *p, void *unused) { arch_send_ipi(cpu_id(), IPI_NMI); }

// The unrelated NMI reaches the CPU that switches the branch before that CPU has sent NMIs to the others: its handler
// must not begin to wait for them.
TEST(branch, nmi_in_the_middle_of_a_switch, NEEDS_CHECK | NEEDS_CPUS2)
{
	stall_point("branch_asked")->action = nmi_here;
	stall_arm(stall_point("branch_asked"), NULL, 0, 0, 0);
	EXPECT(trace_start());
	EXPECT_EQ(stall_point("branch_asked")->hits, 1);
	stall_release(stall_point("branch_asked"));
	trace_stop();
}
#endif
