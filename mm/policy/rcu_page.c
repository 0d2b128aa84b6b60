// SPDX-License-Identifier: MIT
// table_free=rcu-page: every table page carries its own callback head, in its descriptor, so that deferring needs no
// memory and there is no fallback (PT_RECLAIM). The price is one callback per table instead of one per batch. The
// walker is an RCU reader by keeping preemption off.
#include "kernel/lib.h"
#include "lab/mutant.h"
#include "mm/table.h"
#include "mm/walk_body.h"

static const struct table_policy rcu_page_policy;

static void page_quiesced(struct rcu_head *head)
{
	table_free_one(container_of(head, struct page, rcu), &rcu_page_policy);
}

// The mutant's: the head in the table's first words. They are zero again before the table is freed, so that only a
// walker could notice.
static void overlay_quiesced(struct rcu_head *head)
{
	struct page *table = virt_to_page(head);

	memset(head, 0, sizeof(*head));
	page_quiesced(&table->rcu);
}

static void rcu_page_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	while (!list_empty(tables)) {
		struct page *table = list_entry(list_pop_front(tables), struct page, link);

		if (MUTANT(rcu_page_no_grace_period))	// freed at once
			page_quiesced(&table->rcu);
		else if (MUTANT(rcu_page_head_in_table))	// the head overlays what walkers still read (sparc64)
			call_rcu(page_to_virt(table), overlay_quiesced);
		else
			call_rcu(&table->rcu, page_quiesced);
	}
}

static void rcu_page_wait(struct space *space) { synchronize_rcu(); }

DEFINE_TABLE_POLICY(rcu_page, "rcu-page",
	.lineage = "PT_RECLAIM, Linux 6.14 (2025)",
	.walker = WALKER_PREEMPT_OFF,
	.waits = WAIT_OWN,
	.free = rcu_page_free,
	.wait = rcu_page_wait,
	.drain = rcu_barrier);
