// SPDX-License-Identifier: MIT
// A table that is reused without being freed: CPU 1 collapses the small page of a table into a large one, keeps the
// table as its deposit, splits the large page again and gives the table a new content; CPU 0 walks and pins meanwhile.
//
// Models: isolate(), pinned(), collapse(), split_locked() (mm/huge.c), table_put_back(), table_deposit(),
// table_reuse() (mm/table.c), walk_take() (mm/walk_body.h), page_try_get(), page_put(), each policy's `wait`.
// Asserts: no walker reads a table that is QUIESCED, or that has got another birth number while the walker is in it;
// nothing is copied from a page that is pinned; a walker that pins the small page finds it mapped; no CPU's
// paging-structure cache leads to a table that is a deposit. The flush is that of freed tables, never deferred.
//
//! immediate found POLICY=IMMEDIATE BACKEND=IPI
//! ipi verified POLICY=POLICY_IPI BACKEND=IPI
//! rcu verified POLICY=RCU BACKEND=IPI
//! rcu-sync verified POLICY=RCU_SYNC BACKEND=IPI
//! rcu-page verified POLICY=RCU_PAGE BACKEND=IPI
//! targeted verified POLICY=TARGETED BACKEND=IPI
//! hazard verified POLICY=HAZARD BACKEND=IPI
//! auto verified POLICY=AUTO BACKEND=IPI
//! epoch verified POLICY=EPOCH BACKEND=IPI
//! rcu-proxy verified POLICY=RCU_PROXY BACKEND=IPI
//! keep verified POLICY=KEEP BACKEND=IPI
// `wait` of the ipi policy is a sync IPI, so collapse is safe even where freeing is not.
//! ipi-by-nmi verified POLICY=POLICY_IPI BACKEND=NMI
//! ipi-by-pv verified POLICY=POLICY_IPI BACKEND=PV
//! slow ipi-by-pv
//! collapse_no_wait found POLICY=RCU BACKEND=IPI
//! collapse_no_wait_nmi found POLICY=POLICY_IPI BACKEND=NMI collapse_no_wait
//! collapse_ignores_pins found POLICY=RCU BACKEND=IPI
// Other projects' errors of order: an unlink after the wait (s390), a non-leaf entry that is changed without a flush of
// the upper entries that the CPUs have cached (RISC-V).
//! collapse_unlinks_late found POLICY=RCU BACKEND=IPI
//! collapse_keeps_upper found POLICY=RCU BACKEND=IPI
// The shootdown has waited for the ipi policy's walkers already; and after any `wait` a pin is seen in the count.
//! collapse_no_wait_ipi equivalent POLICY=POLICY_IPI BACKEND=IPI collapse_no_wait
//! walk_no_parent_recheck equivalent POLICY=RCU BACKEND=IPI
#define NCPU 2
#define THEFTS 1
#define WALKS 2
mtype = { ENTRY, LEAF, REFS, CPUS, WALKERS, SLOT, ANSWERS, STEAL, REQUESTED, SERVED };
#include "tso.pml"
#include "numbers.pml"
#include "machine.pml"
#include "flush.pml"
#include "policy.pml"

#define LARGE 2			// the value of an entry that maps the large page
#define SMALL 1			// the value of a leaf that maps the small page
#define PART 2			// … that maps a part of what was the large page

bit is_quiesced;		// is the table QUIESCED? A deposit is
bit pinned, copied;		// the small page

#define me 0
#define READ_TABLE(what) d_step { SAY(what); assert(!is_quiesced && birth == born) }

inline pin_small()
{
	d_step { DRAINED -> ok = (mem[REFS] > 0);		// try-get: never 0 -> 1
		if :: ok -> mem[REFS] = mem[REFS] + 1 :: else fi;
		printf("@0 LOCKed: takes a reference to the small page: %d\n", ok) };
	if
	:: ok ->
		READ_TABLE("reads the leaf again");
		ok = (VIEW(LEAF) == SMALL);
#ifndef walk_no_parent_recheck
		d_step { ok = ok && VIEW(ENTRY) == TABLE; printf("@0 reads ENTRY again: %d\n", VIEW(ENTRY)) };
#endif
		if
		:: ok -> d_step { pinned = 1; SAY("has pinned the small page"); assert(!copied) };
		:: else -> d_step { DRAINED -> mem[REFS] = mem[REFS] - 1; SAY("drops the reference") };
		fi
	:: else
	fi
}

proctype walker() provided (TASK_RUNS)
{
	byte walks, value, born, scratch;
	bit ok;

	do
	:: walks < WALKS ->
		walks++;
		d_step { no_preempt[0] = 1; SAY("begins a walk, preemption off") };
		enter(SLOT, scratch);
		do
		:: d_step { value = VIEW(ENTRY); born = birth; printf("@0 reads ENTRY: %d\n", value) };
			if
			:: value == TABLE ->
				step(SLOT, scratch, ok);
				if
				:: ok ->
#if POLICY == HAZARD
					born = birth;
#endif
					READ_TABLE("enters the table");
					d_step { value = VIEW(LEAF); printf("@0 reads LEAF: %d\n", value);
						assert(!is_quiesced && birth == born) };
					if
					:: value == SMALL -> pin_small()
					:: else
					fi;
					break
				:: else
				fi
			:: else -> break
			fi
		od;
		exit(SLOT, scratch);
		d_step { no_preempt[0] = 0; value = 0; born = 0; scratch = 0; ok = 0;
			SAY("has ended its walk, preemption on") };
		if
		:: pinned -> d_step { DRAINED -> mem[REFS] = mem[REFS] - 1; pinned = 0; SAY("unpins the page") }
		:: else
		fi
	:: else -> break
	od
}
#undef me

#define me 1
inline flush_at_once(targets, a, b)
{
#if BACKEND == LAZY
	flush_by_ipi(targets)
#else
	flush(targets, a, b)
#endif
}

proctype collapser()
{
	byte targets, a;
	bit b;

	// collapse()
#ifndef collapse_unlinks_late
	unlink(a);
#endif
	read_masks(targets);
	flush_at_once(targets, a, b);
#ifndef collapse_no_wait
	policy_wait(a);
#endif
#ifdef collapse_unlinks_late
	unlink(a);
#endif
	d_step { is_quiesced = 1; targets = 0; a = 0; b = 0; SAY("the table is QUIESCED") };
	LD(REFS, a);
	if
#ifndef collapse_ignores_pins
	:: a != 1 ->
		d_step { is_quiesced = 0; SAY("the page is pinned: the table stays what it was") };
		XCHG(ENTRY, TABLE, a);
#else
	:: false
#endif
	:: else ->
		d_step { copied = 1; SAY("copies the small page into the large one"); assert(!pinned);
			assert(robbed || !cached[0]); assert(!cached[1]) };
		XCHG(ENTRY, LARGE, a);
		d_step { DRAINED -> mem[REFS] = mem[REFS] - 1; SAY("drops the mapping's reference to the small page") };
		// split_locked(); its flush frees no table
		XCHG(ENTRY, NO_TABLE, a);
		d_step { is_quiesced = 0; birth++; SAY("the deposit is a table again, with a new birth") };
		ST(LEAF, PART);
		XCHG(ENTRY, TABLE, a);
	fi
}
#undef me

init
{
	atomic {
		if	// how CPU 0 holds the space
		:: skip
		:: holds_root[0] = 1; mem[CPUS] = 1
		:: holds_root[0] = 1; mem[CPUS] = 1; is_lazy = 1
		fi;
		holds_root[1] = 1;
		mem[ENTRY] = TABLE;
		mem[LEAF] = SMALL;
		mem[REFS] = 1;
		run walker(); run collapser(); run interrupts();
#if BACKEND == NMI
		run nmi_handler()
#endif
#if BACKEND == PV
		run thief()
#endif
	}
}
