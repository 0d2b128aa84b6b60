// SPDX-License-Identifier: MIT
// table_free=rcu: a walk with interrupts off is an RCU reader, so a table that was unlinked before a grace period began
// is unreachable when it has ended (HAVE_RCU_TABLE_FREE, 2012). The freer collects flushed tables in a batch and leaves
// it to call_rcu(). If no batch can be allocated, a sync IPI to all CPUs waits for every region with interrupts off,
// and one table is freed at a time: slow, but it needs no memory in order to free memory.
#include "kernel/counter.h"
#include "kernel/xcall.h"
#include "mm/slab.h"
#include "mm/table.h"
#include "mm/walk_body.h"

// As large as what it holds, up to a frame: most unmaps free three tables at the most.
struct table_batch {
	struct rcu_head rcu;
	u64 nr;
	struct page *tables[];
};
#define BATCH_MAX ((PAGE_SIZE - sizeof(struct table_batch)) / sizeof(struct page *))

static const struct table_policy rcu_policy;

static __always_inline void rcu_enter(struct walk_state *w) { w->flags = irq_save(); }
static __always_inline bool rcu_step(struct walk_state *w, struct page *child) { return true; }
static __always_inline void rcu_exit(struct walk_state *w) { irq_restore(w->flags); }

static void rcu_free_one(struct page *table)
{
	table_set_state(table, TABLE_FLUSHED, TABLE_QUIESCED);
	table_free(table, &rcu_policy);
}

static void rcu_free_batch(struct rcu_head *head)
{
	struct table_batch *b = container_of(head, struct table_batch, rcu);

	for (u64 i = 0; i < b->nr; i++)
		rcu_free_one(b->tables[i]);
	kfree(b);
}

// Move as many tables as a batch holds into one; NULL: no memory.
static struct table_batch *rcu_batch(struct list *tables)
{
	struct table_batch *b;
	u64 n = 0;

	list_for_each(it, tables)
		if (++n == BATCH_MAX)
			break;
	b = kmalloc(sizeof(*b) + n * sizeof(b->tables[0]));
	if (!b)
		return NULL;
	for (b->nr = 0; b->nr < n; b->nr++)
		b->tables[b->nr] = list_entry(list_pop_front(tables), struct page, link);
	return b;
}

static void rcu_free(struct space *space, struct list *tables)
{
	while (!list_empty(tables)) {
		struct table_batch *b = rcu_batch(tables);

		if (likely(b)) {
			call_rcu(&b->rcu, rcu_free_batch);
			continue;
		}
		count(table_fallbacks);
		sync_ipi(NULL);		// the flush has already been done by the gather
		rcu_free_one(list_entry(list_pop_front(tables), struct page, link));
	}
}

static void rcu_wait(struct space *space) { synchronize_rcu(); }

DEFINE_TABLE_POLICY(rcu,
	.lineage = "HAVE_RCU_TABLE_FREE, Linux 2012",
	.walker = WALKER_IRQS_OFF,
	.waits = WAIT_OWN);
