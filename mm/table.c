// SPDX-License-Identifier: MIT
// The life of a table page: allocation, states, the FREE step, quarantine.
#include "mm/table.h"
#include "kernel/counter.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/spinlock.h"
#include "mm/oracle.h"
#include "mm/walk_body.h"

// Its bit 0 is clear: an entry of a freed table is never present, for software and hardware alike.
#define POISON_BYTE 0x5a
#define POISON_WORD 0x5a5a5a5a5a5a5a5aull

STALL_DEFINE(table_freeing);	// marked FREE, not yet given back

struct page *table_alloc(int level)
{
	struct page *table = page_alloc(0, PAGE_TABLE, PG_ZERO);

	if (!table)
		return NULL;
	table->private = 0;
	table->table_level = (u8)level;
	WRITE_ONCE(table->table_state, TABLE_LIVE);
	count(tables_allocated);
	return table;
}

void table_set_state(struct page *table, enum table_state from, enum table_state to)
{
	ASSERT(READ_ONCE(table->table_state) == from);
	WRITE_ONCE(table->table_state, to);
	if (to == TABLE_UNLINKED)
		count(tables_unlinked);
}

u64 tables_waiting(void)
{
	u64 freed = 0, unlinked = 0;

	for_each_cpu(cpu)	// freed first: one that is both unlinked and freed in between must not go negative
		freed += READ_ONCE(per_cpu(counters, cpu).tables_freed);
	for_each_cpu(cpu)
		unlinked += READ_ONCE(per_cpu(counters, cpu).tables_unlinked);
	return unlinked - freed;
}

static void count_free(int level)
{
	count(tables_freed);
	switch (level) {
	case 1: count(frees_l1); break;
	case 2: count(frees_l2); break;
	case 3: count(frees_l3); break;
	default: count(frees_l4); break;
	}
}

// Freed tables stay poisoned for a while, so that a walker which should not be there finds poison and not somebody's
// data.
#define QUARANTINE_PAGES 64
static struct {
	struct spinlock lock;
	u32 next, count;
	struct page *ring[QUARANTINE_PAGES];
} quarantine = { .lock = SPINLOCK_INIT("quarantine", RANK_SLAB) };

// A grace period after the table left the ring: a walker that has read an entry naming it, and not yet published it to
// the oracle, still finds it FREE. (Every walker has at least preemption off, so it is a reader, whatever its policy.)
static void quarantine_release(struct rcu_head *head)
{
	struct page *table = container_of(head, struct page, rcu);
	const u64 *words = page_to_virt(table);

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(u64); i++) {
		if (words[i] != POISON_WORD) {
			warn_at(__FILE__, __LINE__, "a freed table was written to");
			return;		// never reused
		}
	}
	page_put(table);
}

static void quarantine_add(struct page *table)
{
	irqflags_t flags = spin_lock_irqsave(&quarantine.lock);
	struct page *oldest = quarantine.ring[quarantine.next];

	quarantine.ring[quarantine.next] = table;
	quarantine.next = (quarantine.next + 1) % QUARANTINE_PAGES;
	quarantine.count += !oldest;
	spin_unlock_irqrestore(&quarantine.lock, flags);
	if (oldest)
		call_rcu(&oldest->rcu, quarantine_release);
}

void table_quarantine_drain(void)
{
	for (unsigned i = 0; i < QUARANTINE_PAGES; i++) {
		irqflags_t flags = spin_lock_irqsave(&quarantine.lock);
		struct page *table = quarantine.ring[i];

		quarantine.ring[i] = NULL;
		quarantine.count -= !!table;
		spin_unlock_irqrestore(&quarantine.lock, flags);
		if (table)
			call_rcu(&table->rcu, quarantine_release);
	}
	rcu_barrier();
}

u64 table_quarantine_count(void) { return READ_ONCE(quarantine.count); }

void table_free(struct page *table, const struct table_policy *policy)
{
	count_free(table->table_level);
	table_set_state(table, TABLE_QUIESCED, TABLE_FREE);
	if (!CHECK) {
		page_put(table);
		return;
	}
	smp_mb();	// FREE is visible before the slots are read: pairs with oracle_publish()
	STALL(table_freeing, NULL, 0, table->table_level);
	bool hit = oracle_table_freed(table, policy);

	memset(page_to_virt(table), POISON_BYTE, PAGE_SIZE);
	if (!hit)	// one that was hit is never reused
		quarantine_add(table);
}

void policy_free_now(struct list *tables, const struct table_policy *policy)
{
	while (!list_empty(tables)) {
		struct page *table = list_entry(list_pop_front(tables), struct page, link);

		table_set_state(table, TABLE_FLUSHED, TABLE_QUIESCED);
		table_free(table, policy);
	}
}
