// SPDX-License-Identifier: MIT
// Sched-flavoured RCU driven by the tick (DESIGN 4). A reader is any region with interrupts or preemption off.
#pragma once
#include "kernel/preempt.h"

struct rcu_head {
	struct rcu_head *next;
	void (*fn)(struct rcu_head *);
};

static __always_inline void rcu_read_lock(void) { preempt_disable(); }
static __always_inline void rcu_read_unlock(void) { preempt_enable(); }

// fn(head) runs in thread context, preemption on, after a grace period that began after this call. Any context but NMI;
// IRQs either way. The head is RCU's until fn is called. fn must not sleep on a lock that anyone holds across
// synchronize_rcu() or rcu_barrier(): the latter waits for fn, and without memory for the CPU's callback thread the
// grace-period thread itself runs it.
void call_rcu(struct rcu_head *head, void (*fn)(struct rcu_head *));
// For a caller that has queued callbacks with preemption off, where call_rcu() leaves all haste to the tick: what it would
// have done at once if many wait. Preemptible.
void rcu_hasten(void);
void synchronize_rcu(void);		// wait for a full grace period. Thread context, may sleep
void synchronize_rcu_expedited(void);	// the same by IPIs: faster, disturbs the CPUs that run. May sleep
void rcu_barrier(void);			// wait until every callback queued before has run. May sleep
// Cookies for tests and for deferred checks: snapshot now, later ask whether a full grace period has passed since.
u64 rcu_snapshot(void);
bool rcu_elapsed(u64 snapshot);
u64 rcu_completed(void);		// sequence number of the last grace period that completed
u64 rcu_pending_callbacks(void);	// on all CPUs, approximately
void rcu_hurry(void);			// run a grace period now and kick its holdouts. Any context but NMI
void rcu_set_pressure(u64 callbacks);	// kick the holdouts when more callbacks than this wait on one CPU
void rcu_set_late_ns(u64 ns);		// complain (with the holdout's backtrace) when one takes longer; default 10 s
u64 rcu_late_reports(void);			// complaints so far

// Hooks; the caller's context in brackets.
void rcu_init(void);			// boot CPU, slab is up, threads can be created
void rcu_start(void);			// after sched and SMP: start the grace-period and callback threads
void rcu_init_cpu(void);		// each CPU, before it enables interrupts
void rcu_tick(bool quiescent);		// [tick, IRQs off]
void rcu_context_switch(void);		// [schedule(), IRQs off, before the switch]
void rcu_idle_enter(void);		// [idle loop, IRQs off]: from here to rcu_idle_exit this CPU is quiescent
void rcu_idle_exit(void);
void rcu_irq_enter(void);		// [interrupt entry] leaves the idle state before any reader
void rcu_irq_exit(void);		// [interrupt exit]
void rcu_nmi_enter(void);		// the same for NMI; nests inside all of the above
void rcu_nmi_exit(void);
bool rcu_needs_tick(unsigned cpu);	// [idle loop] callbacks waiting or driving a grace period: keep the tick
