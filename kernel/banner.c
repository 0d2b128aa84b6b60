// SPDX-License-Identifier: MIT
// The first line.
#include "kernel/banner.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/version.h"
#include "lab/mutant.h"
#include "mm/flush/flush.h"
#include "mm/frame/page.h"
#include "mm/policy/policy.h"
#include <arch/machine.h>
#include <arch/time.h>

const char *banner(char *buf, size_t size, bool platform_known)
{
	char cpus[16] = "unknown";

	if (platform_known)
		ksnprintf(cpus, sizeof(cpus), "%u", nr_cpus);
	ksnprintf(buf, size, "quiesce %s: build=%s commit=%s mutant=%s cpus=%s mem=%lluM firmware=%s hypervisor=%s "
		  "apic=%s clock=%s paging=%d-level table_free=%s tlb_flush=%s\n",
		  quiesce_version, BUILD_NAME, quiesce_commit, mutant_name(), cpus, (unsigned long long)page_ram_bytes() >> 20,
		  arch_firmware(), arch_hypervisor(), platform_known ? arch_apic_mode() : "unknown",
		  platform_known ? arch_clock_name() : "unknown", PT_LEVELS, policy_current_name(),
		  flush_current_name());
	return buf;
}
