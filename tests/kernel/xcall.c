// SPDX-License-Identifier: MIT
// Cross-CPU calls and the sync IPI.
#include "kernel/xcall.h"
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/test.h"

static u32 calls[NR_CPUS];

static void count_call(void *arg)
{
	EXPECT(!irqs_enabled());
	fetch_add(&calls[cpu_id()], 1);
}

static void calls_reset(void)
{
	memset(calls, 0, sizeof(calls));
}

static unsigned other_cpu(void)
{
	return cpu_id() ? 0 : nr_cpus - 1;
}

static void note_context(void *in_interrupt)
{
	WRITE_ONCE(*(u32 *)in_interrupt, in_irq() + 1);
}

TEST(xcall, one, 0)
{
	calls_reset();
	for_each_cpu(cpu) {
		u32 context = 0;

		xcall_one(cpu, count_call, NULL);
		EXPECT_EQ(READ_ONCE(calls[cpu]), 1);
		xcall_one(cpu, note_context, &context);
		EXPECT_EQ(context, cpu == cpu_id() ? 1 : 2);
	}
	EXPECT(preemptible());
}

TEST(xcall, mask, 0)
{
	struct cpumask even = { 0 }, none = { 0 };

	calls_reset();
	for (unsigned cpu = 0; cpu < nr_cpus; cpu += 2)
		cpumask_set(&even, cpu);
	xcall_mask(&even, count_call, NULL);
	for_each_cpu(cpu)
		EXPECT_EQ(READ_ONCE(calls[cpu]), cpu % 2 ? 0 : 1);
	xcall_mask(&cpus_online, count_call, NULL);
	for_each_cpu(cpu)
		EXPECT_EQ(READ_ONCE(calls[cpu]), cpu % 2 ? 1 : 2);
	xcall_mask(&none, count_call, NULL);
	EXPECT(preemptible());
}

// This CPU's share and other work are done between start and wait; preemption stays off.
TEST(xcall, start_then_wait, 0)
{
	calls_reset();
	xcall_mask_start(&cpus_online, count_call, NULL);
	EXPECT_EQ(calls[cpu_id()], 1);
	EXPECT(this_cpu_read(preempt_count));
	xcall_mask_wait();
	EXPECT(preemptible());
	for_each_cpu(cpu)
		EXPECT_EQ(READ_ONCE(calls[cpu]), 1);
}

static int call_everyone(void *arg)
{
	u32 rounds = *(u32 *)arg;
	u64 seed = cpu_id();

	for (u32 i = 0; i < rounds; i++) {
		xcall_mask(&cpus_online, count_call, NULL);
		xcall_one((unsigned)(rand_next(&seed) % nr_cpus), count_call, NULL);
	}
	return 0;
}

TEST(xcall, all_to_all, 0)
{
	u32 rounds = 1 + 400 / nr_cpus / nr_cpus;
	u64 sum = 0;

	calls_reset();
	threads_run_on(&cpus_online, call_everyone, &rounds);
	for_each_cpu(cpu) {
		EXPECT(calls[cpu] >= rounds * nr_cpus);
		sum += calls[cpu];
	}
	EXPECT_EQ(sum, (u64)rounds * nr_cpus * (nr_cpus + 1));
}

// A CPU that keeps its interrupts off until it is released; or, with until_called, until it has been called and a
// caller that wrongly did not wait would have gone on. To the others it looks like a long critical section.
struct parking {
	u32 parked, release, left;
	bool until_called;
};

static int park(void *arg)
{
	struct parking *p = arg;
	irqflags_t flags = irq_save();

	WRITE_ONCE(p->parked, 1);
	spin_until(p->until_called ? xcall_waits(cpu_id()) : READ_ONCE(p->release), "release of a parked CPU", -1);
	if (p->until_called)
		WHILE_OTHERS_RUN(2)
			;
	WRITE_ONCE(p->left, 1);
	irq_restore(flags);
	return 0;
}

static struct thread *park_cpu(struct parking *p, unsigned cpu)
{
	struct thread *t = thread_create("parked", park, p, cpu, PRIO_HIGH);

	if (EXPECT(t))
		spin_until(READ_ONCE(p->parked), "a CPU to park", cpu);
	return t;
}

#define MANY 32
static struct xcall async_call[MANY];
static u32 async_order[MANY], async_ran, async_pending;

static void async_note(void *arg)
{
	u32 n = READ_ONCE(async_ran);	// one CPU runs them all

	async_order[n % MANY] = (u32)(uintptr_t)arg;
	WRITE_ONCE(async_ran, n + 1);
}

// Requests pile up while the target cannot answer: one IPI is sent, they run in order, and each node is busy until
// then.
TEST(xcall, one_ipi_for_many, NEEDS_CPUS2)
{
	unsigned target = other_cpu();
	struct parking p = { 0 };
	struct thread *t = park_cpu(&p, target);
	struct counters *mine;
	u64 ipis, xcalls;

	REQUIRE(t);
	async_ran = 0;
	async_pending = MANY;
	preempt_disable();
	mine = per_cpu_ptr(&counters, cpu_id());
	ipis = READ_ONCE(mine->ipi_xcall);
	xcalls = READ_ONCE(mine->xcalls);
	for (unsigned i = 0; i < MANY; i++) {
		async_call[i] = (struct xcall){ .fn = async_note, .arg = (void *)(uintptr_t)i,
						.pending = &async_pending };
		EXPECT(xcall_async(target, &async_call[i]));
	}
	EXPECT(!xcall_async(target, &async_call[0]));
	EXPECT(READ_ONCE(mine->ipi_xcall) - ipis <= 1);	// 0: another CPU's request stood there already
	EXPECT_EQ(READ_ONCE(mine->xcalls) - xcalls, MANY);
	preempt_enable();
	EXPECT_EQ(READ_ONCE(async_ran), 0);
	WRITE_ONCE(p.release, 1);
	spin_until(!load_acquire(&async_pending), "asynchronous calls", target);
	EXPECT_EQ(async_ran, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		EXPECT_EQ(async_order[i], i);
		EXPECT_EQ(READ_ONCE(async_call[i].busy), 0);
	}
	thread_join(t);
}

// Requeued from its own handler: the node is free again once fn has been entered.
static struct xcall chain;
static u32 chain_left;

static void chain_next(void *arg)
{
	if (fetch_sub(&chain_left, 1) > 1)
		EXPECT(xcall_async((cpu_id() + 1) % nr_cpus, &chain));
}

TEST(xcall, async_chain, NEEDS_CPUS2)
{
	chain = (struct xcall){ .fn = chain_next };
	chain_left = 100;
	EXPECT(xcall_async(other_cpu(), &chain));
	spin_until(!READ_ONCE(chain_left), "a chain of asynchronous calls", -1);
}

TEST(xcall, async_own_cpu, 0)
{
	struct xcall c = { .fn = count_call };
	irqflags_t flags;

	calls_reset();
	preempt_disable();
	EXPECT(xcall_async(cpu_id(), &c));
	EXPECT_EQ(calls[cpu_id()], 1);
	preempt_enable();
	flags = irq_save();
	EXPECT(xcall_async(cpu_id(), &c));
	EXPECT(!irqs_enabled());
	irq_restore(flags);
	EXPECT_EQ(calls[cpu_id()], 2);
}

TEST(xcall, sync_ipi_waits_for_irqs_off, NEEDS_CPUS2)
{
	struct parking p = { .until_called = true };
	struct cpumask target = { 0 };
	unsigned cpu = other_cpu();
	struct thread *t;
	u64 before;

	cpumask_set(&target, cpu);
	cpumask_set(&target, cpu_id());		// the own CPU is no obstacle
	t = park_cpu(&p, cpu);
	REQUIRE(t);
	before = READ_ONCE(per_cpu(counters, cpu_id()).ipi_sync);
	sync_ipi(&target);
	EXPECT_EQ(READ_ONCE(p.left), 1);
	EXPECT_EQ(READ_ONCE(per_cpu(counters, cpu_id()).ipi_sync) - before, 1);
	thread_join(t);

	p = (struct parking){ .until_called = true };
	t = park_cpu(&p, cpu);
	REQUIRE(t);
	sync_ipi(NULL);				// all others
	EXPECT_EQ(READ_ONCE(p.left), 1);
	EXPECT_EQ(READ_ONCE(per_cpu(counters, cpu_id()).ipi_sync) - before, nr_cpus);
	thread_join(t);
}

static int sync_storm(void *arg)
{
	for (int i = 0; i < 3; i++)
		sync_ipi(NULL);
	return 0;
}

// All CPUs wait for all others at once: a CPU that waits must still serve calls.
TEST(xcall, sync_ipi_storm, NEEDS_CPUS2)
{
	threads_run_on(&cpus_online, sync_storm, NULL);
}
