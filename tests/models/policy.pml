// SPDX-License-Identifier: MIT
// The table-free policies: ENTER, STEP, EXIT of the walker on CPU 0; unlink(), policy_free() and policy_wait() of
// the freeing side on CPU 1. Included after flush.pml.
//
// Models: mm/policy/*.c, table_batch_defer(), pte_xchg() and the order of mm/gather.c.

#if POLICY == EPOCH
byte sampled, sampled_nmi;		// the words of CPU 0 when the freeing side looked
#define COUNT_UP(word, value) LD(word, value); ST(word, value + 1)
#endif
#if POLICY == RCU_PROXY
bit is_queued, is_flushed;		// the table's callback waits for a grace period; the table is FLUSHED
#endif

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
#elif POLICY == TARGETED || POLICY == AUTO
	IRQ_SAVE;
#ifndef targeted_no_publish
	ST(slot, 1);
#endif
#ifndef targeted_no_fence_walker
	MB();
#endif
#elif POLICY == EPOCH
#ifndef epoch_no_enter
	COUNT_UP(slot, scratch);	// odd: inside
#endif
#ifndef epoch_no_fence_walker
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
#elif defined(epoch_exit_early)
	COUNT_UP(slot, scratch);
	ok = true
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
#elif POLICY == TARGETED || POLICY == AUTO
	ST(slot, 0);
	IRQ_RESTORE;
#elif POLICY == HAZARD
	ST(slot, 0);
#elif POLICY == EPOCH && !defined(epoch_no_enter) && !defined(epoch_exit_early)
	COUNT_UP(slot, scratch);
#else
	skip
#endif
}
#undef me

// ---- The freeing side ----------------------------------------------------------------------------------------------
#define me 1
inline unlink(scratch)
{
#ifdef epoch_samples_early
	epoch_sample();
#endif
#ifdef no_fence_freer
	ST(ENTRY, NO_TABLE);
#else
	XCHG(ENTRY, NO_TABLE, scratch);
#endif
#ifdef epoch_samples_before_flush
	epoch_sample();
#endif
}

inline fence_freer()
{
#if defined(no_fence_freer) || defined(targeted_no_fence_freer) || defined(hazard_no_fence_freer)
	skip
#elif defined(epoch_no_fence_freer)
	skip
#else
	MB()
#endif
}

inline scan_slot(found)
{
	fence_freer();
	LD(SLOT, found);
#if defined(NESTED) && !defined(auto_skips_nmi)
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

inline epoch_sample()
{
	fence_freer();
	LD(SLOT, sampled);
#ifdef NESTED
	LD(NESTED_SLOT, sampled_nmi)
#endif
}

#define HAS_LEFT(word, value) (!(value & 1) || VIEW(word) != value)

// Looks again and again, at each word by itself.
inline epoch_poll()
{
	AWAIT(SLOT, HAS_LEFT(SLOT, sampled));
#ifdef NESTED
	AWAIT(NESTED_SLOT, HAS_LEFT(NESTED_SLOT, sampled_nmi));
	sampled_nmi = 0;
#endif
	sampled = 0
}

// What is deferred is looked at by a later free, at any time, as if this one had gone on polling; and after a grace
// period by the callback, which then finds that all have left.
inline epoch_free()
{
#if !defined(epoch_samples_early) && !defined(epoch_samples_before_flush)
	epoch_sample();
#endif
	if
	:: epoch_poll()
	:: !HAS_LEFT(SLOT, sampled) ->
#ifndef epoch_one_look
		grace_period();
		assert(HAS_LEFT(SLOT, sampled));
#ifdef NESTED
		assert(HAS_LEFT(NESTED_SLOT, sampled_nmi));
#endif
		epoch_poll()
#else
		sampled = 0
#endif
	fi
}

#if POLICY == RCU_PROXY
inline proxy_begin()
{
	d_step { no_preempt[me] = 1; SAY("preemption off") };
	d_step { DRAINED -> is_queued = 1; gp_waits = 1; SAY("call_rcu() for the table") }
}

inline proxy_end()
{
	d_step { is_flushed = 1; SAY("the table is FLUSHED") };
#ifndef proxy_read_side_ends_early
	d_step { no_preempt[me] = 0; SAY("preemption on") };
#endif
	d_step { is_free -> is_flushed = 0 }
}

// A grace period that began with call_rcu() waits for the CPU that flushes, too.
proctype callback()
{
end:	do
	:: d_step { is_queued && !gp_waits && !no_preempt[me] -> is_queued = 0; is_free = 1;
		SAY("the callback, after a grace period: the table is FREE");
#ifndef no_claim
		assert(is_flushed);
#endif
		assert(robbed || !LEADS_ASTRAY(0)); assert(!LEADS_ASTRAY(1)) }
	od
}
#endif

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
#elif POLICY == AUTO
	if
	:: proved			// the flush was the wait
	:: else -> targeted_wait(scratch)
	fi
#elif POLICY == HAZARD
	hazard_scan(scratch)
#elif POLICY == EPOCH
	epoch_free()
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
#elif POLICY == TARGETED || POLICY == AUTO
	targeted_wait(scratch)
#elif POLICY == EPOCH
	epoch_sample();
	epoch_poll()
#else
	grace_period()
#endif
}
#undef me
