// SPDX-License-Identifier: MIT
// Waits with a deadline: which of a wake-up and a deadline ends the wait, and that neither costs another its wake-up.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/test.h"

struct until {
	struct waitq q;
	u64 deadline;
	u32 tokens, taken;
	u32 looks;		// of look_away()
	bool in_time;		// it gave its token before the deadline
	u32 stop;
	u64 seed;
};

static bool take(struct until *u)
{
	for (u32 n; (n = READ_ONCE(u->tokens)) != 0;)
		if (cmpxchg(&u->tokens, n, n - 1)) {
			fetch_add(&u->taken, 1);
			return true;
		}
	return false;
}

static void give(struct until *u)
{
	fetch_add(&u->tokens, 1);
	waitq_wake_one(&u->q);
}

static void until_init(struct until *u)
{
	*u = (struct until){ .seed = test_seed() };
	waitq_init(&u->q);
}

TEST(sched, deadline_ends_the_wait, 0)
{
	struct until u;

	until_init(&u);
	u.deadline = now_ns() + 2 * tick_ns();
	EXPECT_EQ(wait_event_until(&u.q, take(&u), u.deadline), -ETIMEDOUT);
	EXPECT(now_ns() >= u.deadline);
	EXPECT(list_empty(&u.q.waiters) && list_empty(&current->sleep_link));
	EXPECT_EQ(current->state, THREAD_RUNNING);
	EXPECT_EQ(wait_event_until(&u.q, take(&u), u.deadline), -ETIMEDOUT);	// it has passed before
	EXPECT_EQ(wait_event_until(&u.q, take(&u), 0), -ETIMEDOUT);
	u.tokens = 1;
	EXPECT_EQ(wait_event_until(&u.q, take(&u), 0), 0);	// it has, but there is no need to wait
	EXPECT_EQ(u.tokens, 0);
}

static int wait_once(void *arg)
{
	struct until *u = arg;

	return wait_event_until(&u->q, take(u), READ_ONCE(u->deadline));
}

// The waiter's own CPU is kept from running it until the deadline has passed; the wake-up came before. False: it did not,
// because a host has stopped this CPU meanwhile.
static bool wake_in_time(void)
{
	struct thread *t;
	struct until u;
	bool in_time;

	until_init(&u);
	u.deadline = now_ns() + 4 * tick_ns();
	t = thread_create("test", wait_once, &u, cpu_id(), PRIO_HIGH);	// it runs at once, and sleeps
	if (!EXPECT(t))
		return true;
	preempt_disable();
	give(&u);
	in_time = now_ns() < u.deadline;
	spin_until(now_ns() >= u.deadline, "the deadline", -1);
	preempt_enable();
	EXPECT_EQ(thread_join(t), u.taken ? 0 : -ETIMEDOUT);
	EXPECT(u.taken || !in_time);
	return in_time;
}

TEST(sched, early_wake_beats_deadline, 0)
{
	thread_pin_here();
	while (!wake_in_time() && !test_failed())
		;
	thread_set_affinity(&cpus_online);
}

// The wake-up comes when the waiter has just looked, and the deadline passes before it gets any further.
static bool look_away(struct until *u)
{
	if (u->looks++)
		return take(u);
	give(u);
	u->in_time = now_ns() < u->deadline;
	spin_until(now_ns() >= u->deadline, "the deadline", -1);
	return false;
}

TEST(sched, wake_after_last_look_beats_deadline, 0)
{
	struct until u;

	do {
		until_init(&u);
		u.deadline = now_ns() + 2 * tick_ns();
		EXPECT_EQ(wait_event_until(&u.q, look_away(&u), u.deadline), u.taken ? 0 : -ETIMEDOUT);
		EXPECT(u.taken || !u.in_time);
	} while (!u.in_time && !test_failed());		// a host has stopped this CPU meanwhile
}

#if CHECK
static bool waiters_are(struct waitq *q, unsigned n)
{
	irqflags_t flags = spin_lock_irqsave(&q->lock);

	list_for_each(it, &q->waiters)
		n--;
	spin_unlock_irqrestore(&q->lock, flags);
	return n == 0;
}

// One waiter has given up and is still in the queue when it is woken. A second one waits behind it.
static bool late_wake_is_passed_on(void)
{
	struct stall_point *leaves = stall_point("waitq_leaves");
	struct thread *first, *second;
	struct until u;
	bool passed_on;

	until_init(&u);
	stall_arm(leaves, &u.q, 0, 0, 0);
	u.deadline = now_ns();
	first = thread_create("first", wait_once, &u, (cpu_id() + 1) % nr_cpus, PRIO_NORMAL);
	if (!EXPECT(first))
		return false;
	stall_wait_parked(leaves);
	u.deadline = NO_DEADLINE;
	second = thread_create("second", wait_once, &u, cpu_id(), PRIO_NORMAL);
	if (EXPECT(second))
		EXPECT(EVENTUALLY(waiters_are(&u.q, 2)));
	give(&u);
	stall_release(leaves);
	EXPECT_EQ(thread_join(first), -ETIMEDOUT);
	passed_on = waiters_are(&u.q, 0);
	if (!passed_on)
		waitq_wake_one(&u.q);
	if (second)
		EXPECT_EQ(thread_join(second), 0);
	return passed_on;
}

TEST(sched, late_wake_is_passed_on, NEEDS_CPUS2 | NEEDS_CHECK)
{
	thread_pin_here();
	EXPECT(late_wake_is_passed_on());
	mutant_set(waitq_keeps_wake_up, 1);
	EXPECT(!late_wake_is_passed_on());
	mutant_set(waitq_keeps_wake_up, 0);
	thread_set_affinity(&cpus_online);
}
#endif

static int wait_impatiently(void *arg)
{
	struct until *u = arg;

	while (!READ_ONCE(u->stop)) {
		u64 r = fetch_add(&u->seed, 0x9e3779b97f4a7c15);

		wait_event_until(&u->q, take(u), now_ns() + rand_next(&r) % (2 * tick_ns()));
	}
	return 0;
}

static int wait_patiently(void *arg)
{
	struct until *u = arg;

	wait_event_until(&u->q, take(u) || READ_ONCE(u->stop), NO_DEADLINE);
	while (!READ_ONCE(u->stop))
		wait_event(&u->q, take(u) || READ_ONCE(u->stop));
	return 0;
}

// Tokens come at any phase of a deadline. Whoever is woken may be about to give up; the patient one must get the token.
TEST(sched, deadlines_lose_no_wake_up, 0)
{
	struct thread *t[4];
	struct until u;
	u64 seed;

	until_init(&u);
	seed = u.seed;
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		t[i] = thread_create("test", i ? wait_impatiently : wait_patiently, &u, i % nr_cpus, PRIO_NORMAL);
	for (u32 i = 1; i <= 60; i++) {
		for (u64 n = rand_next(&seed) % 2000; n; n--)
			cpu_relax();
		give(&u);
		if (!EXPECT(EVENTUALLY(READ_ONCE(u.taken) == i)))
			break;
	}
	WRITE_ONCE(u.stop, 1);
	waitq_wake_all(&u.q);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		if (EXPECT(t[i]))
			thread_join(t[i]);
}
