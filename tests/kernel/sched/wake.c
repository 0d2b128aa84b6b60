// SPDX-License-Identifier: MIT
// Sleeping and waking: wait queues, completions, sleep, across CPUs and under stress. A lost wake-up shows as a hang.
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/test.h"

struct baton {
	struct waitq q;
	u32 holder;	// whose turn
	u32 rounds;
};

static void baton_pass(struct baton *b, u32 me)
{
	for (u32 i = 0; i < b->rounds; i++) {
		wait_event(&b->q, READ_ONCE(b->holder) == me);
		WRITE_ONCE(b->holder, !me);
		waitq_wake_one(&b->q);
	}
}

static int baton_partner(void *arg)
{
	baton_pass(arg, 1);
	return 0;
}

TEST(sched, ping_pong, 0)
{
	unsigned partner[] = { 0, nr_cpus - 1, nr_cpus / 2 };

	for (unsigned i = 0; i < ARRAY_SIZE(partner); i++) {
		struct baton b = { .rounds = 60 };
		struct thread *t;

		waitq_init(&b.q);
		t = thread_create("test", baton_partner, &b, partner[i], PRIO_NORMAL);
		REQUIRE(t);
		baton_pass(&b, 0);
		thread_join(t);
	}
}

// A token goes round all CPUs: each hop wakes a sleeper on a CPU that by then idles, tick stopped or not.
static struct completion hop_done[NR_CPUS];
static u32 laps, hops;

static int ring_member(void *arg)
{
	unsigned me = cpu_id();

	for (u32 i = 0; i < laps; i++) {
		wait_for_completion(&hop_done[me]);
		WRITE_ONCE(hops, READ_ONCE(hops) + 1);
		complete(&hop_done[(me + 1) % nr_cpus]);
	}
	return 0;
}

TEST(sched, token_ring, 0)
{
	laps = 3 + 60 / nr_cpus;
	hops = 0;
	for_each_cpu(cpu)
		completion_init(&hop_done[cpu]);
	complete(&hop_done[0]);
	EXPECT_EQ(threads_run_on(&cpus_online, ring_member, NULL), 0);
	EXPECT_EQ(hops, laps * nr_cpus);
}

// Waiter and waker meet at every phase of going to sleep: the waker's pause is random, from nothing to long.
struct duel {
	struct waitq q;
	u32 flag, taken, rounds;
	u64 seed;
};

static int duel_waker(void *arg)
{
	struct duel *d = arg;

	for (u32 i = 0; i < d->rounds; i++) {
		u64 r = rand_next(&d->seed);

		for (u64 n = r % 4 ? r >> 8 & 0x3ff : 0; n; n--)
			cpu_relax();
		WRITE_ONCE(d->flag, 1);
		waitq_wake_one(&d->q);
		while (READ_ONCE(d->taken) != i + 1)	// yield rather than spin: the waiter may be on this CPU
			thread_yield();
	}
	return 0;
}

TEST(sched, no_lost_wakeup, 0)
{
	struct duel d = { .rounds = 200, .seed = test_seed() };
	struct thread *t;

	waitq_init(&d.q);
	t = thread_create("test", duel_waker, &d, cpu_id() ? 0 : nr_cpus - 1, PRIO_NORMAL);
	REQUIRE(t);
	for (u32 i = 0; i < d.rounds; i++) {
		wait_event(&d.q, xchg(&d.flag, 0u));
		WRITE_ONCE(d.taken, i + 1);
	}
	thread_join(t);
}

static int sleep_a_while(void *arg)
{
	u64 seed = *(u64 *)arg + cpu_id();

	for (int i = 0; i < 4; i++) {
		u64 ns = rand_next(&seed) % (3 * tick_ns()), start = now_ns();

		thread_sleep_ns(ns);
		EXPECT(now_ns() - start >= ns);
	}
	return 0;
}

TEST(sched, sleep_is_long_enough, 0)
{
	u64 seed = test_seed();

	threads_run_on(&cpus_online, sleep_a_while, &seed);
}

struct sleeper {
	u64 ns;
	u32 woken;
};

static int sleep_on(void *arg)
{
	struct sleeper *s = arg;

	while (!READ_ONCE(s->woken)) {
		u64 start = now_ns();

		thread_sleep_ns(s->ns);
		EXPECT(now_ns() - start >= s->ns);
	}
	return 0;
}

// thread_wake() wakes only what sleeps, and does not shorten a thread_sleep_ns().
TEST(sched, early_wake, 0)
{
	struct sleeper s = { .ns = 10 * tick_ns() };
	struct thread *t = thread_create("test", sleep_on, &s, nr_cpus - 1, PRIO_NORMAL);

	REQUIRE(t);
	EXPECT(!thread_wake(current));
	spin_until(thread_wake(t), "the sleeper", nr_cpus - 1);
	WRITE_ONCE(s.woken, 1);
	thread_join(t);
}

// More waiters than tokens: exactly as many pass as tokens were given, each token exactly once.
struct tokens {
	struct waitq q;
	u32 left, passed;
};

static bool take_token(struct tokens *k)
{
	for (u32 left; (left = READ_ONCE(k->left)) != 0;)
		if (cmpxchg(&k->left, left, left - 1))
			return true;
	return false;
}

static int token_taker(void *arg)
{
	struct tokens *k = arg;

	for (int i = 0; i < 10; i++) {
		wait_event(&k->q, take_token(k));
		fetch_add(&k->passed, 1);
	}
	return 0;
}

static int token_giver(void *arg)
{
	struct tokens *k = arg;

	for (int i = 0; i < 10; i++) {
		fetch_add(&k->left, 1);
		waitq_wake_one(&k->q);
		if (i % 3 == 0)
			thread_yield();
	}
	return 0;
}

static int give_and_take(void *arg)
{
	struct thread *taker = thread_create("test", token_taker, arg, CPU_ANY, PRIO_NORMAL);

	if (!EXPECT(taker))
		return 0;
	token_giver(arg);
	return thread_join(taker);
}

TEST(sched, wake_one_many_waiters, 0)
{
	struct tokens k = { 0 };

	waitq_init(&k.q);
	threads_run_on(&cpus_online, give_and_take, &k);
	EXPECT_EQ(k.passed, 10 * nr_cpus);
	EXPECT_EQ(k.left, 0);
}

static int complete_it(void *arg)
{
	complete(arg);
	return 0;
}

TEST(sched, completion_before_and_after, 0)
{
	struct completion c;
	struct thread *t;

	completion_init(&c);
	complete(&c);
	complete(&c);
	wait_for_completion(&c);
	wait_for_completion(&c);
	t = thread_create("test", complete_it, &c, nr_cpus - 1, PRIO_NORMAL);
	REQUIRE(t);
	wait_for_completion(&c);
	thread_join(t);
	EXPECT_EQ(c.done, 0);
	complete_all(&c);
	wait_for_completion(&c);
	wait_for_completion(&c);
}

// A completion dies as soon as its waiter returns: complete() must be done with it by then.
static struct completion *posted;
static u32 stop_completing;

static int completer(void *arg)
{
	while (!READ_ONCE(stop_completing)) {
		struct completion *c = xchg(&posted, NULL);

		if (c)
			complete(c);
		else
			thread_yield();
	}
	return 0;
}

TEST(sched, completion_on_stack, 0)
{
	struct thread *t;

	WRITE_ONCE(stop_completing, 0);
	t = thread_create("test", completer, NULL, cpu_id() ? 0 : nr_cpus - 1, PRIO_NORMAL);
	REQUIRE(t);
	for (int i = 0; i < 100; i++) {
		struct completion c;

		completion_init(&c);
		xchg(&posted, &c);
		wait_for_completion(&c);
		memset(&c, 0xa5, sizeof(c));
	}
	WRITE_ONCE(stop_completing, 1);
	thread_join(t);
}
