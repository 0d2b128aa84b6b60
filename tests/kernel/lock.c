// SPDX-License-Identifier: MIT
// Spinlocks, the lock checker, mutexes.
#include "kernel/lib.h"
#include "kernel/mutex.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/lockcheck.h"
#include "lab/test.h"

// Two halves that are equal whenever nobody is inside.
static struct spinlock shared_lock = SPINLOCK_INIT("test_shared", RANK_TEST);
static u64 left_half, right_half;
static u32 per_thread;

static void inside(void)
{
	u64 v = left_half;

	EXPECT_EQ(v, right_half);
	left_half = v + 1;
	cpu_relax();
	right_half = v + 1;
}

static int spin_and_count(void *use_trylock)
{
	for (u32 i = 0; i < per_thread; i++) {
		irqflags_t flags = 0;

		if (i % 3 == 0)
			flags = spin_lock_irqsave(&shared_lock);
		else if (i % 3 == 1 || !spin_trylock(&shared_lock))
			spin_lock(&shared_lock);
		inside();
		if (i % 3 == 0)
			spin_unlock_irqrestore(&shared_lock, flags);
		else
			spin_unlock(&shared_lock);
	}
	return 0;
}

static int flip_waiting(void *arg)
{
	for (int i = 0; i < 20; i++) {
		WRITE_ONCE(spin_barge, i & 1);
		thread_yield();
	}
	return 0;
}

// Under both ways of waiting (spin_barge), and while the way changes.
TEST(lock, exclusion, 0)
{
	bool steal = spin_barge;
	struct thread *t = NULL;
	struct cpumask few = { 0 };	// long queues are slow where the host has fewer cores

	for (unsigned cpu = 0; cpu < MIN(nr_cpus, 8u); cpu++)
		cpumask_set(&few, cpu);
	per_thread = 5 + 2000 / nr_cpus / nr_cpus;
	for (int way = 0; way < 3; way++) {
		const struct cpumask *mask = way == 0 ? &cpus_online : &few;

		left_half = right_half = 0;
		WRITE_ONCE(spin_barge, way == 0);
		if (way == 2)
			t = thread_create("test", flip_waiting, NULL, CPU_ANY, PRIO_NORMAL);
		threads_run_on(mask, spin_and_count, NULL);
		EXPECT_EQ(left_half, (u64)per_thread * cpumask_weight(mask));
		EXPECT_EQ(right_half, left_half);
	}
	if (EXPECT(t))
		thread_join(t);
	WRITE_ONCE(spin_barge, steal);
}

static u32 arrival[NR_CPUS], arrivals;

static int queue_up(void *arg)
{
	spin_lock(&shared_lock);
	arrival[arrivals++] = cpu_id();
	spin_unlock(&shared_lock);
	return 0;
}

// Waiting in a queue is first come, first served: each CPU is started only when the one before it is queued.
TEST(lock, fairness, NEEDS_CPUS4)
{
	struct thread *t[4];
	unsigned n = 0, me = cpu_id();
	bool steal = spin_barge;
	u32 ticket;

	arrivals = 0;
	WRITE_ONCE(spin_barge, false);
	spin_lock(&shared_lock);	// the first ticket is ours
	for (unsigned cpu = nr_cpus; cpu-- > 0 && n < 4; ) {
		if (cpu == me)
			continue;
		ticket = READ_ONCE(shared_lock.next);
		t[n++] = thread_create("test", queue_up, NULL, cpu, PRIO_NORMAL);
		spin_until(READ_ONCE(shared_lock.next) != ticket, "a CPU to queue up", cpu);
	}
	spin_unlock(&shared_lock);
	for (unsigned i = 0; i < n; i++)
		thread_join(t[i]);
	EXPECT_EQ(arrivals, n);
	for (unsigned i = 1; i < n; i++)
		EXPECT(arrival[i] < arrival[i - 1]);
	WRITE_ONCE(spin_barge, steal);
}

TEST(lock, trylock, 0)
{
	struct spinlock l = SPINLOCK_INIT("test", RANK_TEST);

	EXPECT(spin_trylock(&l));
	EXPECT_EQ(this_cpu_read(preempt_count), PREEMPT_ONE);
	EXPECT(!spin_trylock(&l));
	EXPECT_EQ(this_cpu_read(preempt_count), PREEMPT_ONE);
	EXPECT(spin_held(&l));
	spin_unlock(&l);
	EXPECT(preemptible());
}

TEST(lock, irqsave_nests, 0)
{
	struct spinlock a = SPINLOCK_INIT("test_a", RANK_TEST), b = SPINLOCK_INIT("test_b", RANK_MUTEX);
	irqflags_t fa, fb;

	fa = spin_lock_irqsave(&a);
	EXPECT(!irqs_enabled());
	fb = spin_lock_irqsave(&b);
	spin_unlock_irqrestore(&b, fb);
	EXPECT(!irqs_enabled());
	EXPECT_EQ(this_cpu_read(preempt_count), PREEMPT_ONE);
	spin_unlock_irqrestore(&a, fa);
	EXPECT(preemptible());
}

static bool says(const char *fault, const char *what)
{
	return fault && strlen(fault) >= strlen(what) && glob_match(what, fault);
}

TEST(lock, checker_order, NEEDS_CHECK)
{
	struct spinlock outer = SPINLOCK_INIT("outer", RANK_TEST), inner = SPINLOCK_INIT("inner", RANK_PAGES);
	struct spinlock twin = SPINLOCK_INIT("twin", RANK_PAGES), loose = SPINLOCK_INIT("loose", RANK_NONE);

	spin_lock(&inner);
	EXPECT(says(spin_lock_fault(&outer, false), "*wrong order"));
	EXPECT(says(spin_lock_fault(&outer, true), "*wrong order"));
	EXPECT(says(spin_lock_fault(&twin, false), "*wrong order"));
	EXPECT(!spin_lock_fault(&twin, true));
	EXPECT(!spin_lock_fault(&loose, false));
	spin_lock_nested(&twin);
	spin_unlock(&inner);			// not the last one taken: fine
	EXPECT(says(spin_lock_fault(&outer, false), "*wrong order"));
	spin_unlock(&twin);

	spin_lock(&outer);
	EXPECT(!spin_lock_fault(&inner, false));
	spin_unlock(&outer);
	EXPECT(!spin_lock_fault(&outer, false));
}

TEST(lock, checker_owner, NEEDS_CHECK)
{
	struct spinlock l = SPINLOCK_INIT("test", RANK_TEST);
	u64 taken;

	EXPECT(!spin_held(&l));
	EXPECT(says(spin_unlock_fault(&l), "*does not hold*"));
	preempt_disable();
	taken = spin_locks_taken();
	spin_lock(&l);
	EXPECT(spin_locks_taken() > taken);
	EXPECT(spin_held(&l));
	EXPECT(!spin_unlock_fault(&l));
	EXPECT(says(spin_lock_fault(&l, false), "*twice*"));
	spin_unlock(&l);
	preempt_enable();
	EXPECT(!spin_held(&l));
}

// A lock that is taken with interrupts on, and elsewhere inside an interrupt, can deadlock: the checker must find that
// without the deadlock.
TEST(lock, checker_irq_use, NEEDS_CHECK)
{
	struct spinlock on = SPINLOCK_INIT("irqs_on", RANK_TEST), both = SPINLOCK_INIT("irqsave", RANK_TEST);
	irqflags_t flags;

	spin_lock(&on);
	spin_unlock(&on);
	flags = spin_lock_irqsave(&both);
	spin_unlock_irqrestore(&both, flags);

	flags = irq_save();
	this_cpu_add(preempt_count, HARDIRQ_ONE);	// as an interrupt handler would find it
	EXPECT(says(spin_lock_fault(&on, false), "*interrupts*"));
	EXPECT(!spin_lock_fault(&both, false));
	spin_lock(&both);
	spin_unlock(&both);
	this_cpu_add(preempt_count, -HARDIRQ_ONE);
	irq_restore(flags);
	EXPECT(says(spin_lock_fault(&both, false), "*interrupts*"));
}

static struct mutex shared_mutex;

static int mutex_and_count(void *arg)
{
	for (u32 i = 0; i < per_thread; i++) {
		if (i % 4 || !mutex_trylock(&shared_mutex))
			mutex_lock(&shared_mutex);
		EXPECT(mutex_held(&shared_mutex));
		inside();
		if (i % 8 == 0)
			thread_yield();		// others find it taken and sleep
		mutex_unlock(&shared_mutex);
		EXPECT(!mutex_held(&shared_mutex));
	}
	return 0;
}

TEST(lock, mutex_exclusion, 0)
{
	per_thread = 10 + 1000 / nr_cpus;
	left_half = right_half = 0;
	mutex_init(&shared_mutex, "test");
	threads_run_on(&cpus_online, mutex_and_count, NULL);
	EXPECT_EQ(left_half, (u64)per_thread * nr_cpus);
	EXPECT_EQ(right_half, left_half);
	EXPECT(!shared_mutex.owner && !shared_mutex.waiters);
}

static int try_the_mutex(void *arg)
{
	return mutex_trylock(&shared_mutex);
}

TEST(lock, mutex_sleeps_while_held, 0)
{
	struct thread *t;
	u32 n = per_thread = 5;

	mutex_init(&shared_mutex, "test");
	left_half = right_half = 0;
	mutex_lock(&shared_mutex);
	t = thread_create("test", try_the_mutex, NULL, nr_cpus - 1, PRIO_NORMAL);
	REQUIRE(t);
	EXPECT_EQ(thread_join(t), 0);
	t = thread_create("test", mutex_and_count, NULL, cpu_id(), PRIO_HIGH);	// runs now, and must sleep
	REQUIRE(t);
	EXPECT_EQ(READ_ONCE(shared_mutex.waiters), 1);
	EXPECT_EQ(left_half, 0);
	mutex_unlock(&shared_mutex);
	thread_join(t);
	EXPECT_EQ(left_half, n);
}

// Without contention a mutex takes no spinlock, not even its own. Interrupts meanwhile may take others, so the lowest
// of many counts is the one that is checked.
TEST(lock, mutex_fast_path, NEEDS_CHECK)
{
	u64 before, fewest = ~0ull;
	unsigned cpu = cpu_id();
	struct mutex m;

	mutex_init(&m, "test");
	for (int i = 0; i < 10000; i++) {
		before = spin_locks_taken();
		mutex_lock(&m);
		mutex_unlock(&m);
		fewest = MIN(fewest, spin_locks_taken() - before);
	}
	EXPECT_EQ(cpu_id(), cpu);
	EXPECT_EQ(fewest, 0);
	EXPECT_EQ(READ_ONCE(m.q.lock.next), 0);
}

// A thread that takes the mutex again as soon as it has dropped it, and never pauses, must not keep another out.
struct hog {
	struct mutex m;
	u32 got;		// the other has had it often enough
	u64 taken;		// … so often
	u64 turns, overtook;
};

static int hog_mutex(void *arg)
{
	struct hog *h = arg;

	while (!READ_ONCE(h->got)) {
		u64 taken = READ_ONCE(h->taken);
		bool starving = load_acquire(&h->m.starving);	// then the other one waits, and has not had it since

		mutex_lock(&h->m);
		WRITE_ONCE(h->turns, h->turns + 1);
		h->overtook += starving && READ_ONCE(h->taken) == taken;
		for (int i = 0; i < 1000; i++)		// a waiter that is woken meanwhile comes too late
			cpu_relax();
		mutex_unlock(&h->m);
	}
	return 0;
}

TEST(lock, mutex_is_not_hogged, NEEDS_CPUS2)
{
	struct hog h = { 0 };
	struct thread *t;

	mutex_init(&h.m, "hogged");
	t = thread_create("hog", hog_mutex, &h, (cpu_id() + 1) % nr_cpus, PRIO_NORMAL);
	REQUIRE(t);
	while (!READ_ONCE(h.turns))
		thread_yield();
	for (int i = 0; i < 20; i++) {
		mutex_lock(&h.m);
		WRITE_ONCE(h.taken, h.taken + 1);
		if (i == 19)
			WRITE_ONCE(h.got, 1);
		mutex_unlock(&h.m);
	}
	thread_join(t);
	EXPECT_EQ(h.overtook, 0);
	EXPECT_EQ(h.m.starving, 0);
}
