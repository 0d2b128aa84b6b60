// SPDX-License-Identifier: MIT
// rcu_hasten(): what call_rcu() leaves to the tick, because preemption is off, it does at once. Here the tick of the CPU
// that calls it is off. Of no other CPU do callbacks wait, so no other tick does it instead.
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/test.h"
#include "tests/kernel/rcu/readers.h"
#include "tests/kernel/tick_help.h"

static struct rcu_head heads[RCU_EAGER];

// On this CPU, with preemption off.
static void queue(unsigned n)
{
	memset(heads, 0, sizeof(heads));
	WRITE_ONCE(ran, 0);
	preempt_disable();
	for (unsigned i = 0; i < n; i++)
		call_rcu(&heads[i], count_run);
	preempt_enable();
}

// Have so many callbacks been hastened? The grace-period thread runs on this CPU as soon as it is woken: its priority is
// higher.
static bool begins(unsigned n, bool eager)
{
	u64 seq, begun;

	rcu_make_quiet();
	tick_off();
	seq = READ_ONCE(rcu.seq);
	if (eager)
		cpumask_set_atomic(&rcu.eager, cpu_id());
	queue(n);
	EXPECT_EQ(READ_ONCE(rcu.seq), seq);
	rcu_hasten();
	begun = READ_ONCE(rcu.seq);
	tick_on();
	rcu_barrier();
	EXPECT_EQ(READ_ONCE(ran), n);
	return begun != seq;
}

TEST(rcu, hasten_begins_a_grace_period_if_many_wait, 0)
{
	move_to(RCU_GP_CPU);
	EXPECT(begins(RCU_EAGER, false));
	EXPECT(begins(RCU_EAGER, true));		// it has asked for an end, and its tick has served it before that
	EXPECT(!begins(RCU_EAGER - 1, false));		// few are left to the tick
	move_anywhere();
}

// It asks for no grace period and presses nobody.
TEST(rcu, hasten_without_callbacks_does_nothing, 0)
{
	u64 requested, kicks, pressed;

	move_to(RCU_GP_CPU);
	rcu_make_quiet();
	requested = READ_ONCE(rcu.requested);
	kicks = READ_ONCE(rcu.kicks);
	pressed = READ_ONCE(rcu.pressed);	// may outlast its grace period
	for (unsigned i = 0; i < 3; i++)
		rcu_hasten();
	EXPECT(rcu_quiet());
	EXPECT_EQ(READ_ONCE(rcu.requested), requested);
	EXPECT_EQ(READ_ONCE(rcu.kicks), kicks);
	EXPECT_EQ(READ_ONCE(rcu.pressed), pressed);
	move_anywhere();
}

static int synchronize_once(void *unused)
{
	synchronize_rcu();
	return 0;
}

// A grace period waits for this CPU. Does the same one still, when so many callbacks have been hastened? (If the CPU has
// reported, the next one may wait for it at once.)
static bool still_waits(unsigned n)
{
	struct rcu_cpu *rc = this_cpu_ptr(&rcu_cpu);
	struct thread *t;
	bool waits;
	u64 seq;

	rcu_make_quiet();
	tick_off();
	preempt_disable();
	t = thread_create("sync", synchronize_once, NULL, RCU_GP_CPU, PRIO_NORMAL);
	if (EXPECT(t))
		spin_until(rcu_waits_for(rc), "the grace period", -1);
	queue(n);
	seq = READ_ONCE(rcu.seq);
	preempt_enable();
	EXPECT(rcu_waits_for(rc));
	rcu_hasten();
	waits = rcu_waits_for(rc);
	smp_rmb();	// if the next one waited, its number is seen; pairs with fetch_add() in gp_begin()
	waits &= READ_ONCE(rcu.seq) == seq;
	tick_on();
	thread_join(t);
	rcu_barrier();
	return waits;
}

TEST(rcu, hasten_reports_its_own_cpu_if_many_wait, NEEDS_CPUS2)
{
	move_to(last_cpu());
	EXPECT(!still_waits(RCU_EAGER));
	EXPECT(still_waits(RCU_EAGER - 1));
	move_anywhere();
}

// Over the watermark, a grace period that is under way kicks its holdouts now, and not at the next tick of the CPU of its
// thread.
TEST(rcu, hasten_kicks_holdouts_under_pressure, NEEDS_CPUS2)
{
	struct thread *reader, *waiter;
	u64 kicks;

	move_to(RCU_GP_CPU);
	rcu_make_quiet();
	reader = start_reader(READ_PREEMPT_OFF, last_cpu(), 0);
	waiter = thread_create("sync", synchronize_once, NULL, RCU_GP_CPU, PRIO_NORMAL);
	EXPECT(waiter && EVENTUALLY(rcu_waits_for(&per_cpu(rcu_cpu, last_cpu()))));
	rcu_set_pressure(10);
	tick_off();
	kicks = READ_ONCE(rcu.kicks);
	queue(20);
	EXPECT_EQ(READ_ONCE(rcu.kicks), kicks);
	rcu_hasten();
	EXPECT(READ_ONCE(rcu.kicks) != kicks);
	tick_on();
	end_reader(reader);
	thread_join(waiter);
	rcu_barrier();
	rcu_set_pressure(10000);
	move_anywhere();
}
