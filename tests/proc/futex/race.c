// SPDX-License-Identifier: MIT
// Futexes under races: each gap of the protocol is held open and entered (proc/futex.c), then all CPUs at once.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/space.h"
#include "tests/proc/futex/sleepers.h"

#if CHECK
static u32 there, passed;	// one of the two is in its gap; the other has gone on

static void wait_until_passed(struct stall_point *p, void *arg)
{
	store_release(&there, 1u);
	spin_until(load_acquire(&passed), p->name, -1);
}

static void note_passed(struct stall_point *p, void *arg) { store_release(&passed, 1u); }

static void arm(struct stall_point *p, vaddr_t va, void (*action)(struct stall_point *, void *))
{
	p->action = action;
	stall_arm(p, NULL, va, va + 1, 0);
}

// The waiter has read the old value and holds the lock. The waker, who changes the word now, must not pass by: it waits for
// the lock. Returns how many it woke.
static s64 wake_while_compared(struct space *s)
{
	struct stall_point *compared = stall_point("futex_compared"), *sees = stall_point("futex_sees_waiters");
	struct sleeper w;
	s64 woken;

	there = passed = 0;
	word_xchg(WORD, 0);
	arm(compared, WORD, wait_until_passed);
	arm(sees, WORD, note_passed);
	sleeper_start(&w, s, WORD, mm_other_cpu(0));
	spin_until(load_acquire(&there), "the waiter", -1);
	word_xchg(WORD, 1);
	woken = futex_wake(WORD, false, 1, FUTEX_ANY);
	store_release(&passed, 1u);
	stall_release(compared);
	stall_release(sees);
	if (!woken) {
		sleeper_asleep(&w);
		EXPECT_EQ(futex_wake(WORD, false, 1, FUTEX_ANY), 1);
	}
	EXPECT_EQ(sleeper_end(&w), 0);
	return woken;
}

TEST(futex, count_precedes_look, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct space *s;

	thread_pin_here();
	s = futex_space();
	REQUIRE(s);
	EXPECT_EQ(wake_while_compared(s), 1);
	mutant_set(futex_late_count, 1);
	EXPECT_EQ(wake_while_compared(s), 0);
	mutant_set(futex_late_count, 0);
	futex_space_end(s);
	thread_set_affinity(&cpus_online);
}

// Waits for WORD, then wakes one at WORD2, as a thread that was woken with a mutex in its hands unlocks it.
static int wait_then_wake(void *arg)
{
	struct sleeper *w = arg;
	s64 woken;

	space_attach(w->s);
	EXPECT_EQ(futex_wait(WORD, false, 0, FUTEX_ANY, NO_DEADLINE), 0);
	woken = futex_wake(WORD2, false, 1, FUTEX_ANY);
	store_release(&passed, 1u);
	space_detach();
	return (int)woken;
}

// A requeue is held between waking the first waiter and moving the second. The first looks for the second where it will
// be. Returns whether it woke it.
static bool wake_while_moving(struct space *s)
{
	struct stall_point *wakes = stall_point("futex_requeue_wakes"), *sees = stall_point("futex_sees_waiters");
	struct sleeper first = { .s = s }, second;
	int woken;

	there = passed = 0;
	arm(wakes, WORD, wait_until_passed);
	arm(sees, WORD2, note_passed);
	first.t = thread_create("first", wait_then_wake, &first, mm_other_cpu(0), PRIO_NORMAL);
	sleeper_asleep(&first);
	sleeper_start(&second, s, WORD, mm_other_cpu(0));
	sleeper_asleep(&second);
	EXPECT_EQ(futex_requeue(WORD, WORD2, false, 1, 1, NULL), 2);
	woken = thread_join(first.t);
	stall_release(wakes);
	stall_release(sees);
	if (!woken)
		EXPECT_EQ(futex_wake(WORD2, false, 1, FUTEX_ANY), 1);
	EXPECT_EQ(sleeper_end(&second), 0);
	return woken;
}

TEST(futex, requeue_is_one_step, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct space *s;

	thread_pin_here();
	s = futex_space();
	REQUIRE(s);
	EXPECT(wake_while_moving(s));
	mutant_set(futex_requeue_unannounced, 1);
	EXPECT(!wake_while_moving(s));
	mutant_set(futex_requeue_unannounced, 0);
	futex_space_end(s);
	thread_set_affinity(&cpus_online);
}

// A waiter whose deadline has passed, and that has not yet left its bucket.
static struct stall_point *give_up_at_once(struct sleeper *w, struct space *s)
{
	struct stall_point *gives_up = stall_point("futex_gives_up");

	stall_arm(gives_up, NULL, WORD, WORD + 1, 0);
	*w = (struct sleeper){ .s = s, .va = WORD, .bitset = FUTEX_ANY, .deadline = 0 };
	sleeper_start_as(w, mm_other_cpu(0));
	stall_wait_parked(gives_up);
	return gives_up;
}

TEST(futex, wake_beats_giving_up, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct stall_point *gives_up;
	struct sleeper w;
	struct space *s;

	thread_pin_here();
	s = futex_space();
	REQUIRE(s);
	gives_up = give_up_at_once(&w, s);
	EXPECT_EQ(futex_wake(WORD, false, 1, FUTEX_ANY), 1);	// so it must not say that it timed out
	stall_release(gives_up);
	EXPECT_EQ(sleeper_end(&w), 0);
	futex_space_end(s);
	thread_set_affinity(&cpus_online);
}

TEST(futex, gives_up_where_it_was_moved, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct stall_point *gives_up;
	struct sleeper w;
	struct space *s;

	thread_pin_here();
	s = futex_space();
	REQUIRE(s);
	gives_up = give_up_at_once(&w, s);
	EXPECT_EQ(futex_requeue(WORD, WORD2, false, 0, 1, NULL), 1);
	stall_release(gives_up);
	EXPECT_EQ(sleeper_end(&w), -ETIMEDOUT);
	EXPECT_EQ(futex_wake(WORD2, false, 1, FUTEX_ANY), 0);
	futex_space_end(s);
	thread_set_affinity(&cpus_online);
}
#endif

// A mutex and a condition variable, as C libraries make them. The mutex: 0 free, 1 taken, 2 taken and waited for.
#define MUTEX WORD
#define SEQUENCE WORD2

struct storm {
	struct space *s;
	u64 seed, left, right;	// left and right: under the mutex
	u32 rounds, members;
	u32 sleeping, generation;	// under the mutex
	bool deadlines;
};

static u64 soon(struct storm *st)
{
	u64 r = fetch_add(&st->seed, 0x9e3779b97f4a7c15);

	return st->deadlines ? now_ns() + rand_next(&r) % tick_ns() : NO_DEADLINE;
}

static void lock(struct storm *st, u32 contended)
{
	u32 old = contended ? word_xchg(MUTEX, 2) : word_cmpxchg(MUTEX, 0, 1);

	while (old) {
		if (old == 2 || word_cmpxchg(MUTEX, 1, 2))
			futex_wait(MUTEX, false, 2, FUTEX_ANY, soon(st));
		old = word_xchg(MUTEX, 2);
	}
}

static void unlock(void)
{
	if (word_xchg(MUTEX, 0) == 2)
		futex_wake(MUTEX, false, 1, FUTEX_ANY);
}

static int storm_member(void *arg)
{
	struct storm *st = arg;

	space_attach(st->s);
	for (u32 i = 0; i < st->rounds; i++) {
		lock(st, 0);
		st->left++;
		if (i % 4 == 0)
			thread_yield();
		st->right++;
		unlock();
	}
	space_detach();
	return 0;
}

static void play_mutex(bool deadlines)
{
	struct storm st = { .seed = test_seed(), .rounds = 20 + 400 / nr_cpus, .deadlines = deadlines };

	st.s = futex_space();
	REQUIRE(st.s);
	EXPECT_EQ(threads_run_on(&cpus_online, storm_member, &st), 0);
	EXPECT_EQ(st.left, (u64)st.rounds * nr_cpus);
	EXPECT_EQ(st.right, st.left);
	EXPECT_EQ(word_read(MUTEX), 0);
	futex_space_end(st.s);
}

TEST(futex, mutex, 0) { play_mutex(false); }
TEST(futex, mutex_with_deadlines, 0) { play_mutex(true); }

// A barrier of all members: the last one to come moves the sleepers from the condition variable to the mutex.
static void meet(struct storm *st)
{
	u32 generation, sequence;

	lock(st, 0);
	generation = st->generation;
	if (++st->sleeping == st->members) {
		st->sleeping = 0;
		st->generation++;
		sequence = word_read(SEQUENCE) + 1;
		word_xchg(SEQUENCE, sequence);
		EXPECT(futex_requeue(SEQUENCE, MUTEX, false, 1, INT32_MAX, &sequence) >= 0);
	} else {
		while (st->generation == generation) {
			sequence = word_read(SEQUENCE);
			unlock();
			futex_wait(SEQUENCE, false, sequence, FUTEX_ANY, soon(st));
			lock(st, 1);		// those that were moved behind us sleep at the mutex
		}
	}
	unlock();
}

static int barrier_member(void *arg)
{
	struct storm *st = arg;

	space_attach(st->s);
	for (u32 i = 0; i < st->rounds; i++) {
		meet(st);
		EXPECT(READ_ONCE(st->generation) >= i + 1);
	}
	space_detach();
	return 0;
}

static void play_barrier(bool deadlines)
{
	struct storm st = { .seed = test_seed(), .rounds = 10 + 60 / nr_cpus, .members = nr_cpus, .deadlines = deadlines };

	st.s = futex_space();
	REQUIRE(st.s);
	EXPECT_EQ(threads_run_on(&cpus_online, barrier_member, &st), 0);
	EXPECT_EQ(st.generation, st.rounds);
	EXPECT_EQ(word_read(MUTEX), 0);
	futex_space_end(st.s);
}

TEST(futex, barrier, 0) { play_barrier(false); }
TEST(futex, barrier_with_deadlines, 0) { play_barrier(true); }
