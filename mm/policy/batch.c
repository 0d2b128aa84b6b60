// SPDX-License-Identifier: MIT
// A batch of table pages: see batch.h.
#include "mm/policy/batch.h"
#include "lab/mutant.h"
#include "mm/frame/slab.h"
#include "mm/table.h"

struct table_batch {
	struct rcu_head rcu;
	const struct table_policy *policy;
	struct list tables;
};

static void batch_free(struct rcu_head *head)
{
	struct table_batch *b = container_of(head, struct table_batch, rcu);

	tables_free(&b->tables, b->policy);
	kfree(b);
}

bool table_batch_defer(struct list *tables, const struct table_policy *policy)
{
	struct table_batch *b = kmalloc(sizeof(*b));

	if (unlikely(!b))
		return false;
	b->policy = policy;
	list_init(&b->tables);
	list_splice(&b->tables, tables);
	if (MUTANT(batch_no_grace_period))	// freed at once
		batch_free(&b->rcu);
	else
		call_rcu(&b->rcu, batch_free);
	return true;
}
