// SPDX-License-Identifier: MIT
// Grace periods: which readers they wait for, cookies, many at once, latency, and none without need.
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "lab/counter.h"
#include "lab/test.h"
#include "tests/kernel/rcu/readers.h"
#include "tests/kernel/tick_help.h"

// ---- Readers that hold a grace period up ----------------------------------------------------------------------------

static u64 waits_begun(void)
{
	u64 n = 0;

	for_each_cpu(cpu)
		n += READ_ONCE(per_cpu(counters, cpu).rcu_waits);
	return n;
}

// The reader stays until somebody waits for it, and then until all CPUs have run for a while: a grace period that ends
// too early has ended by then.
static struct {
	u64 waits;
	bool begun;
	struct test_wait hold;
} held;

static bool held_for_long(void)
{
	if (!held.begun) {
		if (waits_begun() == held.waits)
			return false;
		held.begun = true;
		held.hold = test_wait(4);
	}
	return !test_hold_on(&held.hold);
}

static void waits_for_readers(void (*synchronize)(void))
{
	move_to(0);
	for (enum reader_kind kind = 0; kind < NR_READERS; kind++) {
		struct thread *t;

		held.begun = false;
		held.waits = waits_begun();
		t = start_reader_until(kind, last_cpu(), held_for_long);
		synchronize();
		if (!load_acquire(&reader.done))
			test_fail(__FILE__, __LINE__, "the grace period overtook a reader (%s)", reader_name[kind]);
		end_reader(t);
	}
	move_anywhere();
}

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

TEST(rcu, waits_for_readers, NEEDS_CPUS2) { waits_for_readers(synchronize_rcu); }
TEST(rcu, expedited_waits_for_readers, NEEDS_CPUS2) { waits_for_readers(synchronize_rcu_expedited); }

// ---- Cookies --------------------------------------------------------------------------------------------------------

TEST(rcu, cookies, 0)
{
	for (int i = 0; i < 10; i++) {
		u64 before = rcu_completed(), cookie = rcu_snapshot();

		EXPECT(cookie > before && cookie <= rcu_completed() + 2);
		synchronize_rcu();
		EXPECT(rcu_elapsed(cookie));
		EXPECT(rcu_completed() > before);
	}
}

// A cookie taken in a reader cannot elapse before the reader ends, however many grace periods others ask for.
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

		spin_ticks(3);
		EXPECT(!rcu_elapsed(cookie));
		rcu_read_unlock();
		synchronize_rcu();
		EXPECT(rcu_elapsed(cookie));
	}
	WRITE_ONCE(stop, 1);
	thread_join(t);
	move_anywhere();
}

// … nor however many callbacks the reader queues itself: its CPU would report to get them done, if it were not in a
// reader.
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
			spin_ticks(2);
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

// How long it takes is only logged: where a host preempts CPUs, time proves little.
#define SAMPLES 21
static u64 latency(void (*synchronize)(void))
{
	u64 ns[SAMPLES];

	for (int i = 0; i < SAMPLES; i++) {
		thread_sleep_ns(1);	// none is in progress when the next begins
		u64 start = now_ns();

		synchronize();
		ns[i] = now_ns() - start;
	}
	ksort(ns, SAMPLES, sizeof(u64), cmp_u64);
	return ns[SAMPLES / 2];
}

// While holdouts run, all expedited grace periods are asked for here, one after another.
static u32 expedited_asked;
static void ask_expedited(void)
{
	WRITE_ONCE(expedited_asked, expedited_asked + 1);
	synchronize_rcu_expedited();
}

static void report_latency(const char *when)
{
	u64 normal = latency(synchronize_rcu), exp = latency(ask_expedited);

	log_info("%s: grace period %llu us, expedited %llu us (median); a tick is %llu us", when,
		 (unsigned long long)(normal / 1000), (unsigned long long)(exp / 1000), (unsigned long long)(tick_ns() / 1000));
}

static bool takes_no_tick(void (*synchronize)(void))
{
	u64 before = READ_ONCE(per_cpu(ticks, 0));

	synchronize();
	return READ_ONCE(per_cpu(ticks, 0)) == before;
}

// Where all other CPUs idle, a grace period waits for no tick. (A tick that comes in between does not disprove that.)
TEST(rcu, no_tick_is_awaited_when_idle, 0)
{
	move_to(0);
	rcu_barrier();
	EXPECT(EVENTUALLY(takes_no_tick(synchronize_rcu)));
	EXPECT(EVENTUALLY(takes_no_tick(synchronize_rcu_expedited)));
	report_latency("CPUs idle");
	move_anywhere();
}

// What a CPU counts about itself, for each kind of grace period: how many waited for it (`seen`), and how many still
// waited for it after something that must have made it report (`late`).
enum { NORMAL, EXPEDITED, KINDS };
struct holdout {
	u32 seen[KINDS], late[KINDS];
};

struct awaited {
	bool waits[KINDS];
	u64 which[KINDS];
};

static struct awaited awaited_here(void)
{
	struct rcu_cpu *rc = this_cpu_ptr(&rcu_cpu);
	struct awaited a = { .which = { READ_ONCE(rcu.seq), READ_ONCE(expedited_asked) } };

	smp_rmb();	// which first: if it is still the same when the wait is seen again, it is the same wait
	a.waits[NORMAL] = rcu_waits_for(rc);
	a.waits[EXPEDITED] = READ_ONCE(rc->exp_need);
	return a;
}

static struct holdout holdouts[4];
static u32 stop_holdouts;	// also set by the first one that is late: otherwise the test might not end

static void judge(struct holdout *h, const struct awaited *before)
{
	struct rcu_cpu *rc = this_cpu_ptr(&rcu_cpu);
	bool still[KINDS] = { rcu_waits_for(rc), READ_ONCE(rc->exp_need) };
	u64 which[KINDS];

	smp_rmb();
	which[NORMAL] = READ_ONCE(rcu.seq);
	which[EXPEDITED] = READ_ONCE(expedited_asked);
	for (int k = 0; k < KINDS; k++) {
		if (!before->waits[k])
			continue;
		if (still[k] && which[k] == before->which[k]) {
			h->late[k]++;
			WRITE_ONCE(stop_holdouts, 1);
		}
		WRITE_ONCE(h->seen[k], h->seen[k] + 1);
	}
}

// Preemptible code: its tick reports. (An expedited grace period has asked by an IPI before that.)
static int compute(void *holdout)
{
	while (!READ_ONCE(stop_holdouts)) {
		struct awaited a = awaited_here();

		if (!a.waits[NORMAL])
			continue;
		a.waits[EXPEDITED] = false;
		spin_ticks(1);
		judge(holdout, &a);
	}
	return 0;
}

// Each tick hits a reader: the CPU must report between two of them.
static int back_to_back(void *holdout)
{
	while (!READ_ONCE(stop_holdouts)) {
		struct awaited a;

		rcu_read_lock();
		spin_ticks(1);
		a = awaited_here();
		spin_ticks(1);
		rcu_read_unlock();
		judge(holdout, &a);
	}
	return 0;
}

static bool all_seen(unsigned n, int kind)
{
	for (unsigned i = 0; i < n; i++)
		if (READ_ONCE(holdouts[i].seen[kind]) < 3)
			return false;
	return true;
}

static void ask_until_seen(unsigned n, int kinds)
{
	while (!READ_ONCE(stop_holdouts) && !(all_seen(n, NORMAL) && (kinds < KINDS || all_seen(n, EXPEDITED)))) {
		synchronize_rcu();
		ask_expedited();
	}
}

// Runs fn on CPUs 1 … n: each must be seen to hold up grace periods, and none for longer than it may.
static void hold_up(int (*fn)(void *), unsigned n, int kinds, const char *when)
{
	struct thread *t[ARRAY_SIZE(holdouts)];

	move_to(0);
	memset(holdouts, 0, sizeof(holdouts));
	WRITE_ONCE(stop_holdouts, 0);
	for (unsigned i = 0; i < n; i++)
		t[i] = thread_create("holdout", fn, &holdouts[i], 1 + i, PRIO_LOW);
	ask_until_seen(n, kinds);
	if (!READ_ONCE(stop_holdouts))
		report_latency(when);
	WRITE_ONCE(stop_holdouts, 1);
	for (unsigned i = 0; i < n; i++) {
		thread_join(t[i]);
		EXPECT_EQ(holdouts[i].late[NORMAL], 0);
		EXPECT_EQ(holdouts[i].late[EXPEDITED], 0);
	}
	move_anywhere();
}

TEST(rcu, computing_cpu_reports_at_its_tick, NEEDS_CPUS2)
{
	hold_up(compute, MIN(nr_cpus - 1, (unsigned)ARRAY_SIZE(holdouts)), NORMAL + 1, "CPUs computing");
}

TEST(rcu, back_to_back_readers, NEEDS_CPUS2) { hold_up(back_to_back, 1, KINDS, "readers back to back"); }

TEST(rcu, goes_quiet, 0)
{
	rcu_barrier();
	REQUIRE(EVENTUALLY(rcu_quiet()));
	u64 before = rcu_completed();

	thread_sleep_ns(25 * tick_ns());
	EXPECT_EQ(rcu_completed(), before);
	for_each_cpu(cpu)
		EXPECT(!rcu_needs_tick(cpu));
}
