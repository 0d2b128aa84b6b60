// SPDX-License-Identifier: MIT
// table_free=keep: no table is freed while its space lives (Haiku, DragonFly). An unmap that empties a table
// leaves it linked, for the next page that is mapped there. So a walk needs nothing, and an unmap frees and waits for
// nothing: the floor that the other policies are measured against. The price is memory: a space keeps a table for each
// 2 MiB that it has ever touched.
//
// One kind of table must go all the same: an empty one, or a subtree without a leaf, in whose place a large leaf or a
// moved table is to stand. It is detached and flushed before the new entry appears (tree_make()), and comes here.
//
//	walker                                    freeing side
//	------                                    ------------
//	preemption off                            *entry = 0; flush; lay the table aside, unwritten
//	value = *entry                            *entry = the large leaf
//	read the table that it names              …
//	preemption on                             the space ends, or leaves this policy: free
//
// A walker that has read the old entry finds an empty table for as long as it looks: an answer that was true when it
// read the entry. When the space ends no walker is left. When a switch gives the space another policy, walkers may be
// left that have read the entry before the table was laid aside: a grace period waits for them, because each keeps
// preemption off (switch.c).
#include "kernel/panic.h"
#include "lab/mutant.h"
#include "mm/gather.h"
#include "mm/table.h"
#include "mm/tree.h"
#include "mm/walk_body.h"

static const struct table_policy keep_policy;

static bool has_ended(const struct space *s) { return !READ_ONCE(s->users); }

static void keep_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	bool at_once = has_ended(space);	// nobody is left to walk

	if (MUTANT(keep_frees_aside))	// a table that has made way is freed under its walkers
		at_once = true;
	if (at_once) {
		tables_free(tables, &keep_policy);
		return;
	}
	ASSERT(mutex_held(&space->lock));
	tables_lay_aside(&space->aside, tables);
}

static void aside_quiesced(struct rcu_head *head)
{
	table_free_one(container_of(head, struct page, rcu), &keep_policy);
}

// By each table's own callback head, so that no memory is needed.
static void free_after_grace_period(struct list *tables)
{
	struct list *it;

	while ((it = list_pop_front(tables)))
		call_rcu(&list_entry(it, struct page, link)->rcu, aside_quiesced);
}

static void prune(struct space *space)
{
	struct gather g;

	gather_begin(&g, space);
	tree_prune(&g, 0, USER_END);
	gather_end(&g);
}

static void keep_leave(struct space *space)
{
	tables_leave_aside(&space->aside);
	if (has_ended(space)) {
		tables_free(&space->aside, &keep_policy);
		return;
	}
	if (MUTANT(keep_leaves_at_once))	// no grace period: a walker may be inside what was laid aside
		tables_free(&space->aside, &keep_policy);
	free_after_grace_period(&space->aside);
	if (!MUTANT(keep_no_prune_on_switch))	// empty tables stay linked under a policy that does not expect them
		prune(space);		// under the new freer
}

static void keep_wait(struct space *space) { synchronize_rcu(); }

DEFINE_TABLE_POLICY(keep, "keep",
	.lineage = "Haiku, DragonFly: tables go when the space ends",
	.walker = WALKER_PREEMPT_OFF,
	.waits = WAIT_OWN,
	.keeps = true,
	.free = keep_free,
	.wait = keep_wait,
	.drain = rcu_barrier,
	.leave = keep_leave);
