// SPDX-License-Identifier: MIT
// table_free=immediate: the unsafe control. The walker does nothing but keep preemption off; the freeing side flushes
// and frees at once. A walker that has read the old parent entry answers the flush in the middle of its walk and then
// reads a freed table. This policy exists to prove that the detectors detect.
#include "mm/table.h"
#include "mm/walk_body.h"

static const struct table_policy immediate_policy;

// A frame that was freed under the walker may by now be anything: what it then reads must not crash the kernel.
static __always_inline bool immediate_step(struct walk_state *w, int level, const pte_t *entry, pte_t value)
{
	return READ_ONCE(page_of(pte_addr(value))->kind) == PAGE_TABLE;
}

static void immediate_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	tables_free(tables, &immediate_policy);
}

DEFINE_TABLE_POLICY(immediate, "immediate",
	.lineage = "the unsafe control",
	.walker = WALKER_PREEMPT_OFF,
	.waits = WAIT_FLUSH,
	.distrusts = true,
	.step = immediate_step,
	.free = immediate_free);
