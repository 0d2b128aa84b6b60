// SPDX-License-Identifier: MIT
// RCU: reports of CPUs that stall, and pressure.
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "lab/test.h"
#include "tests/kernel/rcu/readers.h"

static int synchronize_once(void *arg)
{
	void (*synchronize)(void) = arg;

	synchronize();
	return 0;
}

// A CPU that reads with interrupts off can print its backtrace only by NMI.
TEST(rcu, stall_is_reported, NEEDS_CPUS2)
{
	move_to(0);
	for (int i = 0; i < 3; i++) {
		rcu_set_late_ns(10 * tick_ns());
		synchronize_rcu();		// the next one begins with that limit
		u64 stalls = rcu_late_reports(), backtraces = READ_ONCE(rcu.backtraces);
		struct thread *r = start_reader(i == 1 ? READ_IRQS_OFF : READ_PREEMPT_OFF, last_cpu(), 0);

		WRITE_ONCE(rcu.late_cpu, NR_CPUS);
		void (*how)(void) = i == 2 ? synchronize_rcu_expedited : synchronize_rcu;
		struct thread *s = thread_create("sync", synchronize_once, how, 0, PRIO_NORMAL);

		EXPECT(EVENTUALLY(rcu_late_reports() > stalls && READ_ONCE(rcu.backtraces) > backtraces &&
				  READ_ONCE(rcu.late_cpu) == last_cpu()));
		EXPECT(!load_acquire(&reader.done));
		rcu_set_late_ns(10 * NSEC_PER_SEC);
		end_reader(r);
		thread_join(s);
	}
	move_anywhere();
}

TEST(rcu, pressure_kicks, NEEDS_CPUS2)
{
	static struct rcu_head heads[20];

	move_to(0);
	memset(heads, 0, sizeof(heads));
	rcu_barrier();
	for (int pressed = 0; pressed < 2; pressed++) {
		u64 kicks = READ_ONCE(rcu.kicks);
		struct thread *r = start_reader(READ_PREEMPT_OFF, last_cpu(), 0);

		rcu_set_pressure(pressed ? 10 : 10000);
		for (unsigned i = 0; i < ARRAY_SIZE(heads); i++)
			call_rcu(&heads[i], count_run);
		if (pressed)
			EXPECT(EVENTUALLY(READ_ONCE(rcu.kicks) > kicks));
		else
			thread_sleep_ns(5 * tick_ns());
		EXPECT(pressed || READ_ONCE(rcu.kicks) == kicks);
		end_reader(r);
		rcu_barrier();
	}
	rcu_set_pressure(10000);
	synchronize_rcu();
	EXPECT_EQ(READ_ONCE(rcu.pressed), 0);
	move_anywhere();
}
