// SPDX-License-Identifier: MIT
// See asked.h.
#include "lab/asked.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/steal.h"
#include "lab/counter.h"
#include <arch/hyperv.h>
#include <arch/xen.h>

bool asked_print(void)
{
	struct counters c;

	if (steal_owner() != STEAL_KVM && arch_hyperv_missing() && arch_xen_missing())
		return false;
	counters_snapshot(&c);
	kprintf("# nested: guest ipi_xcall=%llu flush_pv_flagged=%llu flush_hv_calls=%llu flush_hv_fallbacks=%llu "
		"flush_xen_calls=%llu hvm_op=%llu\n",
		(unsigned long long)c.ipi_xcall, (unsigned long long)c.flush_pv_flagged,
		(unsigned long long)c.flush_hv_calls, (unsigned long long)c.flush_hv_fallbacks,
		(unsigned long long)c.flush_xen_calls, (unsigned long long)(c.flush_xen_calls + arch_xen_params()));
	return true;
}
