// SPDX-License-Identifier: MIT
// User mode is a quiescent state: a grace period does not wait for its end.
#include "kernel/rcu/internal.h"
#include "kernel/rcu/rcu.h"
#include "kernel/thread.h"
#include "kernel/xcall.h"
#include "lab/test.h"
#include "tests/mm/help.h"
#include "tests/proc/user_mode/spinner.h"
#include <arch/uaccess.h>

// One over which that CPU has not switched threads, so that it was nothing but user mode and interrupts of it.
static bool ends_without_switch(void (*grace_period)(void), unsigned cpu)
{
	u64 switches = READ_ONCE(per_cpu(context_switches, cpu));
	u32 turns = spinner_turns();

	grace_period();
	return READ_ONCE(per_cpu(context_switches, cpu)) == switches && EXPECT(EVENTUALLY(spinner_turns() != turns));
}

static void ends_over_user_mode(void (*grace_period)(void))
{
	unsigned cpu = RCU_GP_CPU + 1;	// the other one has the grace-period thread
	struct cpumask here = { 0 };
	u64 before;

	cpumask_set(&here, RCU_GP_CPU);
	thread_set_affinity(&here);
	REQUIRE(spinner_start(cpu));
	before = rcu_completed();
	EXPECT(EVENTUALLY(ends_without_switch(grace_period, cpu)));
	EXPECT(grace_period != synchronize_rcu || rcu_completed() > before);
	EXPECT(!arch_user_write64(SPINNER_GO, 1));
	EXPECT_EQ(spinner_end(), USER_CALL);
	thread_set_affinity(&cpus_online);
}

// What a grace period asks of an interrupt: has it interrupted a reader?
struct found {
	bool spinner, quiescent;
};

static void look(void *arg)
{
	struct found *f = arg;

	f->spinner = current == spinner.thread;
	f->quiescent = rcu_interrupted_quiescent();
}

#define LOOKS 50
TEST(user_mode, interrupts_of_it_interrupt_no_reader, NEEDS_CPUS2)
{
	unsigned cpu = mm_other_cpu(0), looks = 0;
	struct test_wait w = test_wait(WAIT_ROUNDS);

	REQUIRE(spinner_start(cpu));
	do {
		struct found f = { 0 };

		xcall_one(cpu, look, &f);
		looks += f.spinner;
		if (f.spinner && !EXPECT(f.quiescent))
			break;
	} while (looks < LOOKS && test_wait_on(&w));
	EXPECT_EQ(looks, LOOKS);
	EXPECT(!arch_user_write64(SPINNER_GO, 1));
	EXPECT_EQ(spinner_end(), USER_CALL);
}

TEST(user_mode, grace_period_ends_over_it, NEEDS_CPUS2) { ends_over_user_mode(synchronize_rcu); }
TEST(user_mode, expedited_grace_period_ends_over_it, NEEDS_CPUS2) { ends_over_user_mode(synchronize_rcu_expedited); }
