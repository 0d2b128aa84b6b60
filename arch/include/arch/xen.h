// SPDX-License-Identifier: MIT
// Contract: a hypervisor that flushes all CPUs' TLBs on request, by Xen's hypercall.
#pragma once
#include "kernel/types.h"

const char *arch_xen_missing(void);	// NULL: it offers that; otherwise why not
// Let the hypervisor flush the TLBs of all of this machine's CPUs, all that they hold. On return each has flushed, or
// flushes before its next instruction. False: it refuses, and some may not have flushed. Preemption off, not in an
// interrupt handler; IRQs on, because the hypervisor may wait for the other CPUs.
bool arch_xen_flush(void);
u64 arch_xen_params(void);	// how often another hypercall of the same number has been made, for the comparison of counts
