// SPDX-License-Identifier: MIT
// Contract: a hypervisor that flushes other CPUs' TLBs on request, by Hyper-V's hypercalls.
#pragma once
#include "kernel/cpumask.h"
#include "kernel/types.h"

const char *arch_hyperv_missing(void);	// NULL: it offers that; otherwise why not
void arch_hyperv_init_cpu(void);	// each CPU, before it enables interrupts
// Let the hypervisor flush the TLBs of all `targets` for the space with that root: `pages` pages of `level` from
// `start` on, or all that is not global if pages is 0. On return all have flushed, or flush before their next
// instruction. False: it refuses, and some may not have flushed. The own CPU is not in `targets`. Preemption off, not
// in an interrupt handler; IRQs on, because the hypervisor may wait for the other CPUs.
bool arch_hyperv_flush(paddr_t root, vaddr_t start, u64 pages, int level, const struct cpumask *targets);
// For tests: use the extended forms (sets of any processors) although the short ones (the first 64) would do.
void arch_hyperv_extend(bool always);
