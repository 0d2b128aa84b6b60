// SPDX-License-Identifier: MIT
// table_free=example: what check_onefile.py adds to a copy of the tree as mm/policy/example.c. Walkers are RCU readers,
// because preemption is off. Each table waits for a grace period of its own: its descriptor holds the callback's head.
#include "lab/mutant.h"
#include "mm/table.h"
#include "mm/walk_body.h"

static const struct table_policy example_policy;

static void example_quiesced(struct rcu_head *head)
{
	table_free_one(container_of(head, struct page, rcu), &example_policy);
}

static void example_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	while (!list_empty(tables)) {
		struct page *table = list_entry(list_pop_front(tables), struct page, link);

		if (MUTANT(example_no_grace_period))
			example_quiesced(&table->rcu);
		else
			call_rcu(&table->rcu, example_quiesced);
	}
}

static void example_wait(struct space *space) { synchronize_rcu(); }

DEFINE_TABLE_POLICY(example, "example",
	.lineage = "Linux's pte_free_defer(), 2023",
	.walker = WALKER_PREEMPT_OFF,
	.waits = WAIT_OWN,
	.free = example_free,
	.wait = example_wait,
	.drain = rcu_barrier);
