// SPDX-License-Identifier: MIT
// The tests' own wait (lab/test.h): a wait in vain ends, whatever the other CPUs do, and not before they have run.
#include "kernel/thread.h"
#include "lab/test.h"
#include "tests/lab/thief_help.h"
#include "tests/mm/help.h"

#define ROUNDS 5
#undef WAIT_ROUNDS
#define WAIT_ROUNDS ROUNDS	// of EVENTUALLY() in this file

static u32 looked;

static bool never(void)
{
	looked++;
	return false;
}

static void wait_in_vain(void)
{
	looked = 0;
	EXPECT(!EVENTUALLY_WITHIN(never(), ROUNDS));
	EXPECT(looked > ROUNDS);
}

TEST(wait, in_vain, 0) { wait_in_vain(); }

TEST(wait, becomes_true_at_last, 0)
{
	looked = 0;
	EXPECT(EVENTUALLY_WITHIN(never() || looked == 5, ROUNDS));
	EXPECT_EQ(looked, 5);
	EXPECT(EVENTUALLY_WITHIN(true, 0) && !EVENTUALLY_WITHIN(false, 0));
	looked = 0;
	EXPECT(EVENTUALLY(never() || looked == 5));
	EXPECT(!EVENTUALLY(never()));
}

static struct {
	u32 there, stop;
	bool irqs_off;
} busy;

static int be_busy(void *unused)
{
	irqflags_t flags = 0;

	if (busy.irqs_off)
		flags = irq_save();
	fetch_add(&busy.there, 1);
	spin_until(READ_ONCE(busy.stop), "the end of the wait", -1);
	if (busy.irqs_off)
		irq_restore(flags);
	return 0;
}

// A CPU that is busy for ever neither ends a wait early nor prolongs it.
TEST(wait, in_vain_beside_a_busy_cpu, NEEDS_CPUS2)
{
	for (int irqs_off = 0; irqs_off < 2; irqs_off++) {
		struct thread *t;

		busy.there = busy.stop = 0;
		busy.irqs_off = irqs_off;
		t = mm_thread("busy", be_busy, NULL, mm_other_cpu(0));
		REQUIRE(t);
		spin_until(READ_ONCE(busy.there), "the busy thread", -1);
		wait_in_vain();
		WRITE_ONCE(busy.stop, 1);
		mm_join(t);
	}
}

static int compute(void *unused)
{
	fetch_add(&busy.there, 1);
	while (!READ_ONCE(busy.stop))
		cpu_relax();
	return 0;
}

// A CPU that computes in a thread has run twice in each round.
TEST(wait, a_round_is_two_ticks, NEEDS_CPUS2)
{
	unsigned cpu = mm_other_cpu(0), rounds = 20;
	struct thread *t;
	u32 before;

	busy.there = busy.stop = 0;
	t = mm_thread("computes", compute, NULL, cpu);
	REQUIRE(t);
	spin_until(READ_ONCE(busy.there), "the computing thread", -1);
	before = test_runs_of(cpu);
	WHILE_OTHERS_RUN(rounds)
		;
	EXPECT(test_runs_of(cpu) - before >= 2 * rounds);
	WRITE_ONCE(busy.stop, 1);
	mm_join(t);
}

static struct {
	u32 there, awake;
} sleeper;

static int sleep_once(void *unused)
{
	WRITE_ONCE(sleeper.there, 1);
	thread_sleep_ns(20 * tick_ns());
	WRITE_ONCE(sleeper.awake, 1);
	return 0;
}

// A CPU with a timer to come does not count as resting for ever: a sleeper is still to run there.
TEST(wait, a_timer_to_come_is_no_rest, NEEDS_CPUS2)
{
	unsigned cpu = mm_other_cpu(0);
	struct thread *t;

	sleeper.there = sleeper.awake = 0;
	t = mm_thread("sleeps", sleep_once, NULL, cpu);
	REQUIRE(t);
	spin_until(READ_ONCE(sleeper.there), "the sleeper", -1);
	while (!READ_ONCE(sleeper.awake)) {
		bool rests = cpu_rests(cpu, ~0ull);

		if (!READ_ONCE(sleeper.awake))
			EXPECT(!rests);
		if (test_failed())
			break;
		cpu_relax();
	}
	mm_join(t);
}

// A CPU that has work to do is kept from running for much longer than the wait has rounds.
static bool let_it_run_at_last(unsigned cpu)
{
	if (++looked == 5 * ROUNDS)
		thief_release(cpu);
	return looked >= 5 * ROUNDS && READ_ONCE(busy.there) == 2;
}

static int robbed(void *unused)
{
	fetch_add(&busy.there, 1);
	thief_rob(cpu_id(), 0);
	fetch_add(&busy.there, 1);
	return 0;
}

TEST(wait, robbed_cpu_uses_nothing_up, NEEDS_CPUS2)
{
	unsigned cpu = mm_other_cpu(0);
	struct thread *t;

	NEEDS_THE_THIEF();
	looked = busy.there = 0;
	t = mm_thread("robbed", robbed, NULL, cpu);
	REQUIRE(t);
	thief_wait_robbed(cpu);
	EXPECT(EVENTUALLY_WITHIN(let_it_run_at_last(cpu), ROUNDS));
	thief_release(cpu);
	mm_join(t);
}
