// SPDX-License-Identifier: MIT
// table_free=rcu-proxy: the grace period runs beside the flush (KVM's TDP MMU). The other policies by RCU ask for it when
// the flush is over, and the tables wait for the two in turn. Here each table is queued as its flush begins, and the CPU
// that flushes is itself a reader until the flush has ended, as a proxy for the hardware:
//
//	freeing side                                     RCU
//	------------                                     ---
//	clear the entries
//	preemption off: a read side begins
//	call_rcu(each table's own head)
//	flush; the tables are FLUSHED                    this CPU has no quiescent state in here
//	preemption on: the read side ends
//	                                                 each CPU has had a quiescent state: callback, FREE
//
// The callback comes after the flush: in its grace period, which had not begun when the table was queued, each CPU has had
// a quiescent state; this CPU's comes after the queueing and not inside the read side, so after the flush. It comes after
// every walk that could have read the entries, because call_rcu() comes after they were cleared. Both orders are needed:
// a table queued before its entry is cleared may be found by a walker of whom the grace period knows nothing; a read side
// that ends before the flush lets the callback free what a CPU still has cached.
//
// A grace period that is under way, or that a tick begins during the flush, has run for the length of the flush when that
// ends. Otherwise the next tick begins it, and nothing is gained.
//
// Such a flush is never deferred, and nothing is allocated: the head lies in the table's descriptor, as under rcu-page.
#include "kernel/panic.h"
#include "lab/oracle.h"
#include "mm/table.h"
#include "mm/walk_body.h"

static const struct table_policy rcu_proxy_policy;

static void proxy_quiesced(struct rcu_head *head)
{
	struct page *table = container_of(head, struct page, rcu);

	if (CHECK && READ_ONCE(table->table_state) != TABLE_FLUSHED) {
		oracle_report(&(const struct violation){ .kind = VIOLATION_UNFLUSHED, .policy = rcu_proxy_policy.name,
			.flush = "-", .seen_by = "callback", .table = page_to_phys(table), .level = table->table_level });
		call_rcu(head, proxy_quiesced);		// it may not be freed yet
		return;
	}
	table_free_one(table, &rcu_proxy_policy);
}

static void rcu_proxy_begin(struct space *space, struct list *tables)
{
	ASSERT(!preemptible());		// the read side, until rcu_proxy_free()
	list_for_each(it, tables)
		call_rcu(&list_entry(it, struct page, link)->rcu, proxy_quiesced);
}

// The callbacks are on their way, and have not come yet: preemption is still off.
static void rcu_proxy_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	ASSERT(!preemptible());
	list_init(tables);
}

static void rcu_proxy_wait(struct space *space) { synchronize_rcu(); }

DEFINE_TABLE_POLICY(rcu_proxy, "rcu-proxy",
	.lineage = "KVM's TDP MMU, Linux 5.18 (2022)",
	.walker = WALKER_PREEMPT_OFF,
	.waits = WAIT_OWN,
	.begin = rcu_proxy_begin,
	.free = rcu_proxy_free,
	.wait = rcu_proxy_wait,
	.drain = rcu_barrier);
