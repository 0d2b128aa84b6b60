// SPDX-License-Identifier: MIT
// A process has no hypervisor to ask.
#include <arch/hyperv.h>
#include "kernel/panic.h"

const char *arch_hyperv_missing(void) { return "the host build has no hypervisor"; }
void arch_hyperv_init_cpu(void) { }

bool arch_hyperv_flush(paddr_t root, vaddr_t start, u64 pages, int level, const struct cpumask *targets)
{
	panic("a hypercall without a hypervisor");
}

void arch_hyperv_extend(bool always) { }
