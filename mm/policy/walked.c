// SPDX-License-Identifier: MIT
// Who walks a space? See walked.h.
#include "mm/policy/walked.h"

static bool names(const struct walked_slots *s, const struct space *space)
{
	for (unsigned i = 0; i < WALKED_NESTINGS; i++)
		if (load_acquire(&s->walked[i]) == space)
			return true;
	return false;
}

bool walked_find(const struct walked_slots *slots, const struct space *space, const struct cpumask *but,
		 struct cpumask *found)
{
	bool any = false;

	smp_mb();	// A: the entries are cleared before the slots are read; pairs with walked_publish()
	for_each_cpu(cpu) {
		if ((but && cpumask_test(but, cpu)) || likely(!names(per_cpu_ptr(slots, cpu), space)))
			continue;
		if (!any)
			cpumask_zero(found);
		any = true;
		cpumask_set(found, cpu);
	}
	return any;
}
