// SPDX-License-Identifier: MIT
// The steal-time record and the thief: the protocol step by step, and that neither the meter of interrupts
// off nor RCU holds the lost time against the preempted CPU.
#include "kernel/steal.h"
#include "kernel/rcu/internal.h"
#include "kernel/rcu/rcu.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/irqsoff.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "lab/thief.h"
#include "tests/kernel/rcu/readers.h"
#include "tests/lab/thief_help.h"
#include "tests/mm/help.h"
#include <arch/steal.h>

#define THEFT_NS (4 * NSEC_PER_MSEC)

static bool even_version(unsigned cpu) { return !(READ_ONCE(per_cpu(steal_record, cpu).version) & 1); }

TEST(steal, record, NEEDS_CPUS2)
{
	unsigned cpu = mm_other_cpu(0);
	u8 *preempted = &per_cpu(steal_record, cpu).preempted;
	struct counters before, after;

	NEEDS_THE_THIEF();
	EXPECT(!steal_flush_later(cpu));	// it runs
	EXPECT_EQ(READ_ONCE(*preempted), 0);
	counters_snapshot(&before);
	for (int flags = 0; flags < 3; flags++) {
		irqflags_t irqs = irq_save();	// a tick here may need a lock that the preempted CPU holds
		u64 ns = steal_ns(cpu);

		thief_rob(cpu, 0);
		thief_wait_robbed(cpu);
		EXPECT_EQ(READ_ONCE(*preempted), STEAL_PREEMPTED);
		for (int i = 0; i < flags; i++) {
			EXPECT(steal_flush_later(cpu));
			EXPECT_EQ(READ_ONCE(*preempted), STEAL_PREEMPTED | STEAL_FLUSH_TLB);
		}
		EXPECT(thief_robs(cpu));
		thief_release(cpu);
		thief_wait_back(cpu);
		EXPECT(!thief_robs(cpu) && !steal_flush_later(cpu));
		EXPECT_EQ(READ_ONCE(*preempted), 0);
		irq_restore(irqs);
		EXPECT(steal_ns(cpu) > ns && even_version(cpu));
	}
	counters_snapshot(&after);
	EXPECT_EQ(after.thefts - before.thefts, 3);
	EXPECT_EQ(after.theft_flushes - before.theft_flushes, 2);	// once however many have asked
}

// The thief preempts its own CPU: the call returns after the preemption, with flags and counts as they were.
static void rob_self(bool irqs_off)
{
	irqflags_t flags = 0;
	u64 stolen, start;
	u32 depth;

	preempt_disable();
	if (irqs_off)
		flags = irq_save();
	depth = this_cpu_read(preempt_count);
	stolen = thief_stolen_ns(cpu_id());
	start = now_ns();
	thief_rob(cpu_id(), NSEC_PER_MSEC);
	EXPECT(now_ns() - start >= NSEC_PER_MSEC);
	EXPECT(thief_stolen_ns(cpu_id()) - stolen >= NSEC_PER_MSEC);
	EXPECT(irqs_enabled() != irqs_off);
	EXPECT_EQ(this_cpu_read(preempt_count), depth);
	if (irqs_off)
		irq_restore(flags);
	preempt_enable();
}

TEST(steal, self, 0)
{
	NEEDS_THE_THIEF();
	for (int i = 0; i < 3; i++) {	// one after another
		rob_self(false);
		rob_self(true);
	}
}

// The meter of interrupts off must not count steal time against the walker.
#if CHECK

static void rob_own(struct stall_point *p, void *unused) { thief_rob(cpu_id(), THEFT_NS); }

// Whichever stretch was the longest here, the preemption was no part of it, and both lie between the two readings of
// the clock. So a host that preempts this CPU by itself changes nothing.
static bool stretch_spares_a_theft(bool at_its_start)
{
	irqflags_t flags;
	u64 start, longest;

	preempt_disable();
	start = cycles();
	irqsoff_reset();
	if (at_its_start) {
		stall_point("irqsoff_begun")->action = rob_own;
		stall_point("irqsoff_begun")->cpu = (int)cpu_id();
		stall_arm(stall_point("irqsoff_begun"), NULL, 0, 0, 0);
	}
	flags = irq_save();
	if (!at_its_start)
		thief_rob(cpu_id(), THEFT_NS);
	irq_restore(flags);
	if (at_its_start) {
		EXPECT_EQ(stall_point("irqsoff_begun")->hits, 1);
		stall_release(stall_point("irqsoff_begun"));
	}
	longest = irqsoff_longest_here();
	start = cycles() - start;
	preempt_enable();
	return longest <= start && arch_cycles_to_ns(start - longest) >= THEFT_NS - NSEC_PER_USEC;	// rounding
}

static bool irqs_off_is_metered(void)
{
	irqflags_t flags;

	irqsoff_reset();
	flags = irq_save();
	irq_restore(flags);
	return irqsoff_longest() > 0;
}

TEST(steal, irqs_off_time_is_not_stolen_time, 0)
{
	NEEDS_THE_THIEF();
	if (!irqs_off_is_metered())
		SKIP("the host build does not meter interrupts off");
	for (int at_its_start = 0; at_its_start < 2; at_its_start++)
		EXPECT(stretch_spares_a_theft(at_its_start));
	irqsoff_reset();
}
#endif

static bool rob_idle(unsigned cpu)
{
	irqflags_t flags = irq_save();	// until it is known that it idles, and so holds no lock
	bool idle;

	thief_rob(cpu, 0);
	thief_wait_robbed(cpu);
	idle = rcu_sample_idle(rcu_idle_sample(cpu));
	if (!idle) {
		thief_release(cpu);
		thief_wait_back(cpu);
	}
	irq_restore(flags);
	return idle;
}

// A CPU that was preempted while it idled is as quiescent as one that idles: the grace period ends without it.
TEST(steal, out_of_idle_delays_no_grace_period, NEEDS_CPUS2)
{
	unsigned cpu = last_cpu();
	bool idle = false;

	NEEDS_THE_THIEF();
	move_to(0);
	rcu_barrier();
	REQUIRE(EVENTUALLY(idle || (idle = rob_idle(cpu))));	// it may be busy once in a while
	synchronize_rcu();
	EXPECT(thief_robs(cpu));
	EXPECT(rcu_sample_idle(rcu_idle_sample(cpu)));
	thief_release(cpu);
	thief_wait_back(cpu);
	move_anywhere();
}

static int robbed_reader(void *unused)
{
	rcu_read_lock();
	thief_rob(cpu_id(), 0);
	rcu_read_unlock();
	return 0;
}

// A CPU that was preempted inside a read side is still a reader.
TEST(steal, in_a_reader_delays_the_grace_period, NEEDS_CPUS2)
{
	unsigned cpu = last_cpu();
	struct thread *t;
	u64 snapshot;

	NEEDS_THE_THIEF();
	move_to(0);
	t = mm_thread("reader", robbed_reader, NULL, cpu);
	REQUIRE(t);
	thief_wait_robbed(cpu);
	snapshot = rcu_snapshot();
	for (int i = 0; i < 5; i++) {
		thread_sleep_ns(2 * tick_ns());
		EXPECT(!rcu_elapsed(snapshot));
	}
	EXPECT(thief_robs(cpu));
	thief_release(cpu);
	synchronize_rcu();
	EXPECT(rcu_elapsed(snapshot));
	mm_join(t);
	move_anywhere();
}

// The thief preempts all other CPUs at once, many times: requests are per CPU, and none is lost or served twice.
TEST(steal, everybody, NEEDS_CPUS2)
{
	struct counters before, after;
	unsigned self;

	NEEDS_THE_THIEF();
	preempt_disable();
	self = cpu_id();
	counters_snapshot(&before);
	for (int round = 0; round < 10; round++) {
		irqflags_t flags = irq_save();	// a tick here may need a lock that a preempted CPU holds

		for_each_cpu(cpu)
			if (cpu != self)
				thief_rob(cpu, 0);
		for_each_cpu(cpu) {
			if (cpu == self)
				continue;
			thief_wait_robbed(cpu);
			thief_release(cpu);
		}
		for_each_cpu(cpu)
			thief_wait_back(cpu);
		irq_restore(flags);
	}
	counters_snapshot(&after);
	preempt_enable();
	EXPECT_EQ(after.thefts - before.thefts, 10 * (nr_cpus - 1));
}

// A hypervisor that owns the records writes each CPU's.
TEST(steal, hypervisor_keeps_the_records, 0)
{
	if (steal_owner() != STEAL_KVM)
		SKIP("needs a hypervisor that keeps steal-time records");
	for_each_cpu(cpu) {
		spin_until(READ_ONCE(per_cpu(steal_record, cpu).version), "the hypervisor", cpu);
		steal_ns(cpu);		// comes to an end: the version is even between two writes
	}
}

static int sleep_a_little(void *unused)
{
	thread_sleep_ns(NSEC_PER_MSEC);
	return 0;
}

// Xen writes each CPU's area when the CPU is registered, and when it begins to idle.
TEST(steal, xen_keeps_the_areas, 0)
{
	static u64 since[NR_CPUS];

	if (steal_owner() != STEAL_XEN)
		SKIP("needs a hypervisor that keeps steal-time records");
	for_each_cpu(cpu) {
		since[cpu] = arch_runstate_since(cpu);
		EXPECT(since[cpu]);
	}
	threads_run_on(&cpus_online, sleep_a_little, NULL);
	for_each_cpu(cpu) {
		EXPECT(EVENTUALLY(arch_runstate_since(cpu) != since[cpu]));
		steal_ns(cpu);		// comes to an end: no write lasts
	}
}
