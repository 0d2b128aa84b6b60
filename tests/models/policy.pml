// SPDX-License-Identifier: MIT
// The table-free policies: ENTER, STEP, EXIT of the walker on CPU 0; unlink(), policy_free() and policy_wait() of
// the freeing side on CPU 1. Included after flush.pml.
//
// Models: mm/policy/*.c, table_batch_defer(), pte_xchg() and the order of mm/gather.c.

#define IRQ_SAVE d_step { irqs_off[me] = 1; SAY("interrupts off") }
#define IRQ_RESTORE d_step { irqs_off[me] = 0; SAY("interrupts on") }

// ---- The walker -----------------------------------------------------------------------------------------------------
#define me 0
inline enter(slot, scratch)
{
#if POLICY == POLICY_IPI
	IRQ_SAVE;
	if
#ifndef ipi_no_join
	:: !holds_root[0] ->
#ifdef ipi_join_no_fence
		ST(WALKERS, 1);
#else
		OR(WALKERS, 1, scratch);
#endif
#endif
	:: else
	fi;
#elif POLICY == RCU
	IRQ_SAVE;
#elif POLICY == TARGETED
	IRQ_SAVE;
#ifndef targeted_no_publish
	ST(slot, 1);
#endif
#ifndef targeted_no_fence_walker
	MB();
#endif
#else
	skip
#endif
}

// slot: the CPU's slot at this nesting. ok: the walk may read the table.
inline step(slot, scratch, ok)
{
#if POLICY == HAZARD
	ST(slot, TABLE);
#ifndef hazard_no_fence_walker
	MB();
#endif
#ifdef hazard_no_reread
	ok = true
#else
	LD(ENTRY, scratch);
	ok = (scratch == TABLE)
#endif
#else
	ok = true
#endif
}

inline exit(slot, scratch)
{
#if POLICY == POLICY_IPI
	if
	:: VIEW(WALKERS) -> CLEAR(WALKERS, 1, scratch);
	:: else
	fi;
	IRQ_RESTORE;
#elif POLICY == RCU
	IRQ_RESTORE;
#elif POLICY == TARGETED
	ST(slot, 0);
	IRQ_RESTORE;
#elif POLICY == HAZARD
	ST(slot, 0);
#else
	skip
#endif
}
#undef me

// ---- The freeing side ----------------------------------------------------------------------------------------------
#define me 1
inline unlink(scratch)
{
#ifdef no_fence_freer
	ST(ENTRY, NO_TABLE);
#else
	XCHG(ENTRY, NO_TABLE, scratch);
#endif
}

inline scan_slot(found)
{
#if !defined(no_fence_freer) && !defined(targeted_no_fence_freer) && !defined(hazard_no_fence_freer)
	MB();
#endif
	LD(SLOT, found);
#ifdef NESTED
	if
	:: !found -> LD(NESTED_SLOT, found);
	:: else
	fi;
#endif
}

inline targeted_wait(found)
{
	scan_slot(found);
	if
	:: found -> sync_ipi()
	:: else
	fi;
}

inline hazard_scan(found)
{
	scan_slot(found);
	do
	:: found -> grace_period(); scan_slot(found)	// retired; its callback scans again
	:: else -> break
	od;
	found = 0
}

// Returns when the tables may be FREE.
inline policy_free(scratch)
{
#if POLICY == RCU
	if
#ifdef batch_no_grace_period
	:: skip
#else
	:: grace_period()
#endif
#ifdef rcu_fallback_no_sync
	:: skip
#else
	:: sync_ipi()		// no memory for a batch
#endif
	fi;
#elif POLICY == RCU_SYNC
	if
	:: grace_period()
#ifdef rcu_sync_fallback_no_wait
	:: skip
#endif
	fi;
#elif POLICY == RCU_PAGE
#ifdef rcu_page_no_grace_period
	skip
#else
	grace_period()
#endif
#elif POLICY == TARGETED
	targeted_wait(scratch)
#elif POLICY == HAZARD
	hazard_scan(scratch)
#else
	skip			// immediate, ipi: the flush was the wait
#endif
}

// The same for a table that is reused without being freed.
inline policy_wait(scratch)
{
#if POLICY == IMMEDIATE
	skip
#elif POLICY == POLICY_IPI
	sync_ipi()
#elif POLICY == TARGETED
	targeted_wait(scratch)
#else
	grace_period()
#endif
}
#undef me
