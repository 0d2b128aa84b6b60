// SPDX-License-Identifier: MIT
// Who walks a space? See walked.h.
#include "mm/policy/walked.h"
#include "kernel/xcall.h"

void walked_find(const struct walked_slots *slots, const struct space *space, const struct cpumask *but,
		 struct cpumask *found)
{
	cpumask_zero(found);
	smp_mb();	// A: the entries are cleared before the slots are read; pairs with walked_publish()
	for_each_cpu(cpu) {
		if (but && cpumask_test(but, cpu))
			continue;
		for (unsigned i = 0; i < WALKED_NESTINGS; i++)
			if (load_acquire(&per_cpu_ptr(slots, cpu)->walked[i]) == space)
				cpumask_set(found, cpu);
	}
}

// This thread may have moved to one of these CPUs. sync_ipi() leaves that one out: its walk has ended, because we run
// there with interrupts on.
void walked_wait(const struct cpumask *walkers)
{
	if (!cpumask_empty(walkers))
		sync_ipi(walkers);
}
