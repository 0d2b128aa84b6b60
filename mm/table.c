// SPDX-License-Identifier: MIT
// The life of a table page: allocation, states, the FREE step.
#include "mm/table.h"
#include "kernel/panic.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/quarantine.h"
#include "lab/swmmu.h"
#include "mm/pending.h"

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
	if (!CHECK)
		return;
	if (MUTANT(deposit_unseen))	// a table that is kept is not checked for walkers
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
	if (!MUTANT(reuse_unseen))	// a table that is reused is not checked for walkers
		oracle_table_reused(table, policy);
}

u64 tables_waiting(void)
{
	u64 freed = 0, unlinked = 0;

	for_each_cpu(cpu)	// freed first: a table unlinked and freed between the loops must not make this negative
		freed += READ_ONCE(per_cpu(counters, cpu).tables_freed) + READ_ONCE(per_cpu(counters, cpu).tables_kept);
	for_each_cpu(cpu)
		unlinked += READ_ONCE(per_cpu(counters, cpu).tables_unlinked);
	return unlinked > freed ? unlinked - freed : 0;	// freeing a deposit changes two counters, one after the other
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

// The table is FREE now: does anybody still read it?
static void inspect(struct page *table, const struct table_policy *policy)
{
	bool hit = table->private & TABLE_EMPTIED && !page_is_zero(table);

	if (MUTANT(emptied_is_believed))	// a table flagged as emptied is not checked
		hit = false;
	if (hit)
		quarantine_spoilt(table, "a table marked as emptied holds an entry");
	smp_mb();	// FREE is visible before the slots are read: pairs with oracle_publish()
	STALL(table_freeing, NULL, 0, table->table_level);	// marked FREE, not yet given back
	hit |= oracle_table_freed(table, policy) | swmmu_table_freed(table, policy);
	quarantine_take(table, hit);
}

// QUIESCED -> FREE, except for putting the frame. The frame remembers that it holds zeroes, so that the next table in
// it need not be zeroed.
static __always_inline void table_die(struct page *table, const struct table_policy *policy)
{
	table_set_state(table, TABLE_QUIESCED, TABLE_FREE);
	count_free(table->table_level);
	if (CHECK)
		inspect(table, policy);
	else if (table->private & TABLE_EMPTIED)
		page_set_zeroed(table);
}

// A deposit holds no credit.
void table_free_deposit(struct page *table, const struct table_policy *policy)
{
	count_add(tables_kept, -1ull);
	table_die(table, policy);
	if (!CHECK)
		page_put(table);
}

// FLUSHED -> FREE, except for putting the frame. Returns the credit that the table held: 0 or 1.
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

void __hot tables_free(struct list *tables, const struct table_policy *policy)
{
	unsigned credits = 0;

	list_for_each_safe(it, tables)		// checking builds may soon link it elsewhere
		credits += quiesced_dies(list_entry(it, struct page, link), policy);
	if (CHECK)
		list_init(tables);
	else
		page_put_list(tables);
	if (credits)
		pending_put(credits);	// last: a CPU that gets the credit may unlink another page at once
}

void tables_lay_aside(struct list *aside, struct list *tables)
{
	unsigned n = 0, credits = 0;

	list_for_each(it, tables) {
		struct page *table = list_entry(it, struct page, link);

		ASSERT(READ_ONCE(table->table_state) == TABLE_FLUSHED);
		credits += table->private & TABLE_CREDITED;
		table->private &= ~(u64)TABLE_CREDITED;
		n++;
	}
	list_splice(aside, tables);
	count_add(tables_kept, n);
	if (credits)
		pending_put(credits);
}

void tables_leave_aside(const struct list *aside)
{
	unsigned n = 0;

	list_for_each(it, aside)
		n++;
	count_add(tables_kept, -(u64)n);
}
