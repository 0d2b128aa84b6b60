// SPDX-License-Identifier: MIT
// RCU callbacks: never early, never lost, in order; from any context; rcu_barrier() waits for all.
#include "kernel/lib.h"
#include "kernel/rcu/internal.h"
#include "kernel/thread.h"
#include "kernel/xcall.h"
#include "lab/test.h"
#include "mm/frame/slab.h"
#include "tests/kernel/rcu/readers.h"
#include "tests/kernel/tick_help.h"

// A callback must not overtake the reader that it was queued in, even on a single CPU.
TEST(rcu, callback_waits_for_own_reader, 0)
{
	struct rcu_head head = { 0 };

	WRITE_ONCE(ran, 0);
	rcu_read_lock();
	call_rcu(&head, count_run);
	spin_ticks(5);
	EXPECT_EQ(READ_ONCE(ran), 0);
	rcu_read_unlock();
	rcu_barrier();
	EXPECT_EQ(READ_ONCE(ran), 1);
}

#define PER_CPU 300
struct item {
	struct rcu_head head;
	u64 cookie;
	u32 serial;
	u16 cpu;
};
static u32 next_serial[NR_CPUS];	// the callback of that CPU that must come next
static u32 early, disordered, invoked, no_memory;

static void item_callback(struct rcu_head *head)
{
	struct item *item = container_of(head, struct item, head);

	if (!rcu_elapsed(item->cookie))
		fetch_add(&early, 1);
	// One CPU's callbacks run one after another in one thread: no concurrent access.
	if (READ_ONCE(next_serial[item->cpu]) != item->serial)
		fetch_add(&disordered, 1);
	WRITE_ONCE(next_serial[item->cpu], item->serial + 1);
	fetch_add(&invoked, 1);
	kfree(item);
}

static void queue_item(u32 serial)
{
	struct item *item = kmalloc(sizeof(*item));

	if (!item) {
		fetch_add(&no_memory, 1);
		return;
	}
	*item = (struct item){ .serial = serial, .cpu = (u16)cpu_id() };
	item->cookie = rcu_snapshot();
	call_rcu(&item->head, item_callback);
}

static int queue_many(void *arg)
{
	u64 seed = test_seed() + cpu_id();

	for (u32 i = 0; i < PER_CPU; i++) {
		queue_item(i);
		if (!(rand_next(&seed) % 64))
			thread_sleep_ns(tick_ns() / 2);
	}
	return 0;
}

static void reset_items(void)
{
	memset(next_serial, 0, sizeof(next_serial));
	xchg(&early, 0);
	xchg(&disordered, 0);
	xchg(&invoked, 0);
	xchg(&no_memory, 0);
}

static void expect_items(u32 n)
{
	EXPECT_EQ(READ_ONCE(invoked), n);
	EXPECT_EQ(READ_ONCE(early), 0);
	EXPECT_EQ(READ_ONCE(disordered), 0);
	EXPECT_EQ(READ_ONCE(no_memory), 0);
}

TEST(rcu, callbacks, 0)
{
	reset_items();
	EXPECT_EQ(threads_run_on(&cpus_online, queue_many, NULL), 0);
	rcu_barrier();
	expect_items(nr_cpus * PER_CPU);
}

// The threads that queue have ended when the barrier begins: it must find the callbacks of idle CPUs.
static int queue_one(void *arg)
{
	queue_item(0);
	return 0;
}

TEST(rcu, barrier_of_idle_cpus, 0)
{
	for (int round = 0; round < 5; round++) {
		reset_items();
		EXPECT_EQ(threads_run_on(&cpus_online, queue_one, NULL), 0);
		rcu_barrier();
		expect_items(nr_cpus);
	}
}

// Without any barrier or other call: the tick alone must get them run.
TEST(rcu, callbacks_of_idle_cpus_run, 0)
{
	reset_items();
	EXPECT_EQ(threads_run_on(&cpus_online, queue_one, NULL), 0);
	EXPECT(EVENTUALLY(READ_ONCE(invoked) == nr_cpus));
	EXPECT(EVENTUALLY(rcu_pending_callbacks() == 0));
}

static u32 slow_began, slow_ended;
static void slow_callback(struct rcu_head *head)
{
	struct rcu_cblist *l = &this_cpu_ptr(&rcu_cpu)->cb;

	WRITE_ONCE(slow_began, 1);
	EXPECT(EVENTUALLY(READ_ONCE(l->count) > 1));	// the barrier's head is queued behind this one
	EVENTUALLY_WITHIN(false, 2);
	store_release(&slow_ended, 1);
}

// On CPU 0, and on the last CPU that the barrier visits.
TEST(rcu, barrier_waits_for_running_callback, 0)
{
	for (unsigned cpu = 0; cpu < nr_cpus; cpu += MAX(1u, nr_cpus - 1)) {
		struct rcu_head head = { 0 };

		slow_began = slow_ended = 0;
		move_to(cpu);
		call_rcu(&head, slow_callback);
		move_to(0);
		REQUIRE(EVENTUALLY(READ_ONCE(slow_began)));
		rcu_barrier();
		EXPECT(load_acquire(&slow_ended));
		EXPECT(EVENTUALLY(load_acquire(&slow_ended)));	// `head` is on this stack
	}
	move_anywhere();
}

static struct rcu_head many[4];
static void call_from_irq(void *arg) { call_rcu(&many[0], count_run); }

TEST(rcu, call_rcu_from_any_context, 0)
{
	static struct xcall call = { .fn = call_from_irq };

	memset(many, 0, sizeof(many));
	WRITE_ONCE(ran, 0);
	EXPECT(xcall_async(last_cpu(), &call));
	irqflags_t flags = irq_save();

	call_rcu(&many[1], count_run);
	irq_restore(flags);
	preempt_disable();
	call_rcu(&many[2], count_run);
	preempt_enable();
	call_rcu(&many[3], count_run);
	EXPECT(EVENTUALLY(READ_ONCE(ran) == 4));
}

// More callbacks than a batch get ready at once: none can be invoked before the reader ends.
TEST(rcu, batches, 0)
{
	reset_items();
	move_to(last_cpu());
	rcu_read_lock();
	for (u32 i = 0; i < 20 * RCU_BATCH + 7; i++)
		queue_item(i);
	EXPECT(rcu_pending_callbacks() >= 20 * RCU_BATCH + 7);
	rcu_read_unlock();
	rcu_barrier();
	expect_items(20 * RCU_BATCH + 7);
	move_anywhere();
}

TEST(rcu, double_call_is_noticed, NEEDS_CHECK)
{
	struct rcu_head head = { 0 };

	EXPECT(!rcu_head_queued(&head, count_run));
	rcu_read_lock();
	call_rcu(&head, count_run);
	EXPECT(rcu_head_queued(&head, count_run));
	rcu_read_unlock();
	rcu_barrier();
	EXPECT(!rcu_head_queued(&head, count_run));
}

// A CPU has asked to be told of the end of a grace period (rcu.eager), but its own tick has served its callbacks
// before: it must not be woken, because nothing is left to do.
TEST(rcu, no_wakeup_for_callbacks_that_are_done, NEEDS_CPUS2)
{
	unsigned cpu = last_cpu();

	move_to(0);
	memset(many, 0, sizeof(many));
	xcall_one(cpu, call_from_irq, NULL);	// so that it has a callback thread
	rcu_barrier();
	for (int i = 0; i < 10; i++) {
		struct disturbance before;

		REQUIRE(EVENTUALLY(settled(cpu)));
		before = disturbance_of(cpu);
		cpumask_set_atomic(&rcu.eager, cpu);
		synchronize_rcu();
		EXPECT(EVENTUALLY(!cpumask_test(&rcu.eager, cpu)));
		EXPECT(EVENTUALLY(settled(cpu)));	// what was sent there has arrived
		EXPECT(undisturbed_since(cpu, &before));
	}
	EXPECT(READ_ONCE(per_cpu(rcu_cpu, cpu).cb_thread));
	move_anywhere();
}
