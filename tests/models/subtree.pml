// SPDX-License-Identifier: MIT
// hazard and a detached subtree: CPU 0 walks root -> upper -> lower table, naming and validating each; CPU 1 detaches
// both and frees what no slot names. A walker that holds the upper table may be inside it after it was detached.
//
// Models: hazard_step(), hazard_exit(), sort_out(), is_named(), hazard_retry() (mm/policy/hazard.c), the order in which
// unmap_table() and unmap_entry() (mm/tree.c) clear the entries. Asserts: no walker reads a table that is FREE.
//
//! both-levels verified
//! tree_lower_entry_left found
//! hazard_no_reread found
//! hazard_no_fence_walker found
//! hazard_upper_first equivalent
//! hazard_free_between found
#define NCPU 2
mtype = { UPPER_ENTRY, LOWER_ENTRY, UPPER_SLOT, LOWER_SLOT };
#include "tso.pml"

bit upper_free, lower_free;
bit walking, gp_waits;

#define me 0
#ifdef hazard_no_fence_walker
#define FENCE skip
#else
#define FENCE MB()
#endif
#ifdef hazard_no_reread
#define REREAD(entry, v) skip
#else
#define REREAD(entry, v) LD(entry, v)
#endif
#define READ_TABLE(what, state) d_step { SAY(what); assert(!state) }

proctype walker()
{
	byte value, tries;

	d_step { walking = 1; SAY("begins a walk, preemption off") };
	do
	:: tries == 2 -> break
	:: tries < 2 ->
		tries++;
		LD(UPPER_ENTRY, value);
		if :: !value -> break :: else fi;
		ST(UPPER_SLOT, 1);
		FENCE;
		REREAD(UPPER_ENTRY, value);
		if
		:: value ->
			READ_TABLE("reads the upper table", upper_free);
			LD(LOWER_ENTRY, value);
			if :: !value -> break :: else fi;
			ST(LOWER_SLOT, 1);
			FENCE;
			READ_TABLE("reads the upper table again", upper_free);
			REREAD(LOWER_ENTRY, value);
			if
			:: value ->
				READ_TABLE("reads the lower table", lower_free);
				break
			:: else
			fi
		:: else
		fi
	od;
	tries = 0;
	ST(LOWER_SLOT, 0);
	ST(UPPER_SLOT, 0);
	d_step { walking = 0; value = 0; SAY("has ended its walk, preemption on") }
}

proctype tick()
{
end:	do
	:: d_step { gp_waits && !walking && DRAINED -> gp_waits = 0; SAY("tick: reports a quiescent state") }
	od
}
#undef me

#define me 1
#define SCAN(slot, state) \
	MB(); \
	LD(slot, named); \
	if \
	:: !named && !state -> d_step { state = 1; printf("@1 %e does not name it: FREE\n", slot) } \
	:: else \
	fi

proctype freer()
{
	byte named;

#ifdef hazard_upper_first
	XCHG(UPPER_ENTRY, 0, named);
	XCHG(LOWER_ENTRY, 0, named);
#elif defined(tree_lower_entry_left)
	XCHG(UPPER_ENTRY, 0, named);
#elif defined(hazard_free_between)
	XCHG(UPPER_ENTRY, 0, named);
	SCAN(LOWER_SLOT, lower_free);
	XCHG(LOWER_ENTRY, 0, named);
#else
	XCHG(LOWER_ENTRY, 0, named);
	XCHG(UPPER_ENTRY, 0, named);
#endif
	do
	:: SCAN(LOWER_SLOT, lower_free);
		SCAN(UPPER_SLOT, upper_free);
		if
		:: upper_free && lower_free -> break
		:: else ->
			d_step { DRAINED -> gp_waits = 1; SAY("retires what is named; a grace period begins") };
			d_step { !gp_waits -> SAY("the grace period has ended") }
		fi
	od
}
#undef me

init
{
	atomic { mem[UPPER_ENTRY] = 1; mem[LOWER_ENTRY] = 1; run walker(); run tick(); run freer() }
}
