// SPDX-License-Identifier: MIT
// RCU: the argument why it is right; quiescent states and the tree that combines them.
//
//	            seq 2c            2c+1                          2c+2
//	    ────────────┬──────────────┬──────────────────────────────┬────────────▶
//	         unlink, snapshot = c+1│ every CPU: quiescent once    │ elapsed(c+1): free
//
// Definitions
//   A *reader* is a stretch of one CPU's execution with interrupts or preemption off, interrupt and NMI handlers
//   included. The hooks of rcu.h cut such a stretch in two: their callers carry no protected reference across them.
//   A CPU is *quiescent at an instant* when no reader is under way on it at that instant: in rcu_context_switch(); in
//   rcu_tick(true) and in an expedited call that interrupted preemptible code or the idle loop; in the preemptible code
//   of the grace-period thread, and of a caller of call_rcu(); and all the time between the two edges of the idle state,
//   rcu_idle_enter()/irq exit and rcu_idle_exit()/irq, NMI entry.
//   *Grace period g* begins when rcu.seq becomes 2g-1 and ends when it becomes 2g. Only the grace-period thread writes
//   seq. Grace periods do not overlap.
//
// Properties
//   1. In grace period g the thread stores seq = 2g-1, executes a full barrier, and only then sets the bits `waiting`
//      from the root down to the leaves, each node's under its lock: every CPU gets a bit in its leaf, every leaf one
//      in the root.
//   2. A CPU's bit is cleared only under its leaf's lock, found set there, and only (a) by the CPU itself at an instant
//      when it is quiescent, or (b) by the grace-period thread when it has sampled the CPU's idle counter in this grace
//      period and found it even, or different from an earlier sample of this same grace period. Whoever holds the lock
//      and finds the bit set thereby knows that g has begun: nobody needs to note a number first, and a quiescent state
//      from before the beginning cannot count.
//   3. A node's bit in its parent is cleared only by the one who emptied the node, after that. As the parent's bit is
//      still set meanwhile, g cannot end, nor g+1 begin, between the two locks. So when the root is empty each CPU's
//      bit has been cleared; the thread sees that under the root's lock and only then stores seq = 2g.
//   4. The idle counter's edges are full barriers, and rcu_idle_sample() has one on each side of its load. If the
//      sample is even, each reader before that idle period is over, its accesses ordered before the sample, and each
//      reader after it sees all that preceded the sample. If two samples differ, an edge lay between them: same
//      conclusion for a point between the samples.
//   5. Interrupts and NMIs that arrive in idle make the counter odd, by a full barrier, before their first reader.
//   6. rcu_snapshot() executes a full barrier, then reads seq: s. It returns c+1 if no grace period was under way (2c),
//      c+2 if one was (2c+1): the first grace period that had not begun when seq was read.
//   7. rcu_elapsed(g) reads seq ≥ 2g with acquire order, then executes a full barrier.
//
// Theorem. Let U be an update, followed on its CPU (or by happens-before) by g = rcu_snapshot(), and E an instruction
//   that follows a true rcu_elapsed(g). Then for each reader R: either R sees U, or all of R's accesses happen before
//   E.
// Proof. Let t be the point in g at which R's CPU was quiescent and for which its bit was cleared (it exists by 3). By
//   the definition no reader spans t: R lies wholly before or wholly after it.
//   R before t: R's accesses come before the clearing of the bit: in program order (2a), or by 4 (2b); the locks of
//   leaf and root order that before the thread's check of the root (3), so before seq = 2g, so before E (7).
//   R after t: the snapshot read seq before 2g-1 was stored (6), with a full barrier between U and the read; the
//   thread's full barrier lies between that store and the setting of the bits (1). Were R not to see U, then (store
//   buffering, which the two full barriers forbid) the read of seq would have had to see 2g-1. In between, the order
//   from the thread's barrier to R is carried by the leaf's lock (2a), or by the barriers of 4 (2b). ∎
// Callbacks carry g = rcu_snapshot() taken after their enqueue began, and run after rcu_elapsed(g). rcu/expedited.c
// has an argument of its own.
//
// Locks: node locks are never nested; the thread is woken with none held. Nodes, CPUs' structures and threads live for
// ever.
#include "kernel/panic.h"
#include "kernel/rcu/internal.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/trace.h"

struct rcu_state rcu = {
	.pressure = 10000,
	.late_ns = 10 * NSEC_PER_SEC,
	.late_at = UINT64_MAX,
	.exp_late_at = UINT64_MAX,
	.late_cpu = NR_CPUS,
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

// ---- Quiescent states -----------------------------------------------------------------------------------------------

// Clear bits of a node whose lock is held (IRQs off), and climb as long as nodes become empty. Releases the lock.
// True: the root is empty now.
bool rcu_clear_and_unlock(struct rcu_node *node, u32 bits)
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
			trace(EV_QUIESCENT, cpu_id());
			done = rcu_clear_and_unlock(rc->leaf, rc->bit);
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
	if (MUTANT(rcu_reader_is_quiescent))	// a tick that interrupts a reader reports, too
		quiescent = true;
	if (quiescent)
		rcu_quiescent(rc);
	else if (rcu_waits_for(rc) || READ_ONCE(rc->exp_need))
		this_cpu_write(need_resched, true);	// let the reader's end report: every tick might hit a reader
	if (READ_ONCE(rc->cb.count))
		rcu_callbacks_tick(rc);
	if (cpu_id() == RCU_GP_CPU && rcu_seq_running(READ_ONCE(rcu.seq))) {
		WRITE_ONCE(rcu.scan_due, 1);
		rcu_wake_thread();
	}
	rcu_late_tick();
}

bool rcu_needs_tick(unsigned cpu)
{
	return READ_ONCE(per_cpu(rcu_cpu, cpu).cb.count) != 0 ||
	       (cpu == RCU_GP_CPU && rcu_seq_running(READ_ONCE(rcu.seq)));
}

// ---- Start ----------------------------------------------------------------------------------------------------------

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
