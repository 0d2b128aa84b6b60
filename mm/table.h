// SPDX-License-Identifier: MIT
// The life of a table page (DESIGN 2). One way in to its policy, one way out:
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
// page.private counts the non-zero entries of a LIVE table, under the space's lock.
#pragma once
#include "kernel/panic.h"
#include "lab/counter.h"
#include "lab/trace.h"
#include "mm/space.h"

// page.private of a table that was unlinked to be freed: it holds a credit (mm/pending.h); it holds no entry, and so is all
// zero (a root has the kernel's half). All zero rests on the processor's way with A and D: it sets them by an atomic operation
// that finds the entry present (SDM vol. 3, 4.8), so never in one that has been cleared. Xeon Phi x200, by erratum, may.
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
// FLUSHED -> QUIESCED -> FREE, when the policy says that nobody can be inside any more. The list ends empty. The oracle looks;
// checking builds poison the pages and keep them in quarantine for a while.
void tables_free(struct list *tables, const struct table_policy *policy);
// UNLINKED -> FLUSHED: the flush is over, and they are the policy's. The list ends empty. May sleep, as the policy's `free`.
static __always_inline void tables_flushed(struct list *tables, struct space *s, const struct table_policy *freer)
{
	list_for_each(it, tables)
		table_set_state(list_entry(it, struct page, link), TABLE_UNLINKED, TABLE_FLUSHED);
	if (!list_empty(tables))
		freer->free(s, tables);
}

// Of collapse and split. QUIESCED: no walker and no hardware is inside, so the table may be written to.
void table_put_back(struct page *table);	// QUIESCED -> LIVE: the same entries at the same place. No new birth
// Kept for later, QUIESCED all the while. It waits for nobody: its next step is table_reuse() or table_free_deposit().
// The oracle and the adversary look, as at FREE.
void table_deposit(struct page *table, const struct table_policy *policy);
// QUIESCED -> LIVE, as if allocated anew: its entries are about to get another meaning. The oracle looks, as at FREE.
void table_reuse(struct page *table, const struct table_policy *policy);
void table_free_deposit(struct page *table, const struct table_policy *policy);	// QUIESCED -> FREE
u64 tables_waiting(void);		// unlinked and not yet FREE, all CPUs
