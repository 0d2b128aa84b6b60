// SPDX-License-Identifier: MIT
// The HEADER line.
#include "lab/header.h"
#include "kernel/atomic.h"
#include "kernel/cmdline.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/time.h"
#include "kernel/version.h"
#include "lab/mutant.h"
#include "mm/flush/flush.h"
#include "mm/policy/policy.h"
#include <arch/machine.h>

// The inside of a JSON string. The command line and the processor's brand string may contain any character.
static const char *json_text(char *buf, size_t size, const char *s)
{
	size_t len = 0;

	buf[0] = '\0';
	for (; *s && len + 7 < size; s++)
		len += (size_t)ksnprintf(buf + len, size - len, *s == '"' || *s == '\\' ? "\\%c" :
					 *s < ' ' || *s > '~' ? "\\u%04x" : "%c", (u8)*s);
	return buf;
}

void header_print(void)
{
	static u32 printed;
	static char merged[2 * CMDLINE_MAX + 2], cmdline[2 * sizeof(merged)], brand[128];

	if (xchg(&printed, 1u))
		return;
	cmdline_merge(arch_cmdline_boot(), arch_cmdline_override(), merged, sizeof(merged));
	json_text(cmdline, sizeof(cmdline), merged);
	json_text(brand, sizeof(brand), arch_cpu_brand());
	kprintf("HEADER {\"v\":1,\"version\":\"%s\",\"commit\":\"%s\",\"build\":\"%s\",\"compiler\":\"%s\",\"mutant\":\"%s\","
		"\"cmdline\":\"%s\",\"cpus\":%u,\"mem_mib\":%llu,\"firmware\":\"%s\",\"hypervisor\":\"%s\",\"apic\":\"%s\",\"clock\":\"%s\",\"tsc_khz\":%llu,"
		"\"hz\":%u,\"seed\":%llu,\"cpu\":\"%s\",\"features\":\"%s\",\"table_free\":\"%s\",\"tlb_flush\":\"%s\"}\n",
		quiesce_version, quiesce_commit, BUILD_NAME, COMPILER, mutant_name(), cmdline, nr_cpus,
		(unsigned long long)page_ram_bytes() >> 20, arch_firmware(), arch_hypervisor(), arch_apic_mode(),
		arch_clock_name(), (unsigned long long)arch_cycles_hz() / 1000, tick_hz, (unsigned long long)opt_seed, brand,
		arch_cpu_features(), policy_current_name(), flush_current_name());
}
