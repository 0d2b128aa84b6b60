// SPDX-License-Identifier: MIT
// Contract: a hypervisor that tells which CPUs it has preempted. KVM keeps steal-time records (kernel/steal.h); Xen keeps
// run-state areas of its own layout, and takes no requests in them.
#pragma once
#include "kernel/types.h"

const char *arch_steal_missing(void);		// NULL: it offers the records; otherwise why not
const char *arch_steal_flush_missing(void);	// NULL: it also honours STEAL_FLUSH_TLB in them; otherwise why not
// From now on the hypervisor writes this CPU's record: 64 bytes, aligned to 64, in the direct map, never freed.
void arch_steal_enable(void *record);

const char *arch_runstate_missing(void);	// NULL: it offers the areas; otherwise why not
bool arch_runstate_enable(void);		// the same for this CPU's area. False: the hypervisor refuses
bool arch_runstate_preempted(unsigned cpu);	// a hint: it may be out of date at once. Any context
u64 arch_runstate_since(unsigned cpu);		// when it entered its present state, ns; 0: the area was never written
u64 arch_runstate_stolen_ns(unsigned cpu);	// how long that CPU has been preempted so far. Any context
