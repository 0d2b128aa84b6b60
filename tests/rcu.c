// SPDX-License-Identifier: MIT
// Grace periods: who is waited for, cookies, many at once, latency, quiet.
#include "kernel/lib.h"
#include "kernel/test.h"
#include "kernel/thread.h"
#include "tests/rcu_readers.h"

// ---- Readers that hold a grace period up ----------------------------------------------------------------------------

static void waits_for_readers(void (*synchronize)(void), u64 held)
{
	move_to(0);
	for (enum reader_kind kind = 0; kind < NR_READERS; kind++) {
		struct thread *t = start_reader(kind, last_cpu(), held);
		u64 start = now_ns();

		synchronize();
		bool over = load_acquire(&reader.done);
		u64 took = now_ns() - start;

		if (!over)
			test_fail(__FILE__, __LINE__, "the grace period overtook a reader with %s", reader_name[kind]);
		log_info("reader with %s: grace period took %llu ms", reader_name[kind],
			 (unsigned long long)(took / NSEC_PER_MSEC));
		end_reader(t);
	}
	move_anywhere();
}

// The reader begins a little before the clock of the wait starts: hence 49.
TEST(rcu, reader_held_50_ticks, NEEDS_CPUS2)
{
	move_to(0);
	u64 start = now_ns(), held = 50 * tick_ns();
	struct thread *t = start_reader(READ_PREEMPT_OFF, last_cpu(), held);
	u64 cookie = rcu_snapshot();

	synchronize_rcu();
	EXPECT(now_ns() - start >= held);
	EXPECT(load_acquire(&reader.done));
	EXPECT(rcu_elapsed(cookie));
	end_reader(t);
	move_anywhere();
}

TEST(rcu, waits_for_readers, NEEDS_CPUS2) { waits_for_readers(synchronize_rcu, 12 * tick_ns()); }
TEST(rcu, expedited_waits_for_readers, NEEDS_CPUS2) { waits_for_readers(synchronize_rcu_expedited, 12 * tick_ns()); }

// ---- Cookies --------------------------------------------------------------------------------------------------------

TEST(rcu, cookies, 0)
{
	for (int i = 0; i < 10; i++) {
		u64 cookie = rcu_snapshot(), before = rcu_completed();

		EXPECT(cookie == before + 1 || cookie == before + 2);
		synchronize_rcu();
		EXPECT(rcu_elapsed(cookie));
		EXPECT(rcu_completed() > before);
	}
}

// A cookie taken in a reader cannot elapse before the reader ends, however much the others ask.
static int asker(void *arg)
{
	while (!READ_ONCE(*(u32 *)arg))
		synchronize_rcu();
	return 0;
}

TEST(rcu, cookie_of_a_reader, NEEDS_CPUS2)
{
	u32 stop = 0;

	move_to(0);
	struct thread *t = thread_create("asker", asker, &stop, 1, PRIO_NORMAL);

	for (int i = 0; i < 10; i++) {
		rcu_read_lock();
		u64 cookie = rcu_snapshot();

		spin_ns(3 * tick_ns());
		EXPECT(!rcu_elapsed(cookie));
		rcu_read_unlock();
		synchronize_rcu();
		EXPECT(rcu_elapsed(cookie));
	}
	WRITE_ONCE(stop, 1);
	thread_join(t);
	move_anywhere();
}

// … nor however many callbacks it queues itself: each reader's CPU would report for them, were it not for the reader.
TEST(rcu, many_calls_in_a_reader, NEEDS_CPUS2)
{
	static struct rcu_head heads[3 * RCU_EAGER];
	u32 stop = 0;

	move_to(0);
	struct thread *t = thread_create("asker", asker, &stop, 0, PRIO_NORMAL);

	move_to(last_cpu());
	memset(heads, 0, sizeof(heads));
	WRITE_ONCE(ran, 0);
	rcu_read_lock();
	u64 cookie = rcu_snapshot();

	for (unsigned i = 0; i < ARRAY_SIZE(heads); i++) {
		call_rcu(&heads[i], count_run);
		if (i % RCU_EAGER == 0)
			spin_ns(2 * tick_ns());
	}
	EXPECT(!rcu_elapsed(cookie));
	rcu_read_unlock();
	rcu_barrier();
	EXPECT(rcu_elapsed(cookie));
	EXPECT_EQ(READ_ONCE(ran), ARRAY_SIZE(heads));
	WRITE_ONCE(stop, 1);
	thread_join(t);
	move_anywhere();
}

// ---- Many at once, latency, quiet -----------------------------------------------------------------------------------

static int synchronize_some(void *arg)
{
	u64 seed = test_seed() + cpu_id();

	for (int i = nr_cpus > 8 ? 3 : 10; i; i--) {
		u64 cookie = rcu_snapshot();

		switch (rand_next(&seed) % 3) {
		case 0:
			synchronize_rcu();
			EXPECT(rcu_elapsed(cookie));
			break;
		case 1:
			synchronize_rcu_expedited();
			break;
		case 2:
			rcu_barrier();
		}
	}
	return 0;
}

TEST(rcu, many_at_once, 0)
{
	EXPECT_EQ(threads_run_on(&cpus_online, synchronize_some, NULL), 0);
}

static int cmp_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static int compute(void *arg)
{
	while (!READ_ONCE(*(u32 *)arg))
		for (u32 i = 0; i < 1000; i++)
			barrier();
	return 0;
}

// Where the host takes CPUs away, time proves little. What a grace period may cost is two ticks of the slowest CPU.
static u64 fewest_ticks(u64 *before, unsigned n)
{
	u64 fewest = UINT64_MAX;

	for (unsigned cpu = 0; cpu < n; cpu++) {
		u64 t = READ_ONCE(per_cpu(ticks, cpu));

		fewest = MIN(fewest, t - before[cpu]);
		before[cpu] = t;
	}
	return fewest;
}

#define SAMPLES 21
struct latency {
	u64 ns, ticks;	// medians
};

static struct latency latency(void (*synchronize)(void), unsigned cpus)
{
	u64 ns[SAMPLES], ticks_taken[SAMPLES], before[NR_CPUS] = { 0 };

	for (int i = 0; i < SAMPLES; i++) {
		thread_sleep_ns(1);	// none is in progress when the next begins
		fewest_ticks(before, cpus);
		u64 start = now_ns();

		synchronize();
		ns[i] = now_ns() - start;
		ticks_taken[i] = fewest_ticks(before, cpus);
	}
	ksort(ns, SAMPLES, sizeof(u64), cmp_u64);
	ksort(ticks_taken, SAMPLES, sizeof(u64), cmp_u64);
	return (struct latency){ ns[SAMPLES / 2], ticks_taken[SAMPLES / 2] };
}

static struct latency report_latency(const char *when, unsigned cpus)
{
	struct latency normal = latency(synchronize_rcu, cpus), exp = latency(synchronize_rcu_expedited, cpus);

	log_info("%s: grace period %llu us, expedited %llu us (median); a tick is %llu us", when,
		 (unsigned long long)(normal.ns / 1000), (unsigned long long)(exp.ns / 1000),
		 (unsigned long long)(tick_ns() / 1000));
	EXPECT(normal.ticks <= 2);
	EXPECT(exp.ticks <= 2);
	return normal;
}

TEST(rcu, latency, 0)
{
	struct thread *t[4];
	unsigned n = MIN(nr_cpus, 4u);
	struct latency idle;
	u32 stop = 0;

	move_to(0);
	idle = report_latency("CPUs idle", 1);
	for (int i = 0; i < 5 && idle.ns > 2 * tick_ns(); i++)
		idle = latency(synchronize_rcu, 1);
	EXPECT(idle.ns <= 2 * tick_ns());

	for (unsigned i = 0; i < n; i++)
		t[i] = thread_create("compute", compute, &stop, i, PRIO_LOW);
	report_latency("CPUs computing", n);
	WRITE_ONCE(stop, 1);
	for (unsigned i = 0; i < n; i++)
		thread_join(t[i]);
	move_anywhere();
}

// A CPU on which each tick hits a reader must still report, between two of them.
#define BACK_TO_BACK 100
static u32 sections;
static int back_to_back(void *arg)
{
	for (u32 i = 0; i < BACK_TO_BACK && !READ_ONCE(*(u32 *)arg); i++) {
		rcu_read_lock();
		WRITE_ONCE(sections, i + 1);
		spin_ns(2 * tick_ns());
		rcu_read_unlock();
	}
	return 0;
}

// Does a grace period end within a few of those readers, and while they still come?
static bool ends_soon(void (*synchronize)(void))
{
	u32 before = READ_ONCE(sections);

	synchronize();
	return READ_ONCE(sections) <= before + 5 && READ_ONCE(sections) < BACK_TO_BACK;
}

// (A host that takes the waiting CPU away meanwhile may lengthen one try, not all.)
TEST(rcu, back_to_back_readers, NEEDS_CPUS2)
{
	bool normal = false, expedited = false;
	u32 stop = 0;

	move_to(0);
	WRITE_ONCE(sections, 0);
	struct thread *t = thread_create("back to back", back_to_back, &stop, last_cpu(), PRIO_NORMAL);

	spin_until(READ_ONCE(sections), "first reader", last_cpu());
	for (int i = 0; i < 10 && !(normal && expedited); i++) {
		normal = normal || ends_soon(synchronize_rcu);
		expedited = expedited || ends_soon(synchronize_rcu_expedited);
	}
	EXPECT(normal);
	EXPECT(expedited);
	WRITE_ONCE(stop, 1);
	thread_join(t);
	move_anywhere();
}

TEST(rcu, goes_quiet, 0)
{
	rcu_barrier();
	REQUIRE(EVENTUALLY(rcu_pending_callbacks() == 0 && !rcu_seq_running(READ_ONCE(rcu.seq))));
	u64 before = rcu_completed();

	thread_sleep_ns(25 * tick_ns());
	EXPECT_EQ(rcu_completed(), before);
	for_each_cpu(cpu)
		EXPECT(!rcu_needs_tick(cpu));
}
