// SPDX-License-Identifier: MIT
// Orderings of RCU that a test can observe at a stall point: the steps in which a grace period begins
// (kernel/rcu/rcu.c, property 1), and rcu_barrier() behind callbacks of two grace periods.
#include "kernel/rcu/internal.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "tests/kernel/rcu/readers.h"
#include "tests/mm/help.h"

#if CHECK

struct begun {
	bool running;		// a CPU that reports now reports to this grace period
	u32 root;		// its bits; where it is the only leaf some may be cleared already
};

static void note_how_it_begins(struct stall_point *p, void *arg)
{
	struct begun *b = arg;

	b->root = READ_ONCE(rcu.root->waiting);
	b->running = rcu_seq_running(READ_ONCE(rcu.seq));
}

// The sequence says that a grace period has begun before any CPU's bit is set, and the root's bits are set before those
// of any leaf.
TEST(rcu, sequence_then_root_then_leaves, 0)
{
	struct begun b = { .running = false };

	stall_point("rcu_gp_setting")->action = note_how_it_begins;
	stall_point("rcu_gp_setting")->arg = &b;
	stall_arm(stall_point("rcu_gp_setting"), NULL, 0, 0, 0);
	synchronize_rcu();
	stall_release(stall_point("rcu_gp_setting"));
	EXPECT(b.running);
	if (rcu.nr_nodes > 1)
		EXPECT_EQ(b.root, rcu.root->children);
}

struct barrier_scene {
	struct rcu_head first, second;
	u32 there, go;			// the reader
	u32 ran[2];
	u32 returned;			// rcu_barrier() has returned
	bool all_ran;			// … and both callbacks had run by then
};
static struct barrier_scene bs;

static void first_ran(struct rcu_head *head) { WRITE_ONCE(bs.ran[0], 1); }
static void second_ran(struct rcu_head *head) { WRITE_ONCE(bs.ran[1], 1); }

static int hold_the_grace_period(void *unused)
{
	preempt_disable();
	store_release(&bs.there, 1u);
	spin_until(load_acquire(&bs.go), "the test", -1);
	preempt_enable();
	return 0;
}

static int barrier_and_look(void *unused)
{
	rcu_barrier();
	bs.all_ran = READ_ONCE(bs.ran[0]) && READ_ONCE(bs.ran[1]);
	WRITE_ONCE(bs.returned, 1);
	return 0;
}

// Runs in the grace-period thread, which is about to begin the second grace period. A barrier that does not wait for
// that one has returned by now, or does so soon.
static void let_the_barrier_return(struct stall_point *p, void *unused)
{
	(void)EVENTUALLY_WITHIN(READ_ONCE(bs.returned), 4);
}

// One callback waits for the grace period that is under way, and one, queued meanwhile, for the next.
static bool queue_for_two(void)
{
	call_rcu(&bs.first, first_ran);
	rcu_hurry();
	EXPECT(EVENTUALLY(rcu_seq_running(READ_ONCE(rcu.seq))));
	call_rcu(&bs.second, second_ran);
	return READ_ONCE(this_cpu_ptr(&rcu_cpu)->cb.seg[RCU_NEXT].head) == &bs.second;
}

#define ATTEMPTS 20	// somebody else's grace period may be under way already
TEST(rcu, barrier_waits_for_the_later_of_two_grace_periods, NEEDS_CPUS2)
{
	bool two = false;

	mm_settled_frames();		// so that each CPU has its callback thread: the grace-period thread makes it
	move_to(RCU_GP_CPU);		// the reader is on another CPU: it holds the grace period up, not the thread
	for (unsigned i = 0; i < ATTEMPTS && !two && !test_failed(); i++) {
		struct thread *reader, *barrier;

		rcu_barrier();
		bs = (struct barrier_scene){ .there = 0 };
		reader = mm_thread("reader", hold_the_grace_period, NULL, mm_other_cpu(0));
		if (!reader)
			break;
		spin_until(load_acquire(&bs.there), "reader", -1);
		two = queue_for_two();
		barrier = mm_thread("barrier", barrier_and_look, NULL, cpu_id());
		EXPECT(EVENTUALLY(barrier && READ_ONCE(barrier->state) == THREAD_SLEEPING));
		stall_point("rcu_gp_setting")->action = let_the_barrier_return;
		stall_arm(stall_point("rcu_gp_setting"), NULL, 0, 0, 0);
		store_release(&bs.go, 1u);
		mm_join(reader);
		mm_join(barrier);
		stall_release(stall_point("rcu_gp_setting"));
		EXPECT(bs.all_ran);
	}
	move_anywhere();
	EXPECT(two);
}
#endif
