// SPDX-License-Identifier: MIT
// RCU: the argument why it is right, the tree, and the grace-period thread.
//
//	            seq 2c            2c+1                          2c+2
//	    ────────────┬──────────────┬──────────────────────────────┬────────────▶
//	         unlink, snapshot = c+1│ every CPU: quiescent once    │ elapsed(c+1): free
//
// Definitions
//   A *reader* is a stretch of one CPU's execution with interrupts or preemption off, interrupt and NMI handlers included.
//   The four hooks below cut such a stretch in two: their callers carry no protected reference across them.
//   A CPU is *quiescent at an instant* when no reader is under way on it at that instant: in rcu_context_switch(); in
//   rcu_tick(true) and in an expedited call that interrupted preemptible code or the idle loop; in the preemptible code
//   of the grace-period thread; and all the time between the two edges of the idle state, rcu_idle_enter()/irq exit and
//   rcu_idle_exit()/irq, NMI entry.
//   *Grace period g* begins when rcu.seq becomes 2g-1 and ends when it becomes 2g. Only the grace-period thread writes seq.
//   Grace periods do not overlap.
//
// Properties
//   1. In grace period g the thread stores seq = 2g-1, executes a full barrier, and only then sets the bits `waiting` from
//      the root down to the leaves, each node's under its lock: every CPU gets a bit in its leaf, every leaf one in the root.
//   2. A CPU's bit is cleared only under its leaf's lock, found set there, and only (a) by the CPU itself at an instant
//      when it is quiescent, or (b) by the grace-period thread when it has sampled the CPU's idle counter in this grace
//      period and found it even, or different from an earlier sample of this same grace period.
//      Whoever holds the lock and finds the bit set thereby knows that g has begun: nobody needs to note a number first,
//      and a quiescent state from before the beginning cannot count.
//   3. A node's bit in its parent is cleared only by the one who emptied the node, after that. As the parent's bit is still
//      set meanwhile, g cannot end, nor g+1 begin, between the two locks. So when the root is empty each CPU's bit
//      has been cleared; the thread sees that under the root's lock and only then stores seq = 2g.
//   4. The idle counter's edges are full barriers, and rcu_idle_sample() has one on each side of its load. If the
//      sample is even, each reader before that idle period is over, its accesses ordered before the sample, and each reader
//      after it sees all that preceded the sample. If two samples differ, an edge lay between them: same conclusion for a
//      point between the samples.
//   5. Interrupts and NMIs that arrive in idle make the counter odd, by a full barrier, before their first reader.
//   6. rcu_snapshot() executes a full barrier, then reads seq: s. It returns c+1 if no grace period was under way (s = 2c),
//      c+2 if one was (s = 2c+1): the first grace period that had not begun when seq was read.
//   7. rcu_elapsed(g) reads seq ≥ 2g with acquire order, then executes a full barrier.
//
// Theorem. Let U be an update, followed on its CPU (or by happens-before) by g = rcu_snapshot(), and E an instruction that
//   follows a true rcu_elapsed(g). Then for each reader R: either R sees U, or all of R's accesses happen before E.
// Proof. Let t be the point in g at which R's CPU was quiescent and for which its bit was cleared (it exists by 3). By the
//   definition no reader spans t: R lies wholly before or wholly after it.
//   R before t: R's accesses come before the clearing of the bit: in program order (2a), or by 4 (2b); the locks of leaf and
//   root order that before the thread's check of the root (3), so before seq = 2g, so before E (7).
//   R after t: the snapshot read seq before 2g-1 was stored (6), with a full barrier between U and the read;
//   the thread's full barrier lies between that store and the setting of the bits (1). Were R not to see U, then (store
//   buffering, which the two full barriers forbid) the read of seq would have had to see 2g-1. In between, the order from
//   the thread's barrier to R is carried by the leaf's lock (2a), or by the barriers of 4 (2b).                            ∎
// Callbacks carry g = rcu_snapshot() taken after their enqueue began, and run after rcu_elapsed(g). rcu_exp.c argues for itself.
//
// Locks: node locks are never nested; the thread is woken with none held. Nodes, CPUs' structures and threads live for ever.
#include <arch/ipi.h>
#include "kernel/counter.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "kernel/rcu_internal.h"
#include "kernel/thread.h"
#include "kernel/time.h"

struct rcu_state rcu = {
	.pressure = 10000,
	.stall_ns = 10 * NSEC_PER_SEC,
	.stall_at = UINT64_MAX,
	.exp_stall_at = UINT64_MAX,
	.stall_cpu = NR_CPUS,
};

u64 rcu_snapshot(void)
{
	smp_mb();	// property 6; pairs with the one in gp_begin()
	return rcu_seq_next(READ_ONCE(rcu.seq));
}

bool rcu_elapsed(u64 snapshot)
{
	bool elapsed = rcu_seq_completed(load_acquire(&rcu.seq)) >= snapshot;

	smp_mb();	// property 7
	return elapsed;
}

u64 rcu_completed(void)
{
	return rcu_seq_completed(load_acquire(&rcu.seq));
}

// ---- Quiescent states --------------------------------------------------------------------------------------------------

// Clear bits of a node whose lock is held (IRQs off), and climb as long as nodes become empty. Releases the lock.
// True: the root is empty now.
static bool clear_and_unlock(struct rcu_node *node, u32 bits)
{
	for (;;) {
		u32 waiting = node->waiting & ~bits;

		ASSERT((node->waiting & bits) == bits);
		WRITE_ONCE(node->waiting, waiting);
		spin_unlock(&node->lock);
		if (waiting || !node->parent)
			return !waiting;
		bits = node->bit;
		node = node->parent;	// its bit is still set: this grace period cannot end (property 3)
		spin_lock(&node->lock);
	}
}

bool rcu_waits_for(struct rcu_cpu *rc)
{
	return READ_ONCE(rc->leaf->waiting) & rc->bit;
}

void rcu_quiescent(struct rcu_cpu *rc)
{
	// A stale 0 only means that a later quiescent state will be the one that counts.
	if (rcu_waits_for(rc)) {
		bool done = false;

		preempt_disable();
		spin_lock(&rc->leaf->lock);
		if (rc->leaf->waiting & rc->bit) {
			count(rcu_qs);
			done = clear_and_unlock(rc->leaf, rc->bit);
		} else {
			spin_unlock(&rc->leaf->lock);
		}
		preempt_enable_no_resched();
		if (done)
			rcu_wake_thread();
	}
	if (unlikely(READ_ONCE(rc->exp_need)))
		rcu_exp_quiescent(rc);
}

void rcu_context_switch(void)
{
	struct rcu_cpu *rc = this_cpu_ptr(&rcu_cpu);

	if (unlikely(!rc->leaf))
		return;		// a switch before rcu_init()
	ASSERT(!irqs_enabled() && !rcu_sample_idle(READ_ONCE(rc->idle_seq)));
	rcu_quiescent(rc);
}

void rcu_tick(bool quiescent)
{
	struct rcu_cpu *rc = this_cpu_ptr(&rcu_cpu);

	if (unlikely(!rc->leaf))
		return;
	if (quiescent)
		rcu_quiescent(rc);
	else if (rcu_waits_for(rc) || READ_ONCE(rc->exp_need))
		this_cpu_write(need_resched, true);	// have the reader's end report: ticks might always hit readers
	if (READ_ONCE(rc->cb.count))
		rcu_callbacks_tick(rc);
	if (cpu_id() == RCU_GP_CPU && rcu_seq_running(READ_ONCE(rcu.seq))) {
		WRITE_ONCE(rcu.scan_due, 1);
		rcu_wake_thread();
	}
	rcu_stall_tick();
}

bool rcu_needs_tick(unsigned cpu)
{
	return READ_ONCE(per_cpu(rcu_cpu, cpu).cb.count) != 0 ||
	       (cpu == RCU_GP_CPU && rcu_seq_running(READ_ONCE(rcu.seq)));
}

// ---- The grace-period thread -------------------------------------------------------------------------------------------

// The thread has a doorbell, so that many CPUs with the same wish do not queue up for the lock of its wait queue. Whoever
// finds it rung may go: the thread answers, by a full barrier, before it looks at what it waits for. Preemption
// is off so that the one who rings does not lose its CPU before it wakes.
void rcu_wake_thread(void)
{
	preempt_disable();
	if (!READ_ONCE(rcu.bell) && !xchg(&rcu.bell, 1))
		waitq_wake_one(&rcu.gp_wq);
	preempt_enable();
}

static void answer_bell(void)
{
	xchg(&rcu.bell, 0);
}

static bool gp_requested(void)
{
	return READ_ONCE(rcu.requested) > rcu_seq_completed(READ_ONCE(rcu.seq));
}

// Either the thread sees the new request when it looks for work after a grace period, or we see that none is running and
// wake it: the read-modify-writes of `requested` and `seq` are full barriers on both sides.
void rcu_request(u64 gp, bool may_wake)
{
	u64 old;

	do {
		old = READ_ONCE(rcu.requested);
	} while (old < gp && !cmpxchg(&rcu.requested, old, gp));
	if (may_wake && !rcu_seq_running(READ_ONCE(rcu.seq)))
		rcu_wake_thread();
}

void rcu_press(bool may_wake)
{
	if (READ_ONCE(rcu.pressed))
		return;
	WRITE_ONCE(rcu.pressed, 1);
	if (may_wake) {
		WRITE_ONCE(rcu.scan_due, 1);
		rcu_wake_thread();
	}
}

static void gp_begin(void)
{
	u64 now = now_ns();

	WRITE_ONCE(rcu.gp_started, now);
	WRITE_ONCE(rcu.stall_at, now + READ_ONCE(rcu.stall_ns));
	WRITE_ONCE(rcu.scan_due, 0);
	fetch_add(&rcu.seq, 1);
	smp_mb();	// property 1; pairs with the one in rcu_snapshot()
	for (unsigned i = rcu.nr_nodes; i-- > 0; ) {	// the root first: a leaf may empty as soon as it is set
		struct rcu_node *node = &rcu.node[i];
		irqflags_t flags = spin_lock_irqsave(&node->lock);

		ASSERT(!node->waiting);
		WRITE_ONCE(node->waiting, node->children);
		spin_unlock_irqrestore(&node->lock, flags);
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

		if (has_idled(rc, cpu, gp))
			idled |= rc->bit;
		else
			cpumask_set(holdouts, cpu);
	}
	if (idled)
		clear_and_unlock(leaf, idled);
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
			rcu.kicks++;
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
	fetch_add(&rcu.seq, 1);
	spin_unlock_irqrestore(&rcu.root->lock, flags);
	WRITE_ONCE(rcu.stall_at, UINT64_MAX);
	if (READ_ONCE(rcu.pressed) && !any_over_watermark())
		WRITE_ONCE(rcu.pressed, 0);	// a list that outgrows it just now sets it again with its next callback
	for (unsigned i = 0; i * RCU_FANOUT < nr_cpus; i++)
		waitq_wake_all(&rcu.node[i].done_wq);
}

static void grace_period(void)
{
	gp_begin();
	while (!gp_scan(rcu_seq_completed(rcu.seq) + 1)) {
		wait_event(&rcu.gp_wq, (answer_bell(), !READ_ONCE(rcu.root->waiting) || READ_ONCE(rcu.scan_due) ||
						       READ_ONCE(rcu.threads_wanted)));
		WRITE_ONCE(rcu.scan_due, 0);
		rcu_callbacks_threads();
	}
	gp_end();
}

static int gp_thread(void *arg)
{
	for (;;) {
		wait_event(&rcu.gp_wq, (answer_bell(), gp_requested() || READ_ONCE(rcu.threads_wanted)));
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
	struct waitq *q = &rcu.node[cpu_id() / RCU_FANOUT].done_wq;	// any would do: a near one
	u64 gp = rcu_snapshot();

	rcu_request(gp, true);
	wait_event(q, rcu_elapsed(gp));
}

// ---- Start -------------------------------------------------------------------------------------------------------------

void rcu_set_pressure(u64 callbacks)
{
	WRITE_ONCE(rcu.pressure, callbacks);
}

static void build_tree(void)
{
	unsigned first = 0, children = nr_cpus;

	for (;;) {
		unsigned n = (children + RCU_FANOUT - 1) / RCU_FANOUT;

		for (unsigned i = 0; i < n; i++) {
			struct rcu_node *node = &rcu.node[first + i];

			spin_init(&node->lock, "rcu_node", RANK_RCU_NODE);
			waitq_init(&node->done_wq);
			node->children = (1u << MIN((unsigned)RCU_FANOUT, children - i * RCU_FANOUT)) - 1;
			node->parent = n > 1 ? &rcu.node[first + n + i / RCU_FANOUT] : NULL;
			node->bit = 1u << i % RCU_FANOUT;
		}
		first += n;
		children = n;
		if (n == 1)
			break;
	}
	rcu.nr_nodes = first;
	rcu.root = &rcu.node[first - 1];
}

// The tree holds all CPUs from the first grace period on; one that has not yet started looks idle (its counter is 0).
void rcu_init(void)
{
	build_tree();
	waitq_init(&rcu.gp_wq);
	rcu_callbacks_init();
	rcu_exp_init();
	for_each_cpu(cpu) {
		struct rcu_cpu *rc = &per_cpu(rcu_cpu, cpu);

		rc->bit = 1u << cpu % RCU_FANOUT;
		rc->leaf = &rcu.node[cpu / RCU_FANOUT];
	}
}

void rcu_init_cpu(void)
{
	rcu_idle_exit();
}

void rcu_start(void)
{
	rcu.gp_thread = thread_create("rcu_gp", gp_thread, NULL, RCU_GP_CPU, PRIO_HIGH);
	if (!rcu.gp_thread)
		panic("no memory for RCU's grace-period thread");
}
