// SPDX-License-Identifier: MIT
// One table-free policy with one flush back-end: CPU 0 walks root entry -> table while CPU 1 unlinks, flushes and frees
// the table, and uses it again as another one. (Under `keep` another table takes its place, and it is laid aside until
// the space ends or changes its policy.)
//
// Models: walk_body(), walk_body_one(), walk_descend() (two levels); gather_flush(), flush_begun(),
// tlb_flush_gathered(), gathered_flushed(), tables_free(); what the included files name. Asserts what the oracle and
// the adversary assert: a walker reads no table that is FREE or of another birth, and no CPU's paging-structure cache
// leads to one.
//
//! pairs
//! slow *+pv *+hyperv *+xen nested-*
// The walker's half of each argument, and the step that the policy's name stands for.
//! ipi_no_join found POLICY=POLICY_IPI BACKEND=IPI
//! ipi_join_no_fence found POLICY=POLICY_IPI BACKEND=IPI
//! targeted_no_publish found POLICY=TARGETED BACKEND=IPI
//! targeted_no_fence_walker found POLICY=TARGETED BACKEND=IPI
//! hazard_no_reread found POLICY=HAZARD BACKEND=IPI
//! hazard_no_fence_walker found POLICY=HAZARD BACKEND=IPI
//! rcu_fallback_no_sync found POLICY=RCU BACKEND=IPI
//! rcu_sync_fallback_no_wait found POLICY=RCU_SYNC BACKEND=IPI
//! rcu_page_no_grace_period found POLICY=RCU_PAGE BACKEND=IPI
//! batch_no_grace_period found POLICY=RCU BACKEND=IPI
//! auto-no-publish found POLICY=AUTO BACKEND=IPI targeted_no_publish
//! auto-no-fence-walker found POLICY=AUTO BACKEND=IPI targeted_no_fence_walker
//! epoch_no_enter found POLICY=EPOCH BACKEND=IPI
//! epoch_no_fence_walker found POLICY=EPOCH BACKEND=IPI
//! epoch_exit_early found POLICY=EPOCH BACKEND=IPI
//! epoch_one_look found POLICY=EPOCH BACKEND=IPI
//! keep_frees_aside found POLICY=KEEP BACKEND=IPI
//! keep_leaves_at_once found POLICY=KEEP BACKEND=IPI
// auto: what a back-end claims to have proved. A shootdown that the CPU answers proves it of each target; a flush that
// leaves the CPU out, or interrupts it by an NMI, does not; and no flush proves it of a CPU that is no target.
//! flush_claims_targets equivalent POLICY=AUTO BACKEND=IPI
//! claims-targets-lazy equivalent POLICY=AUTO BACKEND=LAZY flush_claims_targets
//! claims-targets-pv found POLICY=AUTO BACKEND=PV flush_claims_targets
//! claims-targets-nmi found POLICY=AUTO BACKEND=NMI flush_claims_targets
//! claims-targets-hyperv found POLICY=AUTO BACKEND=HYPERV flush_claims_targets
//! claims-targets-xen found POLICY=AUTO BACKEND=XEN flush_claims_targets
//! hyperv_claims_fallback found POLICY=AUTO BACKEND=HYPERV
//! xen_claims_fallback found POLICY=AUTO BACKEND=XEN
//! flush_claims_alone found POLICY=AUTO BACKEND=IPI
//! auto_keeps_proof found POLICY=AUTO BACKEND=IPI
// epoch: the words are read after the unlink. The flush need not come between.
//! epoch_samples_early found POLICY=EPOCH BACKEND=IPI
//! epoch_samples_before_flush equivalent POLICY=EPOCH BACKEND=IPI
// rcu-proxy: the grace period begins after the unlink (OSv: before it), and cannot end before the flush (KVM 5.18: it
// could). The latter leads a CPU astray, whatever the callback asserts (no_claim).
//! proxy_queued_before_unlink found POLICY=RCU_PROXY BACKEND=IPI
//! proxy_read_side_ends_early found POLICY=RCU_PROXY BACKEND=IPI
//! proxy-ends-early-unasserted found POLICY=RCU_PROXY BACKEND=IPI proxy_read_side_ends_early no_claim
// The freeing side's half: the instruction that unlinks is LOCKed already, so on x86 each barrier after it is redundant
// for walkers. (A CPU that leaves lazy TLB mode needs that of the generation: tlb.pml.) Without any of them
// (no_fence_freer: the unlink is a plain store, too) each argument breaks.
//! ipi_no_fence_freer equivalent POLICY=POLICY_IPI BACKEND=IPI
//! targeted_no_fence_freer equivalent POLICY=TARGETED BACKEND=IPI
//! hazard_no_fence_freer equivalent POLICY=HAZARD BACKEND=IPI
//! auto-no-fence-freer equivalent POLICY=AUTO BACKEND=IPI targeted_no_fence_freer
//! epoch_no_fence_freer equivalent POLICY=EPOCH BACKEND=IPI
//! ipi_unlink_plain found POLICY=POLICY_IPI BACKEND=IPI ONLY_WALKER no_fence_freer
//! targeted_unlink_plain found POLICY=TARGETED BACKEND=IPI ONLY_WALKER no_fence_freer
//! hazard_unlink_plain found POLICY=HAZARD BACKEND=IPI ONLY_WALKER no_fence_freer
//! auto-unlink-plain found POLICY=AUTO BACKEND=IPI ONLY_WALKER no_fence_freer
//! epoch_unlink_plain found POLICY=EPOCH BACKEND=IPI ONLY_WALKER no_fence_freer
// A walk in an NMI that has interrupted a walk: it must leave the other's marks alone.
//! nested-targeted verified POLICY=TARGETED BACKEND=IPI NESTED
//! nested-hazard verified POLICY=HAZARD BACKEND=IPI NESTED
//! nested-auto verified POLICY=AUTO BACKEND=IPI NESTED
//! nested-auto-nmi verified POLICY=AUTO BACKEND=NMI NESTED
//! nested-epoch verified POLICY=EPOCH BACKEND=IPI NESTED
//! targeted_one_slot found POLICY=TARGETED BACKEND=IPI NESTED
//! hazard_one_level found POLICY=HAZARD BACKEND=IPI NESTED
//! auto-one-slot found POLICY=AUTO BACKEND=IPI NESTED targeted_one_slot
//! auto_skips_nmi found POLICY=AUTO BACKEND=IPI NESTED
//! epoch_one_level found POLICY=EPOCH BACKEND=IPI NESTED
// The flush.
//! flush_skips_lazy found POLICY=RCU BACKEND=IPI
//! flush_leaf_only found POLICY=RCU BACKEND=IPI
//! no_flush_without_leaf found POLICY=RCU BACKEND=IPI
//! gather_flush_last found POLICY=RCU BACKEND=IPI
// The unlink comes first: before the wait for the walkers (Redox OS), and before that wait begins (OSv).
//! tree_frees_before_unlink found POLICY=RCU BACKEND=IPI
//! tree_queues_before_unlink found POLICY=RCU BACKEND=IPI
//! nmi_no_flush found POLICY=RCU BACKEND=NMI
//! lazy_no_wait found POLICY=RCU BACKEND=LAZY
//! steal_no_flush found POLICY=RCU BACKEND=PV
//! steal_plain_store found POLICY=RCU BACKEND=PV
#define NCPU 2
#ifndef THEFTS
#define THEFTS 2
#endif
#ifndef WALKS
#define WALKS 2
#endif
mtype = { ENTRY, CPUS, WALKERS, SLOT, NMI_SLOT, ANSWERS, STEAL, REQUESTED, SERVED, DUE, POSTED, SWEPT };
#if defined(targeted_one_slot) || defined(hazard_one_level) || defined(epoch_one_level)
#define NESTED_SLOT SLOT
#else
#define NESTED_SLOT NMI_SLOT
#endif
#include "tso.pml"
#include "numbers.pml"
#include "machine.pml"
#include "flush.pml"
#include "policy.pml"

#define me 0
#if POLICY == KEEP && !defined(keep_frees_aside)
#define LAYS_ASIDE
bit walks_ended;
#define READ_TABLE(what) d_step { SAY(what); assert(!is_free) }	// a table that lies aside remains what it was
#else
#define READ_TABLE(what) d_step { SAY(what); assert(!is_free && birth == born) }
#endif

inline walk(slot)
{
	enter(slot, scratch);
	do
	:: d_step { value = VIEW(ENTRY); born = birth; printf("@0 reads ENTRY: %d\n", value) };
		if
		:: value == TABLE ->
			step(slot, scratch, ok);
			if
			:: ok ->
#if POLICY == HAZARD
				born = birth;	// whichever table is there now, it is held
#endif
				READ_TABLE("enters the table");
				READ_TABLE("reads the table's entry");
				break
			:: else
			fi
		:: else -> break
		fi
	od;
	exit(slot, scratch)
}

proctype walker() provided (TASK_RUNS)
{
	byte walks, value, born, scratch;
	bit ok;

	do
	:: walks < WALKS ->
		walks++;
		d_step { no_preempt[0] = 1; SAY("begins a walk, preemption off") };
		walk(SLOT);
		d_step { no_preempt[0] = 0; value = 0; born = 0; scratch = 0; ok = 0;
			SAY("has ended its walk, preemption on") };
	:: else -> break
	od
#ifdef LAYS_ASIDE
	; walks_ended = 1
#endif
}

#ifdef NESTED
proctype nested_walker()
{
	byte value, born, scratch;
	bit ok, irqs_were_off;

	d_step { !in_nmi -> in_nmi = 1; irqs_were_off = irqs_off[0]; SAY("takes an NMI that walks") };
	walk(NESTED_SLOT);
	d_step { in_nmi = 0; irqs_off[0] = irqs_were_off; value = 0; born = 0; scratch = 0; ok = 0; irqs_were_off = 0;
		SAY("returns from the NMI") }
}
#endif
#undef me

#define me 1
inline lay_aside()
{
	d_step { birth++; SAY("the table is laid aside; the next one in its place is another");
		assert(robbed || !LEADS_ASTRAY(0)); assert(!LEADS_ASTRAY(1)) }
}

// The space has lost its last user, or leaves this policy.
inline free_aside()
{
	if
	:: d_step { walks_ended && !robbed -> holds_root[0] = 0; holds_root[1] = 0; cached[0] = 0; cached[1] = 0;
		SAY("the space has lost its last user") }
#ifdef keep_leaves_at_once
	:: skip
#else
	:: grace_period()
#endif
	fi;
	d_step { is_free = 1; SAY("what lies aside is FREE"); assert(robbed || !cached[0]); assert(!cached[1]) }
}

inline make_free()
{
#ifdef tree_queues_before_unlink
	end_grace_period();
#else
	policy_free(a);
#endif
	d_step { is_free = 1; a = 0; SAY("the table is FREE");
#ifndef gather_flush_last
		targets = 0;
#endif
		assert(robbed || !LEADS_ASTRAY(0)); assert(!LEADS_ASTRAY(1)) }
}

proctype freer()
{
	byte targets, a;
	bit b, reused;

	do
	::
#ifdef proxy_queued_before_unlink
		proxy_begin();
#endif
#ifdef tree_queues_before_unlink
		begin_grace_period();
#endif
#ifndef tree_frees_before_unlink
		unlink(a);
#endif
#if POLICY == RCU_PROXY && !defined(proxy_queued_before_unlink)
		proxy_begin();
#endif
#ifdef proxy_read_side_ends_early
		d_step { no_preempt[me] = 0; SAY("preemption on") };
#endif
		read_masks(targets);
#if !defined(no_flush_without_leaf) && !defined(gather_flush_last)
		flush(targets, a, b);
#endif
#if POLICY == RCU_PROXY
		proxy_end();
		targets = 0;
#elif defined(LAYS_ASIDE)
		lay_aside();
		targets = 0;
#else
		make_free();
#endif
#ifdef gather_flush_last
		flush(targets, a, b);
		targets = 0;
#endif
#ifdef tree_frees_before_unlink
		unlink(a);
#endif
		if
		:: reused -> break
		:: else
		fi;
#ifdef LAYS_ASIDE
		reused = 1;
#else
		d_step { is_free = 0; birth++; reused = 1; SAY("the table is used again, zeroed") };
#endif
		XCHG(ENTRY, TABLE, a);
	od;
#ifdef LAYS_ASIDE
	free_aside()
#endif
}
#undef me

init
{
	atomic {
		if	// how CPU 0 holds the space
		:: skip				// not at all: it walks from outside
		:: holds_root[0] = 1; mem[CPUS] = 1
		:: holds_root[0] = 1; mem[CPUS] = 1; is_lazy = 1
		fi;
		holds_root[1] = 1;
		mem[ENTRY] = TABLE;
		run walker(); run freer(); run interrupts();
#if POLICY == RCU_PROXY
		run callback();
#endif
#ifdef NESTED
		run nested_walker();
#endif
#if BACKEND == NMI
		run nmi_handler()
#endif
#if BACKEND == PV || BACKEND == HYPERV || BACKEND == XEN
		run thief()
#endif
	}
}
