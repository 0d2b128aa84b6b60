// SPDX-License-Identifier: MIT
// Switching the policy while tables are walked and freed: two switches in a row, A to B to C. CPU 0 walks; on CPU 1 one
// thread switches, one unlinks and frees under the space's lock, and one frees later what that has deferred.
//
// Models: walkers_to_union(), freers_to_new(), drain_old(), walkers_to_new() (mm/policy/switch.c), walk_selected()
// (mm/walk_body.h; a walk of one page that finds another policy than its own does nothing), union_enter(), union_exit()
// (mm/policy/union.c), a gather that reads `freer` under the lock. A policy is reduced to what this protocol needs of
// any policy: its walker sets a mark, then has a fence, before it reads the root; its free looks for that mark after a
// fence, and waits for a walker that has set it. A grace period: as in machine.pml.
// Asserts: no walker reads a table that is FREE; and the claim of switch.c: a walker that reads the root follows the
// discipline of each free that is under way, and the other way round.
//
//! protocol verified
//! slow protocol switch_no_drain_tables
//! switch_no_union found
//! switch_no_wait found
//! switch_no_drain found
//! switch_no_last_wait found
//! switch_turn_late found
//! switch_freer_first found
// Without the drain no walker reaches a table, because what is deferred was unlinked before. It breaks only the claim.
//! switch_no_drain_tables equivalent switch_no_drain no_claim
// The others are found without the claim, too.
//! switch_no_union_tables found switch_no_union no_claim
//! switch_no_wait_tables found switch_no_wait no_claim
//! switch_no_last_wait_tables found switch_no_last_wait no_claim
#define NCPU 2
#define WALKS 3
#define FREES 3
mtype = { MARK_C, MARK_B, MARK_A, ENTRY, SELECTED, TURN0, TURN1 };
#include "tso.pml"

#define A 1
#define B 2
#define C 3
#define UNION 4
#define MARK(p) (p == A -> MARK_A : (p == B -> MARK_B : MARK_C))
#define BIT(p) (1 << (p))

bit walking;			// CPU 0, with preemption off
bit gp_waits;
byte follows;			// the marks of the walker that has read the root
byte free_under, deferred_under;	// the policies of the frees that are under way; 0: none
byte freer = A;			// space->freer
bit is_free;			// the table is FREE
byte birth = 1;
bit space_lock;

#ifdef no_claim
#define CLAIM true
#else
#define CLAIM (follows == 0 || ((free_under == 0 || follows & BIT(free_under)) && \
	(deferred_under == 0 || follows & BIT(deferred_under))))
#endif

#define me 0
#define ENTER(p) d_step { buffered[me] < DEPTH -> \
	buf_loc[me * DEPTH + buffered[me]] = MARK(p); buf_val[me * DEPTH + buffered[me]] = 1; buffered[me]++; \
	printf("@0 enters a policy: %e = 1 into its buffer\n", MARK(p)) }; MB()
#define EXIT(p) d_step { buffered[me] < DEPTH -> \
	buf_loc[me * DEPTH + buffered[me]] = MARK(p); buf_val[me * DEPTH + buffered[me]] = 0; buffered[me]++; \
	printf("@0 leaves it: %e = 0 into its buffer\n", MARK(p)) }
#define READ_TABLE(what) d_step { SAY(what); assert(!is_free && birth == born) }

proctype walker()
{
	byte walks, first, second, value, born;

	do
	:: walks == WALKS -> break
	:: walks < WALKS ->
		d_step { walks++; walking = 1; SAY("begins a walk, preemption off") };
		LD(SELECTED, first);
		if
		:: first == UNION ->
			LD(TURN0, first);
			ENTER(first);
			LD(TURN1, second);
			ENTER(second)
		:: else -> ENTER(first)
		fi;
		d_step { value = VIEW(ENTRY); born = birth; follows = BIT(first) | BIT(second);
			printf("@0 reads ENTRY: %d\n", value); assert(CLAIM) };
		if
		:: value ->
			READ_TABLE("enters the table");
			READ_TABLE("reads the table's entry")
		:: else
		fi;
		d_step { follows = 0; value = 0; born = 0 };
		if
		:: second -> EXIT(second)
		:: else
		fi;
		EXIT(first);
		d_step { walking = 0; first = 0; second = 0; SAY("has ended its walk, preemption on") }
	od
}

proctype tick()
{
end:	do
	:: d_step { gp_waits && !walking && DRAINED -> gp_waits = 0; SAY("tick: reports a quiescent state") }
	od
}
#undef me

#define me 1
#define GRACE_PERIOD \
	d_step { DRAINED -> gp_waits = 1; SAY("a grace period begins") }; \
	d_step { !gp_waits -> SAY("the grace period has ended") }
#define LOCK d_step { DRAINED && !space_lock -> space_lock = 1 }
#define UNLOCK d_step { DRAINED -> space_lock = 0 }

// A policy's free.
inline free_table(under)
{
	MB();
	d_step { found = VIEW(MARK(under));
		printf("@1 looks for a walker of the policy that frees: %e is %d\n", MARK(under), found) };
	if
	:: found -> d_step { !walking && buffered[0] == 0 -> SAY("sync IPI: answered after the walk") }
	:: else
	fi;
	d_step { is_free = 1; found = 0; SAY("the table is FREE") };
	d_step { is_free = 0; birth++; SAY("it is used again") };
	XCHG(ENTRY, 1, found);
	d_step { under = 0; found = 0 }
}

proctype unmapper()
{
	byte frees, found;

	do
	:: frees == FREES -> break
	:: frees < FREES && !deferred_under ->
		frees++;
		LOCK;
		XCHG(ENTRY, 0, found);
		if
		:: d_step { free_under = freer; SAY("frees at once"); assert(CLAIM) };
			free_table(free_under)
		:: d_step { deferred_under = freer; SAY("defers the free"); assert(CLAIM) }
		fi;
		UNLOCK
	od
}

proctype later()
{
	byte found;

end:	do
	:: deferred_under -> free_table(deferred_under)
	od
}

inline switch_policy(old, new)
{
#ifdef switch_freer_first
	LOCK;
	d_step { freer = new; SAY("tables are freed under the new policy") };
	UNLOCK;
#endif
#ifndef switch_turn_late
	ST(TURN0, old);
	ST(TURN1, new);
#endif
#ifdef switch_no_union
	ST(SELECTED, new);
#else
	ST(SELECTED, UNION);
#endif
#ifdef switch_turn_late
	ST(TURN0, old);
	ST(TURN1, new);
#endif
#ifndef switch_no_wait
	GRACE_PERIOD;
#endif
#ifndef switch_freer_first
	LOCK;
	d_step { freer = new; SAY("tables are freed under the new policy") };
	UNLOCK;
#endif
#ifndef switch_no_drain
	d_step { deferred_under != old -> SAY("nothing is left that the old policy has deferred") };
#endif
	ST(SELECTED, new);
#ifndef switch_no_last_wait
	GRACE_PERIOD
#endif
}

proctype switcher()
{
	switch_policy(A, B);
	switch_policy(B, C)
}
#undef me

init
{
	atomic {
		mem[ENTRY] = 1; mem[SELECTED] = A; mem[TURN0] = A; mem[TURN1] = A;
		run walker(); run tick(); run unmapper(); run later(); run switcher()
	}
}
