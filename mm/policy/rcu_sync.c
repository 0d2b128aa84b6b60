// SPDX-License-Identifier: MIT
// table_free=rcu-sync: as rcu, but where no batch can be allocated the freeing side waits for a grace period instead of
// interrupting every CPU (Linux, February 2026). A sync IPI waits only for regions with interrupts off; a grace period
// also waits for those with preemption off. So the walker may keep interrupts on (Linux keeps them off all the same).
// The wait sleeps, so no spinlock may be held: struct table_policy demands that of every `free`.
#include "lab/counter.h"
#include "lab/mutant.h"
#include "mm/policy/batch.h"
#include "mm/table.h"
#include "mm/walk_body.h"

static const struct table_policy rcu_sync_policy;

static void rcu_sync_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	if (likely(table_batch_defer(tables, &rcu_sync_policy)))
		return;
	count(table_fallbacks);
	if (!MUTANT(rcu_sync_fallback_no_wait))	// no batch: free without waiting
		synchronize_rcu();	// the flush has already been done by the gather
	tables_free(tables, &rcu_sync_policy);
}

static void rcu_sync_wait(struct space *space) { synchronize_rcu(); }

DEFINE_TABLE_POLICY(rcu_sync, "rcu-sync",
	.lineage = "Linux, February 2026",
	.walker = WALKER_PREEMPT_OFF,
	.waits = WAIT_OWN,
	.free = rcu_sync_free,
	.wait = rcu_sync_wait,
	.drain = rcu_barrier);
