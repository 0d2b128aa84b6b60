// SPDX-License-Identifier: MIT
// Futexes. A waiter on CPU 0 and a waker on CPU 1 that changes the word: the waker looks at the bucket's count without
// the lock. Or, REQUEUE: CPU 0 wakes CPU 1 and moves CPU 2's thread from bucket 1 to bucket 2, where CPU 1 then wakes it.
//
// Models: futex_wait(), futex_wake(), futex_requeue() (proc/futex.c). A wake-up that is lost leaves a thread asleep for
// ever: the model hangs. Asserts: nobody is in a bucket in the end, and no count is left.
//
//! wake verified
//! requeue verified REQUEUE
//! futex_late_count hangs
//! futex_no_barrier hangs
//! futex_requeue_unannounced hangs REQUEUE
#define NCPU 3
mtype = { WORD, COUNT1, COUNT2, LOCK1, LOCK2 };
#include "tso.pml"

// Under the buckets' locks, so not in anybody's store buffer when another looks.
byte where = 0;			// bucket in which the thread that is to be woken sleeps; 0: none
bit woken, first_woken, done0, done1;

#define LOCK(l) d_step { DRAINED && mem[l] == 0 -> mem[l] = 1; printf("@%d takes %e\n", me, l) }
#define UNLOCK(l) ST(l, 0)

inline count_up(c, old) { ADD(c, 1, old) }
inline count_down(c, old) { ADD(c, 255, old) }

// futex_wake(): b is the bucket.
inline wake(count, lock, b, x)
{
#ifndef futex_no_barrier
	MB();
#endif
	LD(count, x);
	if
	:: x == 0 -> SAY("nobody to be woken")
	:: else ->
		LOCK(lock);
		if
		:: where == b ->
			count_down(count, x);
			d_step { where = 0; woken = 1; SAY("takes the waiter out and completes it") }
		:: else
		fi;
		UNLOCK(lock)
	fi;
	x = 0
}

#ifdef REQUEUE
proctype requeuer(byte me)
{
	byte x;

#ifndef futex_requeue_unannounced
	count_up(COUNT2, x);
#endif
	LOCK(LOCK1);
	LOCK(LOCK2);
	count_down(COUNT1, x);
	d_step { first_woken = 1; SAY("wakes the first") };
	count_up(COUNT2, x);
	d_step { where = 2; SAY("moves the second") };
	count_down(COUNT1, x);
#ifndef futex_requeue_unannounced
	count_down(COUNT2, x);
#endif
	UNLOCK(LOCK2);
	UNLOCK(LOCK1);
	d_step { x = 0; done0 = 1 }
}
proctype first(byte me)
{
	byte x;

	d_step { first_woken -> SAY("has been woken") };
	wake(COUNT2, LOCK2, 2, x);
	done1 = 1
}
#define START atomic { where = 1; mem[COUNT1] = 2; run requeuer(0); run first(1) }
#else
proctype waiter(byte me)
{
	byte x, word;

#ifndef futex_late_count
	count_up(COUNT1, x);
#endif
	LOCK(LOCK1);
	LD(WORD, word);
#ifdef futex_late_count
	count_up(COUNT1, x);
#endif
	if
	:: word -> count_down(COUNT1, x); d_step { woken = 1; SAY("the word has changed: does not sleep") }
	:: else -> d_step { where = 1; SAY("enters the bucket") }
	fi;
	UNLOCK(LOCK1);
	d_step { x = 0; word = 0; done0 = 1 }
}
proctype waker(byte me)
{
	byte x;

	ST(WORD, 1);
	wake(COUNT1, LOCK1, 1, x);
	done1 = 1
}
#define START atomic { run waiter(0); run waker(1) }
#endif

// The thread that has to be woken.
proctype sleeper(byte me)
{
	d_step { woken -> SAY("goes on") };
	d_step { done0 && done1 && buffered[0] == 0 && buffered[1] == 0 -> assert(where == 0 && mem[COUNT1] == 0 && mem[COUNT2] == 0) }
}

init
{
	START;
	run sleeper(2)
}
