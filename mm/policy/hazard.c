// SPDX-License-Identifier: MIT
// table_free=hazard: hazard pointers (Michael 2004). A walker names each table of its path before it reads it; the
// freeing side keeps what is named.
//
//	walker, per level                         freeing side
//	-----------------                         ------------
//	value = *entry                            *entry = 0; flush
//	slot[level] = the table that it names     full barrier
//	full barrier                    <-A->     read all slots
//	*entry still that value? else restart     named: retire, look again later; not named: free
//	read the table, …
//	slot[…] = NULL (release)
//
// A: store buffering, forbidden by the two full barriers: either the freeing side finds the table named, or the walker
// finds the entry changed. The entry that is read again lies in a table that the walker has named and validated before,
// or in the root, which the space's count holds; but that table may be detached by now. Hence the rule of mm/gather.h:
// inside a detached subtree, too, each entry that names a table is cleared before that table is passed to the policy.
// If a lower entry were left, a walker in the detached upper table would validate it and walk into a freed one.
//
// Progress. A retired table is looked at again by every later `free`, and at the latest by an RCU callback: walkers keep
// preemption off, so those that could have read the entry before it was cleared have left after a grace period.
#include "kernel/panic.h"
#include "kernel/spinlock.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "mm/table.h"
#include "mm/tree.h"
#include "mm/walk_body.h"

#define NESTINGS 3	// task, interrupt, NMI: each may walk in the middle of a walk of the one before
struct hazards {
	struct page *named[NESTINGS][PT_LEVELS - 1];	// by level - 1; the root needs none
} __cacheline;
static DEFINE_PER_CPU(struct hazards, hazards);

static struct {
	struct spinlock lock;
	struct list tables;	// FLUSHED, named when last looked at
	bool any;		// the list is not empty. Written under the lock, read without
	bool armed;		// the callback is on its way
	struct rcu_head rcu;
	u64 waiting;		// tables passed to `free` and not yet FREE
} retired = { .lock = SPINLOCK_INIT("hazard retired", RANK_SLAB), .tables = LIST_INIT(retired.tables) };

static const struct table_policy hazard_policy;

static __always_inline struct page **own_hazards(void)
{
	unsigned nesting = in_nmi() ? 2 : in_irq() ? 1 : 0;

	if (MUTANT(hazard_one_level))	// a walk in an NMI takes the slots of the one that it has interrupted
		nesting = 0;
	return this_cpu_ptr(&hazards)->named[nesting];
}

static __always_inline bool hazard_step(struct walk_state *w, int level, const pte_t *entry, pte_t value)
{
	// The entry was read; the table that it names is not yet published
	STALL(hazard_read, w->space, 0, level + 1);
	// Release: the table that the slot named before (in a restart, or for an earlier page of a range) has been
	// read.
	store_release(&own_hazards()[level - 1], page_of(pte_addr(value)));
	smp_mb();	// A: named before the entry is read again; pairs with sort_out()
	if (MUTANT(hazard_no_reread))	// published, and not read again
		return true;
	if (likely(pte_same(pte_read(entry), value)))
		return true;
	w->restart = true;
	return false;
}

static __always_inline void hazard_exit(struct walk_state *w)
{
	struct page **named = own_hazards();

	for (unsigned i = 0; i < PT_LEVELS - 1; i++)
		store_release(&named[i], NULL);		// after the walk's reads
}

static bool is_named(const struct page *table)
{
	if (table->table_level == PT_LEVELS)
		return false;		// a root: its space has no user left
	for_each_cpu(cpu)
		for (unsigned n = 0; n < NESTINGS; n++)
			if (load_acquire(&per_cpu(hazards, cpu).named[n][table->table_level - 1]) == table)
				return true;
	return false;
}

static void hazard_retry(struct rcu_head *head);

// Move the tables that nobody names from one list to another.
static void sort_out(struct list *from, struct list *unnamed)
{
	smp_mb();	// A: the entries are cleared before the slots are read; pairs with hazard_step()
	list_for_each_safe(it, from) {
		if (!is_named(list_entry(it, struct page, link))) {
			list_remove(it);
			list_push_back(unnamed, it);
		}
	}
}

static u64 count_tables(const struct list *tables)
{
	u64 n = 0;

	list_for_each(it, tables)
		n++;
	return n;
}

static void free_unnamed(struct list *tables)
{
	u64 n = count_tables(tables);

	tables_free(tables, &hazard_policy);
	if (n)
		fetch_sub(&retired.waiting, n);
}

// Preemption is off until the callback is queued: others rely on it as soon as they find it armed.
static void retire(struct list *named)
{
	irqflags_t flags;
	bool arm;

	preempt_disable();
	flags = spin_lock_irqsave(&retired.lock);
	arm = !retired.armed;
	if (MUTANT(hazard_no_retry))	// no callback: retired tables wait for a later `free`
		arm = false;
	list_splice(&retired.tables, named);
	WRITE_ONCE(retired.any, true);
	retired.armed |= arm;
	spin_unlock_irqrestore(&retired.lock, flags);
	if (arm)
		call_rcu(&retired.rcu, hazard_retry);
	preempt_enable();
}

// Scan the slots again for every retired table (there are at most as many as slots that named one at the last scan).
// The lock is held from the scan to the verdict, and preemption is off until what was found free is FREE:
// hazard_drain() relies on both. True: something is still named.
static bool scan_retired(void)
{
	struct list unnamed;
	irqflags_t flags;
	bool left;

	if (!READ_ONCE(retired.any))
		return false;
	list_init(&unnamed);
	preempt_disable();
	flags = spin_lock_irqsave(&retired.lock);
	sort_out(&retired.tables, &unnamed);
	left = !list_empty(&retired.tables);
	WRITE_ONCE(retired.any, left);
	spin_unlock_irqrestore(&retired.lock, flags);
	STALL(hazard_found, NULL, 0, 0);	// found free and taken off the list, not yet FREE; preemption off
	free_unnamed(&unnamed);
	preempt_enable();
	return left;
}

static void hazard_retry(struct rcu_head *head)
{
	irqflags_t flags = spin_lock_irqsave(&retired.lock);
	struct list none;

	retired.armed = false;
	spin_unlock_irqrestore(&retired.lock, flags);
	list_init(&none);
	if (scan_retired())
		retire(&none);		// arms it again
}

static void assert_detached(const struct list *tables)
{
	if (!CHECK)
		return;
	if (MUTANT(tree_lower_entry_left))
		return;
	list_for_each(it, tables) {
		const struct page *table = list_entry(it, struct page, link);
		const pte_t *e = page_to_virt(table);

		unsigned n = table->table_level == 1 ? 0 : table->table_level == PT_LEVELS ? USER_ROOT_ENTRIES : PT_ENTRIES;

		for (unsigned i = 0; i < n; i++)
			ASSERT(!pte_present(pte_read(&e[i])));
	}
}

static void hazard_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	struct list unnamed;

	assert_detached(tables);
	fetch_add(&retired.waiting, count_tables(tables));
	scan_retired();
	list_init(&unnamed);
	sort_out(tables, &unnamed);
	if (!list_empty(tables))
		retire(tables);
	free_unnamed(&unnamed);
}

// Two grace periods are enough, whatever others retire meanwhile. After the first nobody names what was retired before
// it, so this scan finds each of those tables free, or another CPU's scan has. After the second that CPU has freed
// them, too.
static void hazard_drain(void)
{
	if (!load_acquire(&retired.waiting))	// pairs with free_unnamed()
		return;
	synchronize_rcu();
	STALL(hazard_draining, NULL, 0, 0);	// no walker is left of those that could have named what is retired
	scan_retired();
	synchronize_rcu();
}

// A slot names a table, not a space: the slots do not tell who is inside a space. But every walker is an RCU reader.
static void hazard_wait(struct space *space) { synchronize_rcu(); }

DEFINE_TABLE_POLICY(hazard, "hazard",
	.lineage = "hazard pointers, Michael 2004",
	.walker = WALKER_PREEMPT_OFF,
	.waits = WAIT_OWN,
	.step = hazard_step,
	.exit = hazard_exit,
	.free = hazard_free,
	.wait = hazard_wait,
	.drain = hazard_drain);
