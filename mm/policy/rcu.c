// SPDX-License-Identifier: MIT
// table_free=rcu: a walk with interrupts off is an RCU reader, so a table that was unlinked before a grace period began
// is unreachable when it has ended (HAVE_RCU_TABLE_FREE, 2011). The freeing side collects flushed tables in a batch and
// passes it to call_rcu(). If no batch can be allocated, a sync IPI to all CPUs waits for every region with interrupts
// off, and the tables are freed at once: slow, but it needs no memory in order to free memory.
#include "kernel/xcall.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "mm/policy/batch.h"
#include "mm/table.h"
#include "mm/walk_body.h"

static const struct table_policy rcu_policy;

static void policy_rcu_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	if (likely(table_batch_defer(tables, &rcu_policy)))
		return;
	count(table_fallbacks);
	if (!MUTANT(rcu_fallback_no_sync))	// no batch: free without waiting
		sync_ipi(NULL);		// the flush has already been done by the gather
	tables_free(tables, &rcu_policy);
}

static void policy_rcu_wait(struct space *space) { synchronize_rcu(); }

DEFINE_TABLE_POLICY(rcu, "rcu",
	.lineage = "HAVE_RCU_TABLE_FREE, Linux 2011, on x86 2017",
	.walker = WALKER_IRQS_OFF,
	.waits = WAIT_OWN,
	.free = policy_rcu_free,
	.wait = policy_rcu_wait,
	.drain = rcu_barrier);
