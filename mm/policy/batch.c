// SPDX-License-Identifier: MIT
// Batches of table pages: see policy/batch.h.
#include "mm/policy/batch.h"
#include "lab/mutant.h"
#include "mm/frame/slab.h"
#include "mm/table.h"

// As large as what it holds, up to a frame: most unmaps free three tables at the most.
struct table_batch {
	struct rcu_head rcu;
	const struct table_policy *policy;
	u64 nr;
	struct page *tables[];
};
#define BATCH_MAX ((PAGE_SIZE - sizeof(struct table_batch)) / sizeof(struct page *))

MUTANT_DEFINE(batch_no_grace_period);	// freed at once

void table_free_quiesced(struct page *table, const struct table_policy *policy)
{
	tables_free(&table, 1, policy);
}

static void batch_free(struct rcu_head *head)
{
	struct table_batch *b = container_of(head, struct table_batch, rcu);

	tables_free(b->tables, (unsigned)b->nr, b->policy);
	kfree(b);
}

// NULL: no memory.
static struct table_batch *batch_fill(struct list *tables, const struct table_policy *policy)
{
	struct table_batch *b;
	u64 n = 0;

	list_for_each(it, tables)
		if (++n == BATCH_MAX)
			break;
	b = kmalloc(sizeof(*b) + n * sizeof(b->tables[0]));
	if (!b)
		return NULL;
	b->policy = policy;
	for (b->nr = 0; b->nr < n; b->nr++)
		b->tables[b->nr] = list_entry(list_pop_front(tables), struct page, link);
	return b;
}

bool table_batch_defer(struct list *tables, const struct table_policy *policy)
{
	struct table_batch *b = batch_fill(tables, policy);

	if (unlikely(!b))
		return false;
	if (MUTANT(batch_no_grace_period))
		batch_free(&b->rcu);
	else
		call_rcu(&b->rcu, batch_free);
	return true;
}
