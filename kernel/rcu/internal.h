// SPDX-License-Identifier: MIT
// What the files of RCU share: rcu.c (the proof, the tree), rcu/grace_period.c (the grace-period thread), rcu/idle.c
// (the idle counter), rcu/callbacks.c (lists, invocation, barrier), rcu/expedited.c (expedited), rcu/late.c
// (complaints).
#pragma once
#include "kernel/cpumask.h"
#include "kernel/mutex.h"
#include "kernel/rcu/rcu.h"
#include "kernel/spinlock.h"
#include "kernel/time.h"
#include "kernel/xcall.h"

#define RCU_FANOUT 16
#define RCU_LEAVES ((NR_CPUS + RCU_FANOUT - 1) / RCU_FANOUT)
#define RCU_NODES (RCU_LEAVES + 1)
_Static_assert(RCU_LEAVES <= RCU_FANOUT, "two levels hold all CPUs");
#define RCU_GP_CPU 0		// where the grace-period thread lives
#define RCU_BATCH 64		// callbacks taken off a list at once
#define RCU_EAGER 128		// a list with at least so many callbacks does not wait for ticks

struct rcu_node {
	struct spinlock lock;
	u32 waiting;		// children not yet quiescent in this grace period: written under lock, read by anyone
	u32 children;		// constant after rcu_init()
	u32 bit;		// this node's bit in its parent
	struct rcu_node *parent;	// NULL: the root
	struct waitq done_wq;	// of a leaf: threads that called synchronize_rcu() on its CPUs
} __cacheline;

struct rcu_fifo {
	struct rcu_head *head, **tail;
};

// Segments in order of age. Grace-period numbers are given at enqueue, from one reading of the sequence: all that is
// not DONE then waits for `completed + 1` or `completed + 2`, so two waiting segments are always enough.
enum { RCU_DONE, RCU_WAIT, RCU_NEXT, RCU_SEGMENTS };

struct rcu_cblist {
	struct spinlock lock;		// everything below
	struct rcu_fifo seg[RCU_SEGMENTS];
	u64 gp[RCU_SEGMENTS];		// the segment may run when this one has completed; gp[RCU_DONE] is 0
	u64 ready_at;			// of the oldest callback; U64_MAX: none. Read without the lock
	u64 count;			// queued or being invoked. Read without the lock
	bool invoking;			// a thread invokes a batch: no other may take one, so that the order is kept
};

struct rcu_cpu {
	u64 idle_seq;			// even: idle (or not yet started). Written only by its CPU, with full barriers
	u64 left_idle;			// bit d: the entry at depth d left the idle state
	u32 depth;			// interrupt and NMI entries
	u32 exp_need;			// an expedited grace period waits for this CPU
	u32 want_backtrace;
	u32 bit;			// in its leaf
	struct rcu_node *leaf;		// NULL before rcu_init()
	u64 sample, sample_gp;		// idle_seq when the grace-period thread first looked in grace period sample_gp
	struct xcall exp_call;
	struct rcu_cblist cb;
	struct waitq cb_wq;		// its callback thread
	struct thread *cb_thread;	// created by the grace-period thread when first needed
	struct rcu_head barrier_head;
} __cacheline;
DECLARE_PER_CPU(struct rcu_cpu, rcu_cpu);

enum rcu_pressed { PRESSED_AT_TICK = 1, PRESSED_AT_ONCE };	// has the thread been woken for it?

struct rcu_state {
	u64 seq __cacheline;		// 2 * completed + (one is in progress); the grace-period thread writes it
	u64 requested __cacheline;	// run grace periods up to this number; only grows
	u32 scan_due;			// look at the holdouts now
	u32 pressed;			// some list is over the watermark: kick the holdouts (enum rcu_pressed, or 0)
	u64 pressure;
	u64 late_ns;
	u64 gp_started, exp_started;	// by rcu_watched_ns()
	u64 late_at, exp_late_at;	// when to complain next, by the same; U64_MAX: nothing in progress
	u64 late_reports, backtraces;	// complaints, and the backtraces that holdouts then printed
	u64 kicks;			// reschedule IPIs sent for pressure
	u32 late_cpu;			// the CPU named by the last complaint
	struct cpumask want_thread;	// CPUs whose callbacks need a thread
	struct cpumask eager;		// CPUs whose callback thread the end of a grace period wakes, not their tick
	u32 threads_wanted;
	struct waitq gp_wq;		// the grace-period thread
	struct seen watched __cacheline;	// time that ticks have seen pass while a grace period was in progress
	u32 wakeup_sent __cacheline;	// the grace-period thread has been woken and has not looked yet
	struct thread *gp_thread __cacheline;
	unsigned nr_nodes;
	struct rcu_node *root;
	struct rcu_node node[RCU_NODES];	// leaves first, root last
};
extern struct rcu_state rcu;

// rcu.c
static inline u64 rcu_seq_completed(u64 seq) { return seq >> 1; }
static inline bool rcu_seq_running(u64 seq) { return seq & 1; }
// The first grace period that begins after the sequence was read as `seq`.
static inline u64 rcu_seq_next(u64 seq) { return (seq + 3) >> 1; }
void rcu_quiescent(struct rcu_cpu *rc);		// this CPU, IRQs off, is quiescent at this instant
bool rcu_waits_for(struct rcu_cpu *rc);		// does the grace period in progress wait for that CPU? (a hint)
// Clear bits of a node whose lock is held (IRQs off), climb while nodes become empty, release. True: the root is empty.
bool rcu_clear_and_unlock(struct rcu_node *node, u32 bits);

// rcu/grace_period.c
void rcu_request(u64 gp, bool may_wake);	// have it run; may_wake = false: the next tick wakes the thread
void rcu_press(bool may_wake);			// a list is over the watermark
void rcu_wake_thread(void);			// the grace-period thread. Any context but NMI

// rcu/idle.c
u64 rcu_idle_sample(unsigned cpu);		// fully ordered
static inline bool rcu_sample_idle(u64 s) { return !(s & 1); }
bool rcu_interrupted_quiescent(void);		// [interrupt] true: this interrupt did not interrupt a reader

// rcu/callbacks.c
void rcu_callbacks_init(void);
void rcu_callbacks_tick(struct rcu_cpu *rc);	// [tick, IRQs off] wake the thread that has to act on its callbacks
void rcu_callbacks_ready(void);			// [grace-period thread] one has ended: wake the threads of `eager`
void rcu_callbacks_threads(void);		// [grace-period thread] create the wanted threads
bool rcu_head_queued(const struct rcu_head *head, void (*fn)(struct rcu_head *));	// false in release builds

// rcu/expedited.c
void rcu_exp_init(void);
void rcu_exp_quiescent(struct rcu_cpu *rc);	// this CPU is quiescent and exp_need was seen

// rcu/late.c
u64 rcu_watched_ns(void);			// a clock that stands still while no CPU reads it. Any context
void rcu_late_tick(void);			// [tick, IRQs off]
