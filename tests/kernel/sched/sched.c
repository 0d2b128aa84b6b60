// SPDX-License-Identifier: MIT
// Threads and the scheduler: results, priorities, preemption, round robin, affinity, memory. Waking is in sched/wake.c.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/rcu/rcu.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/test.h"
#include "mm/frame/page.h"
#include "tests/kernel/tick_help.h"

static int return_cpu(void *arg)
{
	EXPECT(preemptible());
	EXPECT_EQ(current->cpu, cpu_id());
	EXPECT_EQ(current->on_cpu, 1);
	return (int)(uintptr_t)arg * 1000 + (int)cpu_id();
}

TEST(sched, threads_on_every_cpu, 0)
{
	struct thread *t[NR_CPUS];

	for_each_cpu(cpu)
		t[cpu] = thread_create("test", return_cpu, (void *)7, cpu, PRIO_NORMAL);
	for_each_cpu(cpu)
		if (EXPECT(t[cpu]))
			EXPECT_EQ(thread_join(t[cpu]), 7000 + (int)cpu);
}

static int stay_busy(void *go)
{
	spin_until(READ_ONCE(*(u32 *)go), "the threads to come", -1);
	return (int)cpu_id();
}

// Threads that may run anywhere do not all land on one CPU. (They all run at once: a thread that has ended is no load.)
TEST(sched, placement_spreads, NEEDS_CPUS2)
{
	struct thread *t[8];
	struct cpumask used = { 0 };
	u32 go = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		t[i] = thread_create("test", stay_busy, &go, CPU_ANY, PRIO_NORMAL);
	WRITE_ONCE(go, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		if (EXPECT(t[i]))
			cpumask_set(&used, (unsigned)thread_join(t[i]));
	EXPECT(cpumask_weight(&used) >= 2);
}

static u32 ran_on[NR_CPUS];

static int mark_and_fail_on_last(void *arg)
{
	fetch_add(&ran_on[cpu_id()], 1);
	return cpu_id() == nr_cpus - 1 ? *(int *)arg : 0;
}

TEST(sched, run_on_all, 0)
{
	int result = -17;

	memset(ran_on, 0, sizeof(ran_on));
	EXPECT_EQ(threads_run_on(&cpus_online, mark_and_fail_on_last, &result), -17);
	for_each_cpu(cpu)
		EXPECT_EQ(ran_on[cpu], 1);
}

static u32 order[8], ordered;

static int note_order(void *arg)
{
	order[fetch_add(&ordered, 1)] = (u32)(uintptr_t)arg;
	return 0;
}

TEST(sched, priority_order, 0)
{
	static const enum thread_prio created[] = { PRIO_LOW, PRIO_NORMAL, PRIO_HIGH, PRIO_LOW, PRIO_HIGH };
	static const u32 expected[] = { 2, 4, 1, 0, 3 };
	struct thread *t[ARRAY_SIZE(created)];

	ordered = 0;
	preempt_disable();
	tick_off();
	for (unsigned i = 0; i < ARRAY_SIZE(created); i++)
		t[i] = thread_create("test", note_order, (void *)(uintptr_t)i, cpu_id(), created[i]);
	EXPECT_EQ(READ_ONCE(ordered), 0);
	preempt_enable();			// the high ones run here and now, the others when we wait
	EXPECT_EQ(READ_ONCE(ordered), 2);
	for (unsigned i = 0; i < ARRAY_SIZE(created); i++)
		thread_join(t[i]);
	tick_on();
	for (unsigned i = 0; i < ARRAY_SIZE(expected); i++)
		EXPECT_EQ(order[i], expected[i]);
}

static int set_flag(void *flag)
{
	WRITE_ONCE(*(u32 *)flag, 1);
	return 0;
}

// A thread that makes itself less urgent gives way at once to one that is more urgent now.
TEST(sched, priority_of_itself, 0)
{
	enum thread_prio before = current->prio;
	struct thread *t;
	u32 ran = 0;

	tick_off();
	thread_set_prio(PRIO_HIGH);
	t = thread_create("test", set_flag, &ran, cpu_id(), PRIO_NORMAL);
	thread_yield();
	EXPECT_EQ(READ_ONCE(ran), 0);
	thread_set_prio(PRIO_LOW);
	EXPECT_EQ(READ_ONCE(ran), 1);
	thread_set_prio(before);
	tick_on();
	if (t)
		thread_join(t);
}

// Neither preemption off, nor a lock, nor interrupts off lets a more urgent thread in; the end of each does.
TEST(sched, preemption_regions, 0)
{
	struct spinlock lock = SPINLOCK_INIT("test", RANK_NONE);
	struct thread *t[3];
	u32 flag[3] = { 0 };
	irqflags_t flags;

	preempt_disable();
	preempt_disable();
	t[0] = thread_create("test", set_flag, &flag[0], cpu_id(), PRIO_HIGH);
	preempt_enable();
	EXPECT_EQ(READ_ONCE(flag[0]), 0);
	preempt_enable();
	EXPECT_EQ(READ_ONCE(flag[0]), 1);

	spin_lock(&lock);
	t[1] = thread_create("test", set_flag, &flag[1], cpu_id(), PRIO_HIGH);
	EXPECT_EQ(READ_ONCE(flag[1]), 0);
	spin_unlock(&lock);
	EXPECT_EQ(READ_ONCE(flag[1]), 1);

	flags = spin_lock_irqsave(&lock);
	t[2] = thread_create("test", set_flag, &flag[2], cpu_id(), PRIO_HIGH);
	EXPECT_EQ(READ_ONCE(flag[2]), 0);
	spin_unlock_irqrestore(&lock, flags);
	EXPECT_EQ(READ_ONCE(flag[2]), 1);
	for (int i = 0; i < 3; i++)
		thread_join(t[i]);
}

struct spinner {
	u32 spinning, stop;
};

static int spin_until_stopped(void *arg)
{
	struct spinner *s = arg;

	tick_off();
	WRITE_ONCE(s->spinning, 1);
	spin_until(READ_ONCE(s->stop), "a thread of higher priority", -1);
	tick_on();
	return 0;
}

// The spinner never sleeps nor yields, and no tick ends its turn: only a reschedule IPI can preempt it.
TEST(sched, preempts_busy_cpu, NEEDS_CPUS2)
{
	unsigned busy = cpu_id() ? 0 : nr_cpus - 1;
	struct spinner s = { 0 };
	struct thread *spinner = thread_create("test", spin_until_stopped, &s, busy, PRIO_NORMAL), *urgent;

	REQUIRE(spinner);
	spin_until(READ_ONCE(s.spinning), "the spinner", busy);
	urgent = thread_create("test", set_flag, &s.stop, busy, PRIO_HIGH);
	spin_until(READ_ONCE(s.stop), "the urgent thread", busy);
	thread_join(urgent);
	thread_join(spinner);
}

// Two threads of equal priority share a CPU by the tick alone: each goes on until both have been switched to several
// times.
static u64 turns[2];

static int take_turns(void *arg)
{
	u64 *mine = &turns[(uintptr_t)arg], *other = &turns[!(uintptr_t)arg];
	u64 first = READ_ONCE(current->switches);

	do
		WRITE_ONCE(*mine, READ_ONCE(current->switches) - first);
	while (READ_ONCE(*mine) < 3 || READ_ONCE(*other) < 3);
	return 0;
}

TEST(sched, round_robin, 0)
{
	struct thread *t[2];

	turns[0] = turns[1] = 0;
	for (uintptr_t i = 0; i < 2; i++)
		t[i] = thread_create("test", take_turns, (void *)i, nr_cpus - 1, PRIO_LOW);
	for (int i = 0; i < 2; i++)
		if (EXPECT(t[i]))
			thread_join(t[i]);
	EXPECT(turns[0] >= 3 && turns[1] >= 3);
}

static void pin_to(unsigned cpu)
{
	struct cpumask m = { 0 };

	cpumask_set(&m, cpu);
	EXPECT_EQ(thread_set_affinity(&m), 0);
	EXPECT_EQ(cpu_id(), cpu);
	EXPECT_EQ(current->cpu, cpu);
	EXPECT_EQ(current->state, THREAD_RUNNING);
}

static int hop(void *arg)
{
	u64 seed = *(u64 *)arg + cpu_id();

	for (int i = 0; i < 20; i++) {
		pin_to((unsigned)(rand_next(&seed) % nr_cpus));
		if (rand_next(&seed) & 1)
			thread_yield();
	}
	return 0;
}

static int visit_all(void *arg)
{
	struct cpumask none = { 0 }, offline = { 0 };

	for_each_cpu(cpu)
		pin_to(cpu);
	EXPECT_EQ(thread_set_affinity(&none), -EINVAL);
	cpumask_set(&offline, NR_CPUS - 1);
	if (nr_cpus < NR_CPUS)
		EXPECT_EQ(thread_set_affinity(&offline), -EINVAL);
	EXPECT_EQ(cpu_id(), nr_cpus - 1);
	return 0;
}

TEST(sched, affinity_visits_every_cpu, 0)
{
	struct thread *t = thread_create("test", visit_all, NULL, CPU_ANY, PRIO_NORMAL);

	REQUIRE(t);
	thread_join(t);
}

TEST(sched, affinity_storm, NEEDS_CPUS2)
{
	u64 seed = test_seed();

	EXPECT_EQ(threads_run_on(&cpus_online, hop, &seed), 0);
}

static int stay(void *arg)
{
	unsigned cpu = cpu_id();

	for (int i = 0; i < 20; i++) {
		if (i % 5)
			thread_yield();
		else
			thread_sleep_ns(tick_ns() / 2);
		EXPECT_EQ(cpu_id(), cpu);
	}
	return 0;
}

TEST(sched, pinned_stays, 0)
{
	threads_run_on(&cpus_online, stay, NULL);
}

// Threads come and go without leaving memory behind: stacks are cached, descriptors come from a slab.
TEST(sched, exit_frees, 0)
{
	u64 before = 0;

	for (unsigned i = 0; i < 300; i++) {
		struct thread *t = thread_create("test", return_cpu, NULL, i % nr_cpus, PRIO_NORMAL);

		REQUIRE(t);
		thread_join(t);
		if (i == 99) {
			rcu_barrier();
			before = page_free_count();
		}
	}
	rcu_barrier();
	EXPECT(page_free_count() + 64 > before);	// 200 stacks would be 800 frames
}
