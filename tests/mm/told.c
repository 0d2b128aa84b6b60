// SPDX-License-Identifier: MIT
// See mm/told.h.
#include "tests/mm/told.h"
#include "mm/table.h"
#include "mm/walk_body.h"

#if CHECK

struct mm_told mm_told;

static void told_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	mm_told.times++;
	mm_told.any = proved;
	cpumask_zero(&mm_told.proved);
	if (proved)
		cpumask_copy(&mm_told.proved, proved);
	tables_free(tables, &mm_told_policy);
}

static void told_wait(struct space *space) { }

// Not registered: it is no value of table_free=, and no loop over all policies finds it.
DECLARE_WALK(told);
const struct table_policy mm_told_policy = {
	.name = "told",
	.lineage = "of these tests",
	.walker = WALKER_IRQS_OFF,
	.waits = WAIT_OWN,
	.free = told_free,
	.wait = told_wait,
	.walk = told_walk,
	.walk_one = { told_walk_read, told_walk_write },
};
DEFINE_WALK(told, mm_told_policy);
#endif
