// SPDX-License-Identifier: MIT
// The life of a table page: allocation, states, the FREE step, quarantine.
#include "mm/table.h"
#include "lab/counter.h"
#include "kernel/lib.h"
#include "lab/mutant.h"
#include "kernel/panic.h"
#include "kernel/spinlock.h"
#include "lab/oracle.h"
#include "mm/pending.h"
#include "lab/swmmu.h"
#include "mm/walk_body.h"

// Its bit 0 is clear: an entry of a freed table is never present, for software and hardware alike.
#define POISON_BYTE 0x5a
#define POISON_WORD 0x5a5a5a5a5a5a5a5aull

STALL_DEFINE(table_freeing);	// marked FREE, not yet given back
MUTANT_DEFINE(deposit_unseen);	// nobody looks who is in a table that is kept
MUTANT_DEFINE(reuse_unseen);	// … or becomes another one
MUTANT_DEFINE(credit_before_free);

struct page *__hot table_alloc(int level)
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

void table_put_back(struct page *table)
{
	table_set_state(table, TABLE_QUIESCED, TABLE_LIVE);
	count(tables_kept);
}

void table_deposit(struct page *table, const struct table_policy *policy)
{
	ASSERT(READ_ONCE(table->table_state) == TABLE_QUIESCED);
	ASSERT(table->private == PT_ENTRIES);	// full, which is neither TABLE_CREDITED nor TABLE_EMPTIED
	count(tables_kept);
	if (!CHECK || MUTANT(deposit_unseen))
		return;
	smp_mb();	// QUIESCED is visible before the slots are read: pairs with oracle_publish()
	oracle_table_reused(table, policy);
	swmmu_table_freed(table, policy);
}

void table_reuse(struct page *table, const struct table_policy *policy)
{
	table_set_state(table, TABLE_QUIESCED, TABLE_LIVE);
	if (!CHECK)
		return;
	WRITE_ONCE(table->birth, table->birth + 1);
	smp_mb();	// the new birth is visible before the slots are read: pairs with oracle_publish()
	if (!MUTANT(reuse_unseen))
		oracle_table_reused(table, policy);
}

void table_free_deposit(struct page *table, const struct table_policy *policy)
{
	count_add(tables_kept, -1ull);
	table_free(table, policy);
}

u64 tables_waiting(void)
{
	u64 freed = 0, unlinked = 0;

	for_each_cpu(cpu)	// freed first: one that is both unlinked and freed in between must not go negative
		freed += READ_ONCE(per_cpu(counters, cpu).tables_freed) + READ_ONCE(per_cpu(counters, cpu).tables_kept);
	for_each_cpu(cpu)
		unlinked += READ_ONCE(per_cpu(counters, cpu).tables_unlinked);
	return unlinked > freed ? unlinked - freed : 0;	// a deposit's end is counted twice, not at once
}

static __always_inline void count_free(int level)
{
	count(tables_freed);
	if (level == 1)
		count(frees_l1);
	else if (level == 2)
		count(frees_l2);
	else if (level == 3)
		count(frees_l3);
	else
		count(frees_l4);
}

// Freed tables stay poisoned for a while, so that a walker which should not be there finds poison and not somebody's
// data.
#define QUARANTINE_PAGES 64
#define LEAVING_MOST 1024	// when no grace period ends for long, rather lose sight of a few than hold all memory
static struct {
	struct spinlock lock;
	u32 next, count, leaving;
	u64 spoiled;
	const struct page *to_be_spoiled;	// by a test
	struct page *ring[QUARANTINE_PAGES];
} quarantine = { .lock = SPINLOCK_INIT("quarantine", RANK_SLAB) };

MUTANT_DEFINE(quarantine_no_grace_period);
MUTANT_DEFINE(quarantine_no_poison);
MUTANT_DEFINE(quarantine_forgives);	// what was written to is given on
MUTANT_DEFINE(quarantine_reuses_hit);	// … and what was found in use
MUTANT_DEFINE(emptied_is_believed);	// a table that is said to hold no entry is not looked at

static void spoilt(const struct page *table, const char *what)
{
	fetch_add(&quarantine.spoiled, 1);
	if (table != READ_ONCE(quarantine.to_be_spoiled))
		warn_at(__FILE__, __LINE__, what);
}

static void quarantine_leave(struct page *table)
{
	const u64 *words = page_to_virt(table);

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(u64); i++) {
		if (words[i] != POISON_WORD && !MUTANT(quarantine_forgives)) {
			spoilt(table, "a freed table was written to");
			return;		// never reused
		}
	}
	memset(page_to_virt(table), 0, PAGE_SIZE);
	page_set_zeroed(table);
	page_put(table);
}

static void grace_period_over(struct rcu_head *head)
{
	fetch_sub(&quarantine.leaving, 1);
	quarantine_leave(container_of(head, struct page, rcu));
}

// A grace period after the table left the ring: a walker that has read an entry naming it, and not yet published it to
// the oracle, still finds it FREE. (Every walker has at least preemption off, so it is a reader, whatever its policy.)
static void quarantine_release(struct page *table)
{
	if (fetch_add(&quarantine.leaving, 1) < LEAVING_MOST && !MUTANT(quarantine_no_grace_period))
		call_rcu(&table->rcu, grace_period_over);
	else
		grace_period_over(&table->rcu);
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
		quarantine_release(oldest);
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
			quarantine_release(table);
	}
	rcu_barrier();
}

u64 table_quarantine_spoiled(void) { return READ_ONCE(quarantine.spoiled); }
void table_quarantine_expect(const struct page *table) { WRITE_ONCE(quarantine.to_be_spoiled, table); }
u64 table_quarantine_count(void) { return READ_ONCE(quarantine.count); }

// FREE it is: does anybody still read it?
static void inspect(struct page *table, const struct table_policy *policy)
{
	bool hit = table->private & TABLE_EMPTIED && !page_is_zero(table) && !MUTANT(emptied_is_believed);

	if (hit)
		spoilt(table, "a table that was said to hold no entry holds one");
	smp_mb();	// FREE is visible before the slots are read: pairs with oracle_publish()
	STALL(table_freeing, NULL, 0, table->table_level);
	hit |= oracle_table_freed(table, policy) | swmmu_table_freed(table, policy);

	if (!MUTANT(quarantine_no_poison))
		memset(page_to_virt(table), POISON_BYTE, PAGE_SIZE);
	if (!hit || MUTANT(quarantine_reuses_hit))	// one that was hit is never reused
		quarantine_add(table);
}

// QUIESCED -> FREE, all but the putting. Its frame remembers that it holds zeroes: the next table need not be zeroed.
static __always_inline void table_die(struct page *table, const struct table_policy *policy)
{
	table_set_state(table, TABLE_QUIESCED, TABLE_FREE);
	count_free(table->table_level);
	if (CHECK)
		inspect(table, policy);
	else if (table->private & TABLE_EMPTIED)
		page_set_zeroed(table);
}

void table_free(struct page *table, const struct table_policy *policy)
{
	bool credited = table->private & TABLE_CREDITED;	// the descriptor may soon be another's

	table_die(table, policy);
	if (!CHECK)
		page_put(table);
	if (credited)
		pending_put(1);		// last: who gets the credit may unlink another page at once
}

// FLUSHED -> FREE, all but the putting. Returns its credit.
static __always_inline unsigned quiesced_dies(struct page *table, const struct table_policy *policy)
{
	unsigned credit = table->private & TABLE_CREDITED;

	if (MUTANT(credit_before_free) && credit) {
		pending_put(credit);
		credit = 0;
	}
	table_set_state(table, TABLE_FLUSHED, TABLE_QUIESCED);
	table_die(table, policy);
	return credit;
}

// Credits are put back last, as above.
void __hot tables_free(struct page *const *tables, unsigned n, const struct table_policy *policy)
{
	unsigned credits = 0;

	for (unsigned i = 0; i < n; i++)
		credits += quiesced_dies(tables[i], policy);
	if (!CHECK)
		page_put_many(tables, n);
	if (credits)
		pending_put(credits);
}

void __hot policy_free_now(struct list *tables, const struct table_policy *policy)
{
	unsigned credits = 0;

	list_for_each_safe(it, tables)		// checking builds may soon link it elsewhere
		credits += quiesced_dies(list_entry(it, struct page, link), policy);
	if (CHECK)
		list_init(tables);
	else
		page_put_list(tables);
	if (credits)
		pending_put(credits);
}
