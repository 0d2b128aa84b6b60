// SPDX-License-Identifier: MIT
// The end of the suite (its files' tests run in the reverse order of their names): nothing may flush after it.
#include <arch/hyperv.h>
#include <arch/xen.h>
#include "kernel/lib.h"
#include "kernel/steal.h"
#include "lab/counter.h"
#include "lab/test.h"

// The counts since boot, for the comparison with the hypervisor's own.
TEST(nested, totals, 0)
{
	struct counters c;

	if (steal_owner() != STEAL_KVM && arch_hyperv_missing() && arch_xen_missing())
		SKIP("needs a hypervisor that keeps steal-time records");
	counters_snapshot(&c);
	kprintf("# nested: guest flush_pv_flagged=%llu flush_hv_calls=%llu flush_hv_fallbacks=%llu flush_xen_calls=%llu hvm_op=%llu\n",
		(unsigned long long)c.flush_pv_flagged, (unsigned long long)c.flush_hv_calls,
		(unsigned long long)c.flush_hv_fallbacks, (unsigned long long)c.flush_xen_calls,
		(unsigned long long)(c.flush_xen_calls + arch_xen_params()));
}
