// SPDX-License-Identifier: MIT
// A grace period. CPU 0 runs its thread; CPU 1 reads in a task, in an interrupt and in an NMI, idles in between, and
// reports by its tick; CPU 2 unlinks by plain stores, waits (synchronize_rcu(), or call_rcu() twice) and frees.
//
// Models: gp_begin(), gp_scan(), scan_leaf(), has_idled(), gp_end(), grace_period() (kernel/rcu/grace_period.c); rcu_snapshot(),
// rcu_elapsed(), rcu_quiescent(), rcu_clear_and_unlock(), rcu_tick() (kernel/rcu/rcu.c; three CPUs are one node);
// rcu_idle_sample(), entry(), leave(), rcu_idle_enter(), rcu_idle_exit() (kernel/rcu/idle.c); enqueue(), advance(),
// take_batch() (kernel/rcu/callbacks.c). Asserts: no reader reads what was freed. Each grace period ends (otherwise
// the model hangs).
//
//! synchronize verified INTERRUPTS=1
//! nmi verified ACTS=1 EARLIER=0 INTERRUPTS=1 NMIS=1
//! callbacks verified CALLBACKS
//! slow synchronize nmi callbacks
// EARLIER=0: no grace period is under way or wanted when the updater begins. A counterexample that needs none is
// shorter.
//! rcu_gp_misses_cpu found ACTS=1 EARLIER=0
//! rcu_bits_before_seq found ACTS=1
//! rcu_snapshot_early found ACTS=1
//! rcu_snapshot_no_fence found ACTS=1
//! rcu_reader_is_quiescent found ACTS=1 EARLIER=0
//! rcu_busy_is_idle found ACTS=1 EARLIER=0
//! rcu_idle_exit_plain found EARLIER=0
//! rcu_idle_one_bit found EARLIER=0 ACTS=1 INTERRUPTS=1 NMIS=1
//! rcu_entry_unseen found EARLIER=0 ACTS=1 INTERRUPTS=1
//! rcu_entry_unseen_nmi found EARLIER=0 ACTS=1 NMIS=1 rcu_entry_unseen
//! rcu_sample_kept found
//! rcu_segment_early found CALLBACKS ACTS=1 EARLIER=0
//! rcu_segment_keeps_gp found CALLBACKS ACTS=1 EARLIER=0
//! rcu_enqueue_oldest found CALLBACKS ACTS=1 EARLIER=0
//! rcu_enqueue_no_fence found CALLBACKS ACTS=1 EARLIER=0
// Each barrier has a LOCKed instruction beside it: the increment of the sequence, the lock of the node; and loads keep
// their order.
//! rcu_gp_no_fence equivalent
//! rcu_sample_no_fence equivalent
//! rcu_elapsed_no_fence equivalent
// On x86 a reader's loads come before the later store that says idle.
//! rcu_idle_enter_plain equivalent
//! slow rcu_gp_no_fence rcu_sample_no_fence rcu_elapsed_no_fence rcu_idle_enter_plain
#define NCPU 3
#ifndef ACTS
#define ACTS 2			// of CPU 1's task: each a read side, or a time of idling
#endif
#ifndef EARLIER
#define EARLIER 1		// somebody wants a grace period already
#endif
#ifndef INTERRUPTS
#define INTERRUPTS 0		// … of CPU 1 that read
#endif
#ifndef NMIS
#define NMIS 0
#endif
mtype = { PTR0, PTR1, SEQ, REQUESTED, WAITING, LOCK, IDLE1 };
#include "tso.pml"

bit freed[2];			// what the two pointers name

#define COMPLETED(seq) ((seq) >> 1)
#define RUNNING(seq) ((seq) & 1)
#ifdef rcu_snapshot_early
#define NEXT(seq) (((seq) + 2) >> 1)
#else
#define NEXT(seq) (((seq) + 3) >> 1)
#endif
#define IS_IDLE(s) (!((s) & 1))

#define SPIN_LOCK d_step { DRAINED && mem[LOCK] == 0 -> mem[LOCK] = 1; SAY("takes the node's lock") }
#define SPIN_UNLOCK ST(LOCK, 0)

// rcu_quiescent(): `bits` are this CPU's.
#define REPORT(bits, w) \
	SPIN_LOCK; \
	LD(WAITING, w); \
	ST(WAITING, w & (255 - (bits))); \
	SPIN_UNLOCK; \
	w = 0

// ---- CPU 0: the grace-period thread ---------------------------------------------------------------------------------
#define me 0
#ifdef rcu_gp_misses_cpu
#define CHILDREN 4
#else
#define CHILDREN 6		// its own CPU is preemptible, and reports at once
#endif

inline begin(old)
{
#ifdef rcu_bits_before_seq
	SPIN_LOCK;
	ST(WAITING, CHILDREN);
	SPIN_UNLOCK;
	ADD(SEQ, 1, old);
#else
	ADD(SEQ, 1, old);
#ifndef rcu_gp_no_fence
	MB();
#endif
	SPIN_LOCK;
	ST(WAITING, CHILDREN);
	SPIN_UNLOCK;
#endif
	old = 0
}

// scan_leaf(), has_idled(). CPU 2 does not idle.
inline scan(w, s)
{
	SPIN_LOCK;
	LD(WAITING, w);
	if
	:: w & 2 ->
#ifndef rcu_sample_no_fence
		MB();
#endif
		LD(IDLE1, s);
#ifndef rcu_sample_no_fence
		MB();
#endif
		d_step {
			if
			:: !sampled -> sampled = 1; sample = s;
				SAY("first sample of CPU 1's idle counter in this grace period")
			:: else
			fi };
#ifdef rcu_busy_is_idle
		if
		:: true ->
#else
		if
		:: IS_IDLE(s) || s != sample ->
#endif
			ST(WAITING, w & (255 - 2))
		:: else
		fi
	:: else
	fi;
	SPIN_UNLOCK;
	d_step { w = 0; s = 0 }
}

proctype grace_periods()
{
	byte w, s, sample;
	bit sampled;

end:	do
	:: VIEW(REQUESTED) > COMPLETED(VIEW(SEQ)) ->
		begin(w);
		do
		:: VIEW(WAITING) & 2 && (!sampled || VIEW(IDLE1) != sample || IS_IDLE(sample)) -> scan(w, s)
		:: !VIEW(WAITING) -> break
		od;
		skip;
		SPIN_LOCK;
		ADD(SEQ, 1, w);
		SPIN_UNLOCK;
#ifdef rcu_sample_kept
		w = 0
#else
		d_step { w = 0; sampled = 0; sample = 0 }
#endif
	od
}
#undef me

// ---- CPU 1: readers, idle, tick -------------------------------------------------------------------------------------
bit irqs_off, no_preempt, in_irq, in_nmi, in_idle_loop;
byte nesting, left_idle;

#define me 1
#define READ(pointer, what) \
	LD(pointer, p); \
	if \
	:: p -> d_step { printf("@1 reads what %e names\n", pointer); assert(!freed[what]) } \
	:: else \
	fi; \
	p = 0

#ifdef CALLBACKS
#define READ_SIDE if :: READ(PTR0, 0) :: READ(PTR1, 1) fi
#else
#define READ_SIDE READ(PTR0, 0)
#endif

#ifdef rcu_idle_one_bit
#define DEPTH_BIT 1
#else
#define DEPTH_BIT (1 << nesting)
#endif

// An NMI may interrupt it anywhere.
inline entry(old)
{
	d_step { nesting++; SAY("handler: one level deeper") };
	if
#ifndef rcu_entry_unseen
	:: IS_IDLE(VIEW(IDLE1)) ->
		ADD(IDLE1, 1, old);
		d_step { left_idle = left_idle | DEPTH_BIT; old = 0; SAY("handler: has left the idle state") }
#endif
	:: else
	fi
}

inline leave(old)
{
	if
	:: left_idle & DEPTH_BIT ->
		d_step { left_idle = left_idle & (255 - DEPTH_BIT); SAY("handler: to the idle state again") };
		ADD(IDLE1, 1, old);
		old = 0
	:: else
	fi;
	d_step { nesting--; SAY("handler: one level up") }
}

proctype nmi_1()
{
	byte p, nmis;

	do
	:: nmis < NMIS ->
		d_step { in_nmi = 1; nmis++; SAY("takes an NMI") };
		entry(p);
		READ_SIDE;
		leave(p);
		d_step { in_nmi = 0; SAY("returns from the NMI") }
	:: else -> break
	od
}

#ifdef rcu_reader_is_quiescent
#define QUIESCENT true
#else
#define QUIESCENT (!no_preempt)
#endif

proctype interrupt_1() provided (!in_nmi)
{
	byte p, interrupts;

end:	do
	:: d_step { interrupts < INTERRUPTS && !irqs_off -> in_irq = 1; interrupts++; SAY("takes an interrupt") };
		entry(p);
		READ_SIDE;
		leave(p);
		d_step { in_irq = 0; SAY("returns from the interrupt") }
	// A tick; a CPU that idles has none. If no grace period waits for this CPU, the tick does nothing here.
	:: d_step { VIEW(WAITING) & 2 && !irqs_off && !in_idle_loop && QUIESCENT -> in_irq = 1;
			SAY("tick: this is a quiescent state") };
		REPORT(2, p);
		d_step { in_irq = 0; SAY("returns from the tick") }
	od
}

proctype task_1() provided (!in_irq && !in_nmi)
{
	byte p, acts;

	do
	:: acts < ACTS ->
		d_step { acts++; no_preempt = 1; SAY("begins a read side") };
		READ_SIDE;
		d_step { no_preempt = 0; SAY("has ended its read side") }
	:: acts < ACTS ->
		d_step { acts++; irqs_off = 1; in_idle_loop = 1; SAY("idle loop") };
#ifdef rcu_idle_enter_plain
		p = VIEW(IDLE1);
		ST(IDLE1, p + 1);
#else
		ADD(IDLE1, 1, p);
#endif
		d_step { irqs_off = 0; SAY("halts, interrupts on") };
		d_step { irqs_off = 1; SAY("wakes up, interrupts off") };
#ifdef rcu_idle_exit_plain
		p = VIEW(IDLE1);
		ST(IDLE1, p + 1);
#else
		ADD(IDLE1, 1, p);
#endif
		d_step { irqs_off = 0; in_idle_loop = 0; p = 0; SAY("leaves the idle loop") }
	:: else -> break
	od
}
#undef me

// ---- CPU 2: the updater ---------------------------------------------------------------------------------------------
#define me 2
// rcu_quiescent() in one step: the lock drains the buffer, and only CPUs that hold it write `waiting`.
proctype tick_2()
{
end:	do
	:: d_step { DRAINED && mem[LOCK] == 0 && mem[WAITING] & 4 -> mem[WAITING] = mem[WAITING] & (255 - 4);
		SAY("tick: reports a quiescent state") }
	od
}

#define REQUEST(gp) \
	if \
	:: VIEW(REQUESTED) < gp -> XCHG(REQUESTED, gp, old); old = 0 \
	:: else \
	fi

#define FREE(i) d_step { freed[i] = 1; printf("@2 frees what PTR%d named\n", i) }

#ifndef CALLBACKS
proctype updater()
{
	byte seq, gp, old;

	ST(PTR0, 0);
#ifndef rcu_snapshot_no_fence
	MB();
#endif
	LD(SEQ, seq);
	gp = NEXT(seq);
	REQUEST(gp);
	d_step { COMPLETED(VIEW(SEQ)) >= gp -> SAY("finds the grace period completed") };
#ifndef rcu_elapsed_no_fence
	MB();
#endif
	FREE(0)
}
#else
byte wait, next, done;		// the segments: which callbacks they hold, by bits
byte wait_gp, next_gp;

#ifdef rcu_segment_early
#define MAY_MOVE (wait && wait_gp <= completed + 1)
#else
#define MAY_MOVE (wait && wait_gp <= completed)
#endif

inline advance(completed)
{
	d_step {
		do
		:: MAY_MOVE -> done = done | wait; wait = next; next = 0;
#ifndef rcu_segment_keeps_gp
			wait_gp = next_gp
#endif
		:: else -> break
		od;
		printf("@2 moves callbacks up; completed: %d\n", completed)
	}
}

inline call_rcu(i)
{
#ifndef rcu_enqueue_no_fence
	MB();
#endif
	LD(SEQ, seq);
	gp = NEXT(seq);
	advance(COMPLETED(seq));
	d_step {
		if
#ifdef rcu_enqueue_oldest
		:: true -> if :: !wait -> wait_gp = gp :: else fi; wait = wait | (1 << i)
#else
		:: !wait || wait_gp == gp -> wait = wait | (1 << i); wait_gp = gp
		:: else -> next = next | (1 << i); next_gp = gp
#endif
		fi;
		printf("@2 enqueues callback %d for grace period %d\n", i, gp) };
	REQUEST(gp);
	d_step { seq = 0; gp = 0 }
}

#define READY (wait && wait_gp <= COMPLETED(VIEW(SEQ)))

// The callbacks' thread, at any point between two calls and after them; the list is under its lock.
inline invoke()
{
	do
	:: done & 1 -> FREE(0); done = done & 2
	:: done & 2 -> FREE(1); done = done & 1
	:: !done && READY ->
		LD(SEQ, seq);
		advance(COMPLETED(seq));
		seq = 0
	:: !done && !READY -> break
	od;
	skip
}

proctype updater()
{
	byte seq, gp, old;

	ST(PTR0, 0);
	call_rcu(0);
	if :: invoke() :: skip fi;
	ST(PTR1, 0);
	call_rcu(1);
	do
	:: freed[0] && freed[1] -> break
	:: READY || done -> invoke()
	od
}
#endif
#undef me

init
{
	atomic {
		mem[PTR0] = 1; mem[PTR1] = 1; mem[IDLE1] = 1;
		mem[REQUESTED] = EARLIER;
		run grace_periods(); run nmi_1(); run interrupt_1(); run task_1(); run tick_2(); run updater()
	}
}
