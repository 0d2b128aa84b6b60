// SPDX-License-Identifier: MIT
// The clock, the tick, tickless idle, and the nesting counts of interrupts.
#include "kernel/time.h"
#include "kernel/irq.h"
#include "kernel/preempt.h"
#include "kernel/rcu/rcu.h"
#include "kernel/thread.h"
#include "lab/test.h"
#include "tests/kernel/rcu/readers.h"
#include <arch/time.h>

// What is allowed between the clocks of two CPUs: far more than any two that work differ by. A CPU that is kept from
// running only reads its clock later: it has read `latest` before that, so its own reading must be the later one.
#define SKEW_NS (10 * NSEC_PER_MSEC)

static u64 latest;	// of all CPUs' readings

static int clock_goes_forward(void *arg)
{
	u64 last = 0;

	for (int i = 0; i < 200; i++) {
		u64 seen = load_acquire(&latest), now = now_ns();

		EXPECT(now >= last);
		EXPECT(now + SKEW_NS >= seen);
		last = now;
		if (now > seen)
			cmpxchg(&latest, seen, now);
	}
	return 0;
}

TEST(time, clock_is_monotonic, 0)
{
	latest = 0;
	threads_run_on(&cpus_online, clock_goes_forward, NULL);
	EXPECT(latest > 0);
}

static u32 ticks_wanted;

// A host with fewer cores may drop ticks but adds none, and whatever time it keeps this CPU from running lies between
// the two readings of the clock: the rate has an upper bound, and it is not 0.
static int count_ticks(void *arg)
{
	u64 start = now_ns(), first = this_cpu_read(ticks), ns;

	spin_until(this_cpu_read(ticks) - first >= ticks_wanted, "the tick", -1);
	ns = now_ns() - start;
	EXPECT(ns >= (ticks_wanted - 2) * tick_ns() / 2);
	return 0;
}

TEST(time, tick_rate, 0)
{
	EXPECT(tick_hz >= 100 && tick_hz <= 1000);
	EXPECT_EQ(tick_ns(), NSEC_PER_SEC / tick_hz);
	ticks_wanted = 20;
	count_ticks(NULL);
	ticks_wanted = 5;
	threads_run_on(&cpus_online, count_ticks, NULL);
}

// All others idle, and none has a tick.
static bool all_settled(void)
{
	for_each_cpu(cpu)
		if (cpu != cpu_id() && !settled(cpu))
			return false;
	return true;
}

static bool settle(void)
{
	rcu_barrier();
	return EVENTUALLY(all_settled());
}

#define IDLE_NS (300 * NSEC_PER_MSEC)

TEST(time, idle_takes_no_ticks, NEEDS_CPUS2)
{
	static struct disturbance before[NR_CPUS];

	REQUIRE(settle());
	for_each_cpu(cpu)
		before[cpu] = disturbance_of(cpu);
	EXPECT(tickless_cpus() >= nr_cpus - 1);
	thread_sleep_ns(IDLE_NS);
	for_each_cpu(cpu)
		if (cpu != cpu_id())
			EXPECT(undisturbed_since(cpu, &before[cpu]) && cpu_is_idle(cpu));
}

static int sleep_idle(void *arg)
{
	u64 start = now_ns(), first = this_cpu_read(ticks);

	thread_sleep_ns(IDLE_NS);
	EXPECT(now_ns() - start >= IDLE_NS);
	return (int)(this_cpu_read(ticks) - first);
}

// The first sleeper of an idle CPU gets its own one-shot interrupt instead of 75 ticks.
TEST(time, idle_sleeper, NEEDS_CPUS2)
{
	struct thread *t;

	REQUIRE(settle());
	t = thread_create("test", sleep_idle, NULL, nr_cpus - 1, PRIO_NORMAL);
	REQUIRE(t);
	EXPECT(thread_join(t) <= 10);
}

static int busy_for_ticks(void *arg)
{
	u64 first = this_cpu_read(ticks);

	spin_until(this_cpu_read(ticks) - first >= 3, "the tick after idle", -1);
	return 0;
}

// Switches the timer from a one-shot that is about to expire to the periodic tick, many times. If the mode changed
// while the short count was still loaded, the timer would for an instant have a period of some nanoseconds. An emulator
// cannot keep up with that and may hang.
TEST(time, tick_after_a_short_wait, 0)
{
	for (unsigned i = 0; i < 20000; i++) {
		irqflags_t flags = irq_save();

		arch_timer_oneshot(i % 3);
		arch_timer_periodic();
		irq_restore(flags);
	}
}

// A CPU that leaves tickless idle has its tick back.
TEST(time, tick_returns, 0)
{
	struct thread *t;
	u64 before;

	REQUIRE(settle());
	before = READ_ONCE(per_cpu(ticks, nr_cpus - 1));
	t = thread_create("test", busy_for_ticks, NULL, nr_cpus - 1, PRIO_NORMAL);
	REQUIRE(t);
	thread_join(t);
	EXPECT(READ_ONCE(per_cpu(ticks, nr_cpus - 1)) >= before + 3);
}

TEST(time, interrupts_nest, 0)
{
	irqflags_t flags = irq_save();
	u64 taken = this_cpu_read(interrupts);

	EXPECT(!in_irq());
	irq_enter();
	EXPECT(in_irq() && !in_nmi());
	EXPECT_EQ(this_cpu_read(preempt_count), HARDIRQ_ONE);
	nmi_enter();
	EXPECT(in_irq() && in_nmi());
	nmi_exit();
	EXPECT(in_irq() && !in_nmi());
	irq_enter();
	EXPECT_EQ(this_cpu_read(preempt_count), 2 * HARDIRQ_ONE);
	irq_exit();
	EXPECT(in_irq());
	irq_exit();
	EXPECT(!in_irq());
	EXPECT(this_cpu_read(interrupts) - taken >= 3);	// real NMIs may come in between
	irq_restore(flags);
	EXPECT(preemptible());
}

static int note_interrupts(void *arg)
{
	*(u64 *)arg = this_cpu_read(interrupts);
	return 0;
}

// irq_preempt() switches only from preemptible code: a woken thread of high priority waits for preempt_enable().
TEST(time, no_switch_in_interrupt, 0)
{
	u64 seen = 0;
	struct thread *t;
	irqflags_t flags = irq_save();

	irq_enter();
	t = thread_create("test", note_interrupts, &seen, cpu_id(), PRIO_HIGH);
	irq_exit();
	EXPECT_EQ(seen, 0);
	irq_preempt();			// as arch does on its way back to the interrupted code
	EXPECT(seen);
	EXPECT(!irqs_enabled());
	irq_restore(flags);
	if (EXPECT(t))
		thread_join(t);
}

static struct {
	u32 on, over;
} silence;

static int keep_irqs_off(void *unused)
{
	irqflags_t flags = irq_save();

	store_release(&silence.on, 1u);
	spin_until(load_acquire(&silence.over), "the end of the test", -1);	// pairs with the test's store
	irq_restore(flags);
	return 0;
}

static bool silence_is_reported(unsigned cpu, u64 reports, u64 backtraces)
{
	return READ_ONCE(tick_watch.reports) > reports && READ_ONCE(tick_watch.backtraces) > backtraces &&
	       READ_ONCE(tick_watch.cpu) == cpu;	// a busy host may make another one silent meanwhile
}

// A CPU that keeps interrupts off prints its backtrace by NMI. The limit: on an idle machine only this CPU's tick
// checks the others, one after another, and must have been at all of them within half the limit.
TEST(time, silent_timer_is_reported, NEEDS_CPUS2)
{
	u64 limit = tick_watch.limit_ns, reports = READ_ONCE(tick_watch.reports), backtraces = READ_ONCE(tick_watch.backtraces);
	unsigned other = (cpu_id() + 1) % nr_cpus;
	u64 few_ticks = MAX(100u, 10 * nr_cpus);
	struct thread *t;

	silence.on = silence.over = 0;
	t = thread_create("silent", keep_irqs_off, NULL, other, PRIO_NORMAL);
	REQUIRE(t);
	WRITE_ONCE(tick_watch.limit_ns, few_ticks * tick_ns());
	EXPECT(EVENTUALLY_WITHIN(load_acquire(&silence.on) && silence_is_reported(other, reports, backtraces),
				 WAIT_ROUNDS + (u32)(10 * few_ticks)));
	WRITE_ONCE(tick_watch.limit_ns, limit);
	store_release(&silence.over, 1u);
	thread_join(t);
}
