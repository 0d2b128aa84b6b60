// SPDX-License-Identifier: MIT
// What `epoch` defers: CPU 0 walks; CPU 1 frees one table, drains then, and runs the callback; CPU 2 frees another
// table.
//
// Models: epoch_enter(), epoch_exit(), epoch_free(), defer(), arm(), look_again(), free_first(), epoch_retry(),
// epoch_drain() (mm/policy/epoch.c), with one word. A grace period waits for the walk and for each look under way when
// it begins. Two threads of one CPU share its buffer, and run in any order.
// Asserts: no walker reads a table that is FREE; what was passed to a `free` that had returned when a drain began is
// FREE when the drain returns. Each table becomes FREE (otherwise the model hangs).
//
//! defers verified WALKS=2
//! slow defers epoch_disarmed_plain
//! one-walk verified
//! epoch_no_enter found
//! epoch_no_fence_walker found
//! epoch_one_look found
// The callback: armed when the batch can be found, and disarmed before it looks.
//! epoch_no_retry hangs
//! epoch_armed_first hangs
//! epoch_disarmed_late hangs
//! epoch_disarmed_plain hangs WALKS=2
// The drain: before its look those walks end that hold up what was deferred; after it, the looks that have taken some.
//! epoch_drain_no_wait found
//! epoch_drain_no_last_wait found
//! epoch_look_preemptible found
#define NCPU 3
#ifndef WALKS
#define WALKS 1
#endif
mtype = { ENTRY0, ENTRY1, WORD, LOCK, NR, ARMED };
#include "tso.pml"

#define NONE 2
bit is_free[2];			// the tables
bit returned[2];		// … whose `free` has returned
byte first = NONE, second = NONE;	// the batches, each of one table, in the order of deferral
byte stays[2];			// the value of the word that holds the table up
byte waiting;			// batches that are not yet FREE

// Readers: the walker on CPU 0; those who look again: the freeing thread of CPU 1, that of CPU 2, the callback.
#define WALKER 0
#define CALLBACK 3
bit inside[4];
#define QUIET(reader, cpu) (!inside[reader] && buffered[cpu] == 0 -> 1 << reader : 0)
#define ALL_QUIET (QUIET(0, 0) | QUIET(1, 1) | QUIET(2, 2) | QUIET(3, 1))
byte callback_waits, drain_waits;	// the readers that a grace period waits for
bit called;			// the callback, for its grace period

proctype grace_periods()
{
end:	do
	:: d_step { callback_waits & ALL_QUIET -> callback_waits = callback_waits & (15 - ALL_QUIET) }
	:: d_step { drain_waits & ALL_QUIET -> drain_waits = drain_waits & (15 - ALL_QUIET) }
	od
}

#define me 0
#ifdef epoch_no_enter
#define COUNT_UP skip
#else
#define COUNT_UP ST(WORD, VIEW(WORD) + 1)
#endif

inline walk(i, entry)
{
	LD(entry, value);
	if
	:: value -> d_step { printf("@0 reads table %d\n", i); assert(!is_free[i]) }
	:: else
	fi
}

proctype walker()
{
	byte walks, value;

	do
	:: walks == WALKS -> break
	:: walks < WALKS ->
		d_step { walks++; inside[WALKER] = 1; SAY("begins a walk, preemption off") };
		COUNT_UP;
#ifndef epoch_no_fence_walker
		MB();
#endif
		if
		:: walk(0, ENTRY0)
		:: walk(1, ENTRY1)
		fi;
		COUNT_UP;
		d_step { inside[WALKER] = 0; value = 0; SAY("has ended its walk, preemption on") }
	od
}
#undef me

#define me cpu			// of the thread whose code it is
#define LOCKED_STEP DRAINED && !mem[LOCK] -> mem[LOCK] = 1
#define UNLOCK ST(LOCK, 0)
#define MAKE_FREE(i) is_free[i] = 1; printf("@%d table %d is FREE\n", me, i)

inline arm()
{
#ifndef epoch_no_retry
	d_step { DRAINED -> printf("@%d LOCKed: ARMED %d -> 1\n", me, mem[ARMED]);
		if
		:: !mem[ARMED] -> mem[ARMED] = 1; called = 1; callback_waits = 15; SAY("call_rcu()")
		:: else
		fi }
#else
	skip
#endif
}

#ifdef epoch_one_look
#define MAY_GO first != NONE
#else
#define MAY_GO first != NONE && VIEW(WORD) != stays[first]
#endif
#ifdef epoch_look_preemptible
#define PREEMPTION_OFF 0
#else
#define PREEMPTION_OFF 1
#endif
// free_first(), n times at most
inline look_again(reader)
{
	LD(NR, n);
	do
	:: n ->
		d_step { LOCKED_STEP; inside[reader] = PREEMPTION_OFF;
			if
			:: MAY_GO -> taken = first; stays[taken] = 0; first = second; second = NONE; value = VIEW(NR) - 1;
				printf("@%d takes the batch of table %d\n", me, taken)
			:: else -> taken = NONE; printf("@%d takes no batch\n", me)
			fi };
		if
		:: taken != NONE ->
			ST(NR, value);
			UNLOCK;
			d_step { MAKE_FREE(taken) };
			d_step { DRAINED -> waiting--; n--; SAY("one batch less waits") }
		:: else -> UNLOCK; n = 0
		fi;
		d_step { inside[reader] = 0; taken = 0; value = 0 }
	:: else -> break
	od;
	n = 0
}

inline defer(i)
{
	d_step { DRAINED -> waiting++; SAY("one batch more waits") };
#ifdef epoch_armed_first
	arm();
#endif
	d_step { LOCKED_STEP; stays[i] = seen; seen = 0; value = VIEW(NR) + 1;
		if :: first == NONE -> first = i :: else -> second = i fi;
		printf("@%d defers table %d\n", me, i) };
	ST(NR, value);
	UNLOCK;
	value = 0;
#ifndef epoch_armed_first
	arm()
#endif
}

inline free_table(i, entry)
{
	XCHG(entry, 0, value);
	value = 0;
	look_again(i + 1);
	MB();
	LD(WORD, seen);
	if
	:: d_step { !(seen & 1) || VIEW(WORD) != seen -> seen = 0; MAKE_FREE(i) }
	:: d_step { seen & 1 && VIEW(WORD) == seen -> SAY("has polled long enough") };
		defer(i)
	fi;
	d_step { returned[i] = 1; printf("@%d has passed on table %d\n", me, i) }
}

inline wait_for_readers()
{
	d_step { DRAINED -> drain_waits = 15; SAY("synchronize_rcu()") };
	d_step { !drain_waits -> SAY("the grace period has ended") }
}

inline drain()
{
	d_step { must_be_free = returned[1]; SAY("drains") };
	if
	:: waiting ->
#ifndef epoch_drain_no_wait
		wait_for_readers();
#endif
		look_again(1);
#ifndef epoch_drain_no_last_wait
		wait_for_readers()
#endif
	:: !waiting
	fi;
	d_step { assert(is_free[0]); assert(is_free[1] || !must_be_free); SAY("has drained") }
}

proctype freer_1()
{
	byte cpu = 1, value, seen, n, taken;
	bit must_be_free;

	free_table(0, ENTRY0);
	drain()
}

proctype freer_2()
{
	byte cpu = 2, value, seen, n, taken;

	free_table(1, ENTRY1)
}

proctype callback()
{
	byte cpu = 1, value, n, taken;

end:	do
	:: d_step { called && !callback_waits && DRAINED -> called = 0; SAY("the callback") };
#ifdef epoch_disarmed_plain
		ST(ARMED, 0);
#elif !defined(epoch_disarmed_late)
		XCHG(ARMED, 0, value);
#endif
		value = 0;
		look_again(CALLBACK);
		LD(NR, n);
#ifdef epoch_disarmed_late
		XCHG(ARMED, 0, value);
#endif
		if
		:: n -> n = 0; arm()
		:: else
		fi;
		value = 0
	od
}
#undef me

proctype end_of_all()
{
	is_free[0] && is_free[1]
}

init
{
	atomic {
		mem[ENTRY0] = 1; mem[ENTRY1] = 1;
		run walker(); run grace_periods(); run freer_1(); run freer_2(); run callback(); run end_of_all()
	}
}
