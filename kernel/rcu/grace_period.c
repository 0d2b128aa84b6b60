// SPDX-License-Identifier: MIT
// RCU's grace-period thread. Only it begins and ends grace periods:
//
//	wait for a request ──▶ begin: seq odd, set bits ──▶ scan: idle CPUs, own CPU ──▶ all in? ──▶ end: seq even
//	                                                       ▲                            │ no: sleep
//	                                                       └────────────────────────────┘
//	                                                         last report, next tick, pressure
//
// Properties and proof: rcu.c.
#include <arch/ipi.h>
#include "kernel/panic.h"
#include "kernel/rcu/internal.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/trace.h"

// `wakeup_sent` is a doorbell: it keeps CPUs that all want to wake the thread from contending for the lock of its wait
// queue. A CPU that finds it set has nothing to do: the thread clears it, by a full barrier, before it looks at what it
// waits for. Preemption is off so that the caller that sets it cannot be preempted before it wakes the thread.
void rcu_wake_thread(void)
{
	preempt_disable();
	smp_mb();	// what the thread waits for, then the mark: pairs with the exchange in take_wakeup()
	if (!READ_ONCE(rcu.wakeup_sent) && !xchg(&rcu.wakeup_sent, 1))
		waitq_wake_one(&rcu.gp_wq);
	preempt_enable();
}

static void take_wakeup(void)
{
	xchg(&rcu.wakeup_sent, 0);
}

static bool gp_requested(void)
{
	return READ_ONCE(rcu.requested) > rcu_seq_completed(READ_ONCE(rcu.seq));
}

// Either the thread sees the new request when it looks for work after a grace period, or we see that none is running
// and wake it:
//
//	thread: seq++ (gp_end), full barrier (the increment is one), reads `requested`
//	we:     requested = gp, or we find that another has asked; full barrier, read `seq`
//
// If another CPU has made the request, the barrier rules out that we see that request, but read a `seq` older than the
// one at which the thread looked and did not see it. (That CPU may have left the wake-up to its tick; we want it now.)
void rcu_request(u64 gp, bool may_wake)
{
	u64 old;

	do {
		old = READ_ONCE(rcu.requested);
	} while (old < gp && !cmpxchg(&rcu.requested, old, gp));
	if (!may_wake)
		return;
	smp_mb();	// pairs with the one of gp_end()
	if (!rcu_seq_running(READ_ONCE(rcu.seq)))
		rcu_wake_thread();
}

void rcu_set_pressure(u64 callbacks)
{
	WRITE_ONCE(rcu.pressure, callbacks);
}

void rcu_press(bool may_wake)
{
	u32 pressed = may_wake ? PRESSED_AT_ONCE : PRESSED_AT_TICK;

	if (READ_ONCE(rcu.pressed) >= pressed)
		return;
	WRITE_ONCE(rcu.pressed, pressed);	// another CPU's may be lost: then the thread is woken once more than it need be
	if (may_wake) {
		WRITE_ONCE(rcu.scan_due, 1);
		rcu_wake_thread();
	}
}

void rcu_hurry(void)
{
	rcu_request(rcu_seq_next(READ_ONCE(rcu.seq)), true);
	rcu_press(true);
}

static void gp_begin(void)
{
	u64 now = rcu_watched_ns();

	WRITE_ONCE(rcu.gp_started, now);
	WRITE_ONCE(rcu.late_at, now + READ_ONCE(rcu.late_ns));
	WRITE_ONCE(rcu.scan_due, 0);
	trace(EV_GP_BEGIN, rcu_seq_completed(rcu.seq) + 1);
	fetch_add(&rcu.seq, 1);
	smp_mb();	// property 1; pairs with the one in rcu_snapshot()
	for (unsigned i = rcu.nr_nodes; i-- > 0; ) {	// the root first: a leaf may become empty as soon as it is set
		struct rcu_node *node = &rcu.node[i];
		irqflags_t flags = spin_lock_irqsave(&node->lock);

		ASSERT(!node->waiting);
		WRITE_ONCE(node->waiting, node->children);
		spin_unlock_irqrestore(&node->lock, flags);
		// The bits of this node are set; when the point is first passed, those of all other nodes are not
		STALL(rcu_gp_setting, NULL, 0, 0);
	}
}

// Has this CPU idled, in this grace period, at some instant up to now? (property 2b)
static bool has_idled(struct rcu_cpu *rc, unsigned cpu, u64 gp)
{
	u64 s = rcu_idle_sample(cpu);

	if (rc->sample_gp != gp) {
		rc->sample_gp = gp;
		rc->sample = s;
	}
	if (MUTANT(rcu_busy_is_idle))	// every CPU counts as one that has idled
		return true;
	return rcu_sample_idle(s) || s != rc->sample;
}

static void scan_leaf(struct rcu_node *leaf, unsigned first_cpu, u64 gp, struct cpumask *holdouts)
{
	irqflags_t flags = irq_save();
	u32 idled = 0;

	spin_lock(&leaf->lock);
	for (u32 left = leaf->waiting; left; left &= left - 1) {
		unsigned cpu = first_cpu + (unsigned)__builtin_ctz(left);
		struct rcu_cpu *rc = &per_cpu(rcu_cpu, cpu);

		if (has_idled(rc, cpu, gp)) {
			trace(EV_QUIESCENT, cpu);
			idled |= rc->bit;
		} else {
			cpumask_set(holdouts, cpu);
		}
	}
	if (idled)
		rcu_clear_and_unlock(leaf, idled);
	else
		spin_unlock(&leaf->lock);
	irq_restore(flags);
}

// Report the idle CPUs and our own, kick the rest if there is pressure. True: nobody is left.
static bool gp_scan(u64 gp)
{
	struct cpumask holdouts = { 0 };
	irqflags_t flags = irq_save();

	rcu_quiescent(this_cpu_ptr(&rcu_cpu));	// the thread's own code is preemptible
	irq_restore(flags);
	for (unsigned i = 0; i * RCU_FANOUT < nr_cpus; i++)
		if (READ_ONCE(rcu.node[i].waiting))
			scan_leaf(&rcu.node[i], i * RCU_FANOUT, gp, &holdouts);
	if (READ_ONCE(rcu.pressed)) {
		for_each_cpu_in(cpu, &holdouts) {
			WRITE_ONCE(rcu.kicks, rcu.kicks + 1);
			count(ipi_resched);
			arch_send_ipi(cpu, IPI_RESCHED);	// its next preemption point is a quiescent state
		}
	}
	return !READ_ONCE(rcu.root->waiting);
}

static bool any_over_watermark(void)
{
	for_each_cpu(cpu)
		if (READ_ONCE(per_cpu(rcu_cpu, cpu).cb.count) > READ_ONCE(rcu.pressure))
			return true;
	return false;
}

static void gp_end(void)
{
	irqflags_t flags = spin_lock_irqsave(&rcu.root->lock);	// after every CPU's report (property 3)

	BUG_ON(rcu.root->waiting);
	trace(EV_GP_END, rcu_seq_completed(rcu.seq) + 1);
	fetch_add(&rcu.seq, 1);		// a full barrier: `requested` is read after it; pairs with rcu_request()
	spin_unlock_irqrestore(&rcu.root->lock, flags);
	WRITE_ONCE(rcu.late_at, UINT64_MAX);
	if (READ_ONCE(rcu.pressed) && !any_over_watermark())
		WRITE_ONCE(rcu.pressed, 0);	// a list that outgrows it just now sets it again with its next callback
	for (unsigned i = 0; i * RCU_FANOUT < nr_cpus; i++)
		waitq_wake_all(&rcu.node[i].done_wq);
	rcu_callbacks_ready();
}

static void grace_period(void)
{
	gp_begin();
	while (!gp_scan(rcu_seq_completed(rcu.seq) + 1)) {
		wait_event(&rcu.gp_wq, (take_wakeup(), !READ_ONCE(rcu.root->waiting) || READ_ONCE(rcu.scan_due) ||
						       READ_ONCE(rcu.threads_wanted)));
		WRITE_ONCE(rcu.scan_due, 0);
		rcu_callbacks_threads();
	}
	gp_end();
}

static int gp_thread(void *arg)
{
	for (;;) {
		wait_event(&rcu.gp_wq, (take_wakeup(), gp_requested() || READ_ONCE(rcu.threads_wanted)));
		rcu_callbacks_threads();
		if (gp_requested())
			grace_period();
	}
	return 0;
}

void synchronize_rcu(void)
{
	ASSERT_MAY_SLEEP();
	ASSERT(current != rcu.gp_thread && rcu.gp_thread);
	struct waitq *q = &rcu.node[cpu_id() / RCU_FANOUT].done_wq;	// any leaf's would do: take the nearest
	u64 gp = rcu_snapshot();

	count(rcu_waits);
	rcu_request(gp, true);
	wait_event(q, rcu_elapsed(gp));
}

void rcu_start(void)
{
	rcu.gp_thread = thread_create("rcu_gp", gp_thread, NULL, RCU_GP_CPU, PRIO_SERVICE);
	if (!rcu.gp_thread)
		panic("no memory for RCU's grace-period thread");
}
