// SPDX-License-Identifier: MIT
// The life of a table page (DESIGN 2), with one way to its policy and one way out:
//
//	table_alloc    gather_table    tables_flushed             tables_free
//	    |               |               |                    |           |
//	    v               v               v                    v           v
//	  LIVE -------> UNLINKED -------> FLUSHED ----------> QUIESCED ---> FREE
//	                          flush          policy->free
//
// Collapse and split (huge.c) wait by policy->wait, and do not free the table:
//
//	QUIESCED ---> LIVE (table_put_back)
//	QUIESCED, kept (table_deposit) ---> LIVE (table_reuse), or FREE (table_free_deposit)
//
// A policy that keeps tables (table_policy.keeps) lays aside those that something else has taken the place of:
//
//	FLUSHED, kept (tables_lay_aside) ---> QUIESCED ---> FREE (tables_leave_aside, tables_free)
//
// page.private counts the non-zero entries of a LIVE table, under the space's lock.
#pragma once
#include "kernel/panic.h"
#include "lab/counter.h"
#include "lab/trace.h"
#include "mm/space.h"

// Flags in page.private of a table that was unlinked to be freed. TABLE_CREDITED: it holds a credit (mm/pending.h).
// TABLE_EMPTIED: it holds no entry, so it is all zero (never set for a root, which has the kernel's half). All zero
// relies on how the processor sets A and D: by an atomic operation that finds the entry present (SDM vol. 3, 4.8), so
// never in a cleared entry. The Xeon Phi x200 may, by an erratum.
enum { TABLE_CREDITED = 1 << 0, TABLE_EMPTIED = 1 << 1 };

// A zeroed LIVE table, or NULL.
struct page *table_alloc(int level);
static __always_inline void table_set_state(struct page *table, enum table_state from, enum table_state to)
{
	ASSERT(READ_ONCE(table->table_state) == from);
	WRITE_ONCE(table->table_state, to);
	trace_table(to, page_to_phys(table), table->table_level);
	if (to == TABLE_UNLINKED)
		count(tables_unlinked);
}
// FLUSHED -> QUIESCED -> FREE; the policy calls it when no walker can be inside any more. The list ends empty. In
// checking builds the oracle looks for walkers, and the pages are poisoned and kept in quarantine for a while.
void tables_free(struct list *tables, const struct table_policy *policy);
// The same for one table: for callbacks whose head lies in the table's descriptor (page.rcu).
static __always_inline void table_free_one(struct page *table, const struct table_policy *policy)
{
	struct list one;

	list_init(&one);
	list_push_back(&one, &table->link);
	tables_free(&one, policy);
}
// UNLINKED -> FLUSHED: the flush is over; passes the tables to the policy. The list ends empty. May sleep, as the
// policy's `free` may; `proved` as there (policy/policy.h).
static __always_inline void tables_flushed(struct list *tables, struct space *s, const struct table_policy *freer,
					   const struct cpumask *proved)
{
	list_for_each(it, tables)
		table_set_state(list_entry(it, struct page, link), TABLE_UNLINKED, TABLE_FLUSHED);
	if (!list_empty(tables))
		freer->free(s, tables, proved);
}

// For collapse and split. QUIESCED: no walker and no hardware is inside, so the table may be written to.
void table_put_back(struct page *table);	// QUIESCED -> LIVE: the same entries at the same place. No new birth
// Keep the table for later. It stays QUIESCED and has nothing left to wait for: next comes table_reuse() or
// table_free_deposit(). The oracle and the adversary check it, as at FREE.
void table_deposit(struct page *table, const struct table_policy *policy);
// QUIESCED -> LIVE, as if allocated anew: its entries are about to get another meaning. The oracle checks it, as at
// FREE.
void table_reuse(struct page *table, const struct table_policy *policy);
void table_free_deposit(struct page *table, const struct table_policy *policy);	// QUIESCED -> FREE
// For a policy that keeps tables: they stay FLUSHED on the list *aside until their space leaves the policy. Nobody waits
// for that, so they return their credits here: an unmapper that waited for them would wait for ever. `tables` ends empty.
void tables_lay_aside(struct list *aside, struct list *tables);
// Tables that were laid aside are on their way to FREE from here on; next comes tables_free().
void tables_leave_aside(const struct list *aside);
u64 tables_waiting(void);		// unlinked, not yet FREE, and not kept; all CPUs
