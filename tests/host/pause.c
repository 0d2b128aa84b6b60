// SPDX-License-Identifier: MIT
// The host stops the machine for an hour: no watchdog may report a hang for that, and a real hang must still be found.
#include "arch/host/steps.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/test.h"
#include "tests/kernel/rcu/readers.h"

#define PAUSE_NS (3600 * NSEC_PER_SEC)
#define LOOKS (SPIN_LIMIT_NS / SPIN_SEEN_NS)	// after so many a spin-wait counts as a hang

#define NEEDS_STEPS do { \
	if (!steps_on) \
		SKIP("only under sched="); \
} while (0)

TEST(pause, spin_wait_is_no_hang, 0)
{
	struct seen waited = SEEN_FROM_NOW;

	NEEDS_STEPS;
	for (unsigned i = 0; i < 2 * LOOKS; i++) {
		if (i % LOOKS == LOOKS / 2)
			steps_pause(PAUSE_NS);
		waited = spin_look(waited, "nobody", -1);	// panics
	}
}

// On a host that runs the waiter only every second millisecond.
TEST(pause, slow_spin_wait_is_a_hang, 0)
{
	struct seen waited = SEEN_FROM_NOW;

	NEEDS_STEPS;
	for (unsigned i = 0; i < LOOKS; i++) {
		EXPECT(waited.ns < SPIN_LIMIT_NS);
		steps_pause(NSEC_PER_MSEC);
		seen_look(&waited, SPIN_SEEN_NS);
	}
	EXPECT_EQ(waited.ns, SPIN_LIMIT_NS);
}

static int synchronize_once(void *arg)
{
	synchronize_rcu();
	return 0;
}

static bool one_tick_everywhere(void)
{
	u32 before[NR_CPUS];

	for_each_cpu(cpu)
		before[cpu] = (u32)READ_ONCE(per_cpu(ticks, cpu));
	return EVENTUALLY(({
		bool all = true;

		for_each_cpu(cpu)
			all &= (u32)READ_ONCE(per_cpu(ticks, cpu)) - before[cpu] >= 2 || cpu_is_idle(cpu);
		all;
	}));
}

// A reader on the last CPU holds a grace period up.
TEST(pause, late_reader_is_reported_for_what_was_seen, NEEDS_CPUS2)
{
	struct thread *r, *s;
	u64 stalls = rcu_late_reports();

	NEEDS_STEPS;
	move_to(0);
	synchronize_rcu();
	r = start_reader(READ_PREEMPT_OFF, last_cpu(), 0);
	s = thread_create("sync", synchronize_once, NULL, 0, PRIO_NORMAL);
	EXPECT(EVENTUALLY(rcu_waits_for(&per_cpu(rcu_cpu, last_cpu()))));
	for (int i = 0; i < 3; i++) {
		steps_pause(PAUSE_NS);
		EXPECT(one_tick_everywhere());
	}
	EXPECT_EQ(rcu_late_reports(), stalls);
	EXPECT(EVENTUALLY_WITHIN((steps_pause(10 * tick_ns()), rcu_late_reports() > stalls), 10000));	// a slow host
	EXPECT_EQ(READ_ONCE(rcu.late_cpu), last_cpu());
	EXPECT(!load_acquire(&reader.done));
	end_reader(r);
	thread_join(s);
	move_anywhere();
}
