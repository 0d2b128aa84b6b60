// SPDX-License-Identifier: MIT
// What `epoch` defers: CPU 0 walks. CPU 1 frees a table and the one below it, which are two pieces, and drains then.
// CPU 2 frees another table, of one piece. Each CPU ticks. The callback runs on the CPU that has armed it.
//
// Models: epoch_enter(), epoch_exit(), epoch_free(), defer(), arm(), look_again(), free_first(), take_piece(),
// look_at_tick(), epoch_retry(), epoch_drain() (mm/policy/epoch.c), with one word. The threads of a CPU share its
// buffer and run in any order while the CPU is not in its tick; one at a time takes a piece, with preemption off. A
// grace period of the drain waits for each CPU that keeps preemption off or is in its tick, that of the callback for
// CPU 0.
//
// A look that takes nothing changes nothing, so a tick that finds nothing to take is left out. The lock is taken, the
// list changed and `nr` stored in one step; the lock is free when no buffer holds that store, because the store that
// unlocks comes after it. At most one CPU at a time is in its tick.
//
// Certain to tick are a CPU that has something to run and one whose callback waits (rcu_needs_tick()). With LINGERS
// CPU 0 is preempted by its hypervisor after its walks: it ticks no more, and no grace period ends.
//
// Asserts: no walker reads a table that is FREE; what was passed to a `free` that had returned when a drain began is
// FREE when the drain returns. Each table becomes FREE, although there is no later `free` (otherwise the model hangs).
//
//! defers verified
//! two-walks verified WALKS=2 TICK_ON=1
//! slow defers two-walks
//! alone verified ALONE WALKS=2
//! idle verified TICK_ON=0
//! lingers verified LINGERS WALKS=2
//! epoch_no_enter found ALONE
//! epoch_no_fence_walker found ALONE
//! epoch_one_look found ALONE
// Who looks again: the ticks, even if no grace period ends; the callback, for what the ticks leave.
//! epoch_no_tick hangs ALONE LINGERS
//! epoch_no_callback hangs ALONE NO_DRAIN
//! epoch_no_retry hangs ALONE NO_DRAIN
// The callback: armed when the batch can be found, and disarmed before it looks.
//! epoch_armed_first hangs ALONE NO_DRAIN
//! epoch_disarmed_late hangs NO_DRAIN
//! epoch_disarmed_plain hangs NO_DRAIN WALKS=2
//! slow epoch_disarmed_plain
// The pieces: a batch leaves the list with its last one; both counters count pieces.
//! epoch_unlinked_with_first_piece hangs ALONE LINGERS
//! epoch_nr_of_batches hangs ALONE LINGERS
//! epoch_waiting_of_batches found ALONE
// The drain: before its look those walks end that hold up what was deferred; after it, the looks that have taken some.
//! epoch_drain_no_wait found ALONE
//! epoch_drain_no_look found ALONE
//! epoch_drain_no_last_wait found ALONE
//! epoch_drain_reads_list found ALONE
//! epoch_one_piece found ALONE
//! epoch_counted_early found ALONE
//! epoch_look_preemptible found ALONE
//! epoch_tick_unseen found ALONE
#define NCPU 3
#ifndef WALKS
#define WALKS 1
#endif
#ifndef TICK_ON
#define TICK_ON 7		// the CPUs that tick
#endif
mtype = { ENTRY0, ENTRY1, WORD, NR, ARMED };
#include "tso.pml"

#define NONE 3
bit is_free[3];			// the tables: 0 and, below it, 1 in batch 0; 2 in batch 1. Each is a piece
bit returned;			// CPU 2's `free`
byte first = NONE, second = NONE;	// batches, in the order of deferral
byte left[2];			// pieces of each
byte stays[2];			// the value of the word that holds the batch up
byte waiting;			// pieces that are not yet FREE
byte drain_waits;		// the CPUs that the drain's grace period waits for
byte called = NONE;		// the CPU on which the callback waits for its grace period
bit callback_waits;		// … for CPU 0
byte callback_cpu = NONE;	// … and where it runs

bit inside[NCPU];		// preemption is off
bit idle[NCPU];
byte tick_cpu = NONE;		// it is in its tick

#ifdef epoch_tick_unseen
#define IN_TICK(cpu) false
#else
#define IN_TICK(cpu) (tick_cpu == cpu)
#endif
#define QUIET(cpu) (!inside[cpu] && !IN_TICK(cpu) && buffered[cpu] == 0 -> 1 << cpu : 0)
#define NOT_QUIET (7 - (QUIET(0) | QUIET(1) | QUIET(2)))

proctype grace_periods()
{
end:	do
	:: d_step { callback_waits && !(NOT_QUIET & 1) -> callback_waits = 0 }
	:: d_step { (drain_waits & NOT_QUIET) != drain_waits -> drain_waits = drain_waits & NOT_QUIET }
	od
}

// ---- CPU 0 walks ----------------------------------------------------------------------------------------------------
#define me 0
#define PUT(l, v) buf_loc[me * DEPTH + buffered[me]] = l; buf_val[me * DEPTH + buffered[me]] = v; buffered[me]++; \
	printf("@%d stores %e = %d into its buffer\n", me, l, v)
#ifdef epoch_no_enter
#define COUNT_UP skip
#else
#define COUNT_UP PUT(WORD, VIEW(WORD) + 1)
#endif
#define READ(table) d_step { printf("@0 reads table %d\n", table); assert(!is_free[table]) }

proctype walker() provided (tick_cpu != 0)
{
	byte walks;
	bit found;

	do
	:: walks == WALKS -> break
	:: walks < WALKS ->
		d_step { buffered[me] < DEPTH -> walks++; inside[me] = 1; SAY("begins a walk, preemption off"); COUNT_UP };
#ifndef epoch_no_fence_walker
		MB();
#endif
		if
		:: LD(ENTRY0, found);
			if :: found -> READ(0); READ(1) :: else fi
		:: LD(ENTRY1, found);
			if :: found -> READ(2) :: else fi
		fi;
		d_step { buffered[me] < DEPTH -> found = 0; COUNT_UP; SAY("has ended its walk");
#ifndef LINGERS
			inside[me] = 0
#endif
		}
	od;
	skip;
	d_step { idle[me] = 1; walks = 0; SAY("ticks no longer") }
}
#undef me

// ---- Looks at what is deferred --------------------------------------------------------------------------------------
#define me cpu			// of the thread whose code it is
#define HAS_LOCK(c) (buf_loc[c * DEPTH] == NR || buf_loc[c * DEPTH + 1] == NR)
#define LOCK_IS_FREE (!HAS_LOCK(0) && !HAS_LOCK(1) && !HAS_LOCK(2))

#ifdef epoch_one_look
#define MAY_GO first != NONE
#else
#define MAY_GO (first != NONE && mem[WORD] != stays[first])
#endif
#ifdef epoch_look_preemptible
#define PREEMPTION_OFF 0
#else
#define PREEMPTION_OFF 1
#endif

// take_piece(), with the lock
inline take(cpu, piece)
{
	piece = 2 * first + left[first] - 1;
	left[first]--;
	printf("@%d takes table %d\n", me, piece);
	PUT(NR, mem[NR] - 1);
	if
#ifdef epoch_unlinked_with_first_piece
	:: true ->
#else
	:: !left[first] ->
#endif
		stays[first] = 0; first = second; second = NONE
	:: else
	fi
}

// Preemption stays off until then: `leave` turns it on again, or ends the tick.
#define MAKE_FREE(piece) is_free[piece] = 1; printf("@%d table %d is FREE\n", me, piece)
#define COUNT_DOWN waiting--; SAY("one piece less waits")
#ifdef epoch_counted_early
#define FREE_TAKEN(piece, leave) \
	d_step { DRAINED -> COUNT_DOWN }; \
	d_step { MAKE_FREE(piece); piece = NONE; leave }
#else
#define FREE_TAKEN(piece, leave) \
	d_step { MAKE_FREE(piece) }; \
	d_step { DRAINED -> COUNT_DOWN; piece = NONE; leave }
#endif

// free_first(), as often as there are pieces when it begins
inline look_again(cpu)
{
#ifdef epoch_one_piece
	d_step { n = (VIEW(NR) -> 1 : 0); SAY("looks for one piece") };
#else
	LD(NR, n);
#endif
	do
	:: n ->
		d_step { DRAINED && LOCK_IS_FREE && !inside[me] ->
			if
			:: MAY_GO -> take(cpu, piece); inside[me] = PREEMPTION_OFF
			:: else -> n = 0; printf("@%d finds nothing that can be freed\n", me)
			fi };
		if
		:: n -> FREE_TAKEN(piece, inside[me] = 0; n--)
		:: else
		fi
	:: else -> break
	od;
	skip
}

inline arm(cpu)
{
#if !defined(epoch_no_callback) && !defined(epoch_no_retry)
	d_step { DRAINED -> printf("@%d LOCKed: ARMED %d -> 1\n", me, mem[ARMED]);
		if
		:: !mem[ARMED] -> mem[ARMED] = 1; called = me; callback_waits = NOT_QUIET & 1; SAY("call_rcu()")
		:: else
		fi }
#else
	skip
#endif
}

#undef me
#define me callback_cpu
proctype callback() provided (tick_cpu == NONE || tick_cpu != callback_cpu)
{
	byte n, piece = NONE;

end:	do
	:: d_step { called != NONE && !callback_waits ->
			callback_cpu = called; called = NONE; SAY("the callback") };
#ifdef epoch_disarmed_plain
		ST(ARMED, 0);
#elif !defined(epoch_disarmed_late)
		XCHG(ARMED, 0, n);
		n = 0;
#endif
		look_again(callback_cpu);
		LD(NR, n);
#ifdef epoch_disarmed_late
		XCHG(ARMED, 0, piece);
		piece = NONE;
#endif
		if
		:: n -> n = 0; arm(callback_cpu)
		:: else
		fi;
		callback_cpu = NONE
	od
}

#undef me
#define me tick_cpu
#define TICKS(c) TICK_ON & 1 << (c) && (!idle[c] || called == c || callback_cpu == c) && buffered[c] == 0
#define LOOK_AT_TICK(c) d_step { TICKS(c) && LOCK_IS_FREE && mem[NR] && MAY_GO -> \
	tick_cpu = c; SAY("tick"); take(c, piece) }; \
	FREE_TAKEN(piece, tick_cpu = NONE)

proctype tick()
{
	byte piece = NONE;

end:	do
	:: LOOK_AT_TICK(0)
	:: LOOK_AT_TICK(1)
	:: LOOK_AT_TICK(2)
	od
}

// ---- CPU 1 and CPU 2 free -------------------------------------------------------------------------------------------
#undef me
#define me cpu
#ifdef epoch_waiting_of_batches
#define WAITING(pieces) 1
#else
#define WAITING(pieces) pieces
#endif
#ifdef epoch_nr_of_batches
#define IN_LIST(pieces) 1
#else
#define IN_LIST(pieces) pieces
#endif

inline defer(batch, pieces)
{
	d_step { DRAINED -> waiting = waiting + WAITING(pieces); printf("@%d %d pieces more wait\n", me, pieces) };
#ifdef epoch_armed_first
	arm(cpu);
#endif
	d_step { DRAINED && LOCK_IS_FREE && !inside[me] -> printf("@%d defers batch %d\n", me, batch);
		left[batch] = pieces; stays[batch] = seen; seen = 0;
		if :: first == NONE -> first = batch :: else -> second = batch fi;
		PUT(NR, mem[NR] + IN_LIST(pieces)) };
#ifndef epoch_armed_first
	arm(cpu)
#endif
}

inline free_tables(entry, batch, pieces)
{
	XCHG(entry, 0, n);
	n = 0;
	look_again(cpu);
	d_step { DRAINED -> seen = mem[WORD]; printf("@%d full barrier, reads WORD: %d\n", me, seen) };
	if
	:: d_step { !(seen & 1) || VIEW(WORD) != seen -> seen = 0; is_free[2 * batch] = 1;
			if :: pieces == 2 -> is_free[1] = 1 :: else fi;
			printf("@%d frees what it has unlinked\n", me) }
	:: d_step { seen & 1 && VIEW(WORD) == seen -> SAY("has polled long enough") };
		defer(batch, pieces)
	fi
}

inline wait_for_readers()
{
	d_step { DRAINED -> drain_waits = NOT_QUIET; SAY("synchronize_rcu()") };
	d_step { !drain_waits -> SAY("the grace period has ended") }
}

#ifdef epoch_drain_reads_list
#define ANYTHING_WAITS VIEW(NR)
#else
#define ANYTHING_WAITS waiting
#endif

inline drain()
{
	d_step { must_be_free = returned; SAY("drains") };
	if
	:: ANYTHING_WAITS ->
#ifndef epoch_drain_no_wait
		wait_for_readers();
#endif
#ifndef epoch_drain_no_look
		look_again(cpu);
#endif
#ifndef epoch_drain_no_last_wait
		wait_for_readers()
#endif
	:: else
	fi;
	d_step { assert(is_free[0] && is_free[1]); assert(is_free[2] || !must_be_free); must_be_free = 0;
		SAY("has drained") }
}

proctype freer_1() provided (tick_cpu != 1)
{
	byte cpu = 1, n, seen, piece = NONE;
	bit must_be_free;

	free_tables(ENTRY0, 0, 2);
#if !defined(LINGERS) && !defined(NO_DRAIN)
	drain();
#endif
	idle[me] = 1
}

proctype freer_2() provided (tick_cpu != 2)
{
	byte cpu = 2, n, seen, piece = NONE;

	free_tables(ENTRY1, 1, 1);
	d_step { returned = 1; idle[me] = 1; SAY("has freed, and idles") }
}
#undef me

proctype end_of_all()
{
	is_free[0] && is_free[1] && is_free[2]
}

init
{
	atomic {
		mem[ENTRY0] = 1;
		run grace_periods(); run walker(); run callback(); run freer_1(); run end_of_all();
#ifdef ALONE
		is_free[2] = 1; idle[2] = 1;
#else
		mem[ENTRY1] = 1;
		run freer_2();
#endif
#if !defined(epoch_no_tick) && !defined(epoch_no_retry)
		run tick()
#endif
	}
}
