// SPDX-License-Identifier: MIT
// table_free=rcu: a walk with interrupts off is an RCU reader, so a table that was unlinked before a grace period began is
// unreachable when it has ended (HAVE_RCU_TABLE_FREE, 2012). The freer collects flushed tables in a batch page and leaves it to
// call_rcu(). If no batch page can be allocated, a sync IPI to all CPUs waits for every region with interrupts off,
// and one table is freed at a time: slow, but it needs no memory in order to free memory.
#include "kernel/counter.h"
#include "kernel/xcall.h"
#include "mm/table.h"
#include "mm/walk_body.h"

struct table_batch {
	struct rcu_head rcu;
	u64 nr;
	struct page *tables[(PAGE_SIZE - sizeof(struct rcu_head) - sizeof(u64)) / sizeof(void *)];
};
_Static_assert(sizeof(struct table_batch) <= PAGE_SIZE, "a batch is one frame");

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
	page_put(virt_to_page(b));
}

static void rcu_free(struct space *space, struct list *tables)
{
	while (!list_empty(tables)) {
		struct page *frame = page_alloc(0, PAGE_KERNEL, 0);

		if (unlikely(!frame)) {
			count(table_fallbacks);
			sync_ipi(NULL);		// the flush has already been done by the gather
			rcu_free_one(list_entry(list_pop_front(tables), struct page, link));
			continue;
		}
		struct table_batch *b = page_to_virt(frame);

		for (b->nr = 0; b->nr < ARRAY_SIZE(b->tables) && !list_empty(tables); b->nr++)
			b->tables[b->nr] = list_entry(list_pop_front(tables), struct page, link);
		call_rcu(&b->rcu, rcu_free_batch);
	}
}

static void rcu_wait(struct space *space) { synchronize_rcu(); }

DEFINE_TABLE_POLICY(rcu,
	.lineage = "HAVE_RCU_TABLE_FREE, Linux 2012",
	.walker = WALKER_IRQS_OFF,
	.waits = WAIT_OWN);
