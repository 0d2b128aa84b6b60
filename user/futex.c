// SPDX-License-Identifier: MIT
// Futexes: waits, wakes and requeues, private ones and shared ones, robust lists; and what the C library builds of them.
#include "user/common/check.h"
#include "user/common/kernel.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static int private_flag;	// FUTEX_PRIVATE, or 0
static _Atomic uint32_t *words;	// a page, private or shared memory

static long futex(_Atomic uint32_t *word, int op, uint32_t value, const void *timeout, _Atomic uint32_t *second, uint32_t third)
{
	return raw(SYS_futex, word, op | private_flag, value, timeout, second, third);
}

static long wait_on(_Atomic uint32_t *word, uint32_t value) { return futex(word, FUTEX_WAIT, value, NULL, NULL, 0); }
static long wake(_Atomic uint32_t *word, uint32_t n) { return futex(word, FUTEX_WAKE, n, NULL, NULL, 0); }

static void *count_argument(long n) { return (void *)(uintptr_t)n; }	// requeues pass it where waits have a timeout

// ---- Waiters that can be counted ------------------------------------------------------------------------------------

enum { MOST = 8 };

static struct waiters {
	pthread_t threads[MOST];
	int n;
	_Atomic uint32_t *word;
	uint32_t bits;
	atomic_int began, ended;
} w;

static void *wait_once(void *arg)
{
	(void)arg;
	w.began++;
	CHECK_EQ(futex(w.word, FUTEX_WAIT_BITSET, 0, NULL, NULL, w.bits), 0);
	w.ended++;
	return NULL;
}

// How many wait on the word: nobody can ask that without waking them, so requeue all onto the same word, which tells.
static long waiting(_Atomic uint32_t *word) { return futex(word, FUTEX_CMP_REQUEUE, 0, count_argument(MOST), word, *word); }

static void waiters_start(_Atomic uint32_t *word, int n, uint32_t bits)
{
	w.n = n;
	w.word = word;
	w.bits = bits;
	w.began = w.ended = 0;
	*word = 0;
	for (int i = 0; i < n; i++)
		CHECK(!pthread_create(&w.threads[i], NULL, wait_once, NULL));
	while (w.began < n || waiting(word) < n)
		sched_yield();
}

static void waiters_until(int n)
{
	while (w.ended < n)
		sched_yield();
}

static void waiters_join(void)
{
	for (int i = 0; i < w.n; i++)
		CHECK(!pthread_join(w.threads[i], NULL));
}

// ---- Calls ----------------------------------------------------------------------------------------------------------

static void no_waiter(void)
{
	struct timespec short_time = { .tv_nsec = 2000000 }, negative = { .tv_sec = -1 }, odd = { .tv_nsec = 1000000000 };
	struct timespec past = { .tv_sec = 1 };

	words[0] = 5;
	say("wait, another value: %s", outcome_of(wait_on(&words[0], 4)));
	say("wait, time-out: %s", outcome_of(futex(&words[0], FUTEX_WAIT, 5, &short_time, NULL, 0)));
	say("wait_bitset until a time that is over: %s",
	    outcome_of(futex(&words[0], FUTEX_WAIT_BITSET, 5, &past, NULL, FUTEX_ANY)));
	say("wait_bitset by the clock of the day, over: %s",
	    outcome_of(futex(&words[0], FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &past, NULL, FUTEX_ANY)));
	say("wait, negative time: %s", outcome_of(futex(&words[0], FUTEX_WAIT, 5, &negative, NULL, 0)));
	say("wait, 10^9 ns: %s", outcome_of(futex(&words[0], FUTEX_WAIT, 5, &odd, NULL, 0)));
	say("wait, bad time: %s", outcome_of(futex(&words[0], FUTEX_WAIT, 5, (void *)8, NULL, 0)));
	say("wait_bitset, no bits: %s", outcome_of(futex(&words[0], FUTEX_WAIT_BITSET, 5, NULL, NULL, 0)));
	say("wake, nobody: %s", outcome_of(wake(&words[0], 1)));
	say("wake_bitset, no bits: %s", outcome_of(futex(&words[0], FUTEX_WAKE_BITSET, 1, NULL, NULL, 0)));
	say("odd address: %s, %s", outcome_of(wait_on((void *)((uintptr_t)words + 2), 0)),
	    outcome_of(wake((void *)((uintptr_t)words + 2), 1)));
	say("wait, not mapped: %s", outcome_of(wait_on((void *)PAGE, 0)));
	say("wait, in the kernel's half: %s", outcome_of(wait_on((void *)0xffff888000000000, 0)));
	say("cmp_requeue, another value: %s", outcome_of(futex(&words[0], FUTEX_CMP_REQUEUE, 1, count_argument(1), &words[1], 4)));
	say("cmp_requeue, nobody: %s", outcome_of(futex(&words[0], FUTEX_CMP_REQUEUE, 1, count_argument(1), &words[1], 5)));
	say("requeue, negative: %s", outcome_of(futex(&words[0], FUTEX_REQUEUE, 1, count_argument(-1), &words[1], 5)));
	say("unknown operation: %s", outcome_of(futex(&words[0], 77, 0, NULL, NULL, 0)));
}

static void wake_counts(void)
{
	waiters_start(&words[2], 6, FUTEX_ANY);
	say("wake 2 of 6: %s", outcome_of(wake(&words[2], 2)));
	waiters_until(2);
	say("wake 1 of 4: %s", outcome_of(wake(&words[2], 1)));
	waiters_until(3);
	say("wake all: %s", outcome_of(wake(&words[2], 1000)));
	waiters_join();
	waiters_start(&words[2], 3, 6);
	say("wake_bitset, bits that nobody has: %s", outcome_of(futex(&words[2], FUTEX_WAKE_BITSET, 9, NULL, NULL, 9)));
	say("wake_bitset, a bit that all have: %s", outcome_of(futex(&words[2], FUTEX_WAKE_BITSET, 9, NULL, NULL, 3)));
	waiters_join();
}

static void requeue(void)
{
	waiters_start(&words[3], 5, FUTEX_ANY);
	say("cmp_requeue, wake 1, move 2 of 5: %s",
	    outcome_of(futex(&words[3], FUTEX_CMP_REQUEUE, 1, count_argument(2), &words[4], 0)));
	waiters_until(1);
	say("there now: %s; moved: %s", outcome_of(waiting(&words[3])), outcome_of(waiting(&words[4])));
	// Wakes on the old word do not reach those that have moved.
	say("wake on the old word: %s", outcome_of(wake(&words[3], 9)));
	say("wake on the new word: %s", outcome_of(wake(&words[4], 9)));
	waiters_join();
	waiters_start(&words[3], 4, FUTEX_ANY);
	say("requeue, wake 1, move all: %s", outcome_of(futex(&words[3], FUTEX_REQUEUE, 1, count_argument(9), &words[4], 0)));
	say("wake on the new word: %s", outcome_of(wake(&words[4], 9)));
	waiters_join();
}

static void wake_op_row(const char *what, uint32_t before, int op, uint32_t arg, int compare, uint32_t with)
{
	words[6] = before;
	long r = futex(&words[5], FUTEX_WAKE_OP, 1, count_argument(1), &words[6], FUTEX_OPERATION(op, arg, compare, with));
	say("wake_op, %s: %s, then %u", what, outcome_of(r), words[6]);
}

static void wake_op(void)
{
	wake_op_row("set", 7, FUTEX_OP_SET, 3, FUTEX_CMP_EQ, 7);
	wake_op_row("add", 7, FUTEX_OP_ADD, 0xfff, FUTEX_CMP_NE, 7);	// the argument is signed
	wake_op_row("or", 6, FUTEX_OP_OR, 9, FUTEX_CMP_LT, 7);
	wake_op_row("andn", 7, FUTEX_OP_ANDN, 2, FUTEX_CMP_LE, 7);
	wake_op_row("xor", 7, FUTEX_OP_XOR, 12, FUTEX_CMP_GT, 7);
	wake_op_row("or, shifted", 7, FUTEX_OP_OR | FUTEX_OP_ARG_SHIFT, 10, FUTEX_CMP_GE, 7);
	say("wake_op, unknown: %s", outcome_of(futex(&words[5], FUTEX_WAKE_OP, 1, count_argument(1), &words[6],
						     FUTEX_OPERATION(7, 0, 0, 0))));
	waiters_start(&words[6], 2, FUTEX_ANY);
	wake_op_row("compares false: the second word's are left", 0, FUTEX_OP_SET, 0, FUTEX_CMP_EQ, 1);
	wake_op_row("compares true: one of them", 0, FUTEX_OP_SET, 0, FUTEX_CMP_EQ, 0);
	waiters_until(1);
	say("wake the other one: %s", outcome_of(wake(&words[6], 9)));
	waiters_join();
}

// ---- Two threads that hand each other a word ------------------------------------------------------------------------

enum { ROUNDS = 1000 };

static void *pong(void *arg)
{
	for (uint32_t i = 0; i < ROUNDS; i++) {
		while (words[8] != 2 * i + 1)
			wait_on(&words[8], 2 * i);
		words[8] = 2 * i + 2;
		wake(&words[8], 1);
	}
	return arg;
}

static void ping_pong(void)
{
	pthread_t thread;

	words[8] = 0;
	CHECK(!pthread_create(&thread, NULL, pong, NULL));
	for (uint32_t i = 0; i < ROUNDS; i++) {
		words[8] = 2 * i + 1;
		wake(&words[8], 1);
		while (words[8] != 2 * i + 2)
			wait_on(&words[8], 2 * i + 1);
	}
	CHECK(!pthread_join(thread, NULL));
	say("ping-pong: %u", words[8]);
}

// Two mappings of the same memory have one futex between them.
static void two_mappings(void)
{
	_Atomic uint32_t *again = (void *)raw(SYS_mremap, words, 0ul, PAGE, REMAP_MAYMOVE, 0);

	CHECK((long)again > 0);
	waiters_start(&words[9], 2, FUTEX_ANY);
	say("shared: a wake by the second mapping: %s", outcome_of(wake(&again[9], 9)));
	wake(&words[9], 9);	// whom that has not reached
	waiters_join();
	CHECK(!munmap((void *)again, PAGE));
}

// ---- Robust lists ---------------------------------------------------------------------------------------------------

static struct {
	struct robust_node node;
	_Atomic uint32_t word;
} robust[2];
static struct robust_head head = { .list.next = &robust[0].node, .offset = sizeof(struct robust_node) };

static void *die_robust(void *arg)
{
	uint32_t tid = raw(SYS_gettid);

	robust[0].node.next = &robust[1].node;
	robust[1].node.next = &head.list;
	robust[0].word = tid | FUTEX_HAS_WAITERS;
	robust[1].word = tid + 1;	// not this thread's
	CHECK_EQ(raw(SYS_set_robust_list, &head, sizeof(head)), 0);
	raw(SYS_exit, 0);
	return arg;
}

static void robust_list(void)
{
	pthread_t thread;

	say("set_robust_list, wrong size: %s", outcome_of(raw(SYS_set_robust_list, &head, sizeof(head) + 1)));
	CHECK(!pthread_create(&thread, NULL, die_robust, NULL));
	while (!(robust[0].word & FUTEX_OWNER_DIED)) {
		uint32_t value = robust[0].word;
		if (!(value & FUTEX_OWNER_DIED))
			raw(SYS_futex, &robust[0].word, FUTEX_WAIT, value, NULL);	// woken because it says that there are waiters
	}
	say("robust: owner died %d, waiters %d, owner %u; the other one: owner died %d", !!(robust[0].word & FUTEX_OWNER_DIED),
	    !!(robust[0].word & FUTEX_HAS_WAITERS), robust[0].word & FUTEX_TID, !!(robust[1].word & FUTEX_OWNER_DIED));
}

static pthread_mutex_t robust_mutex;
static atomic_bool owned;

static void *lock_and_die(void *arg)
{
	CHECK(!pthread_mutex_lock(&robust_mutex));
	owned = true;
	usleep(5000);	// the others come to wait
	return arg;
}

static void *lock_after_death(void *arg)
{
	int r = pthread_mutex_lock(&robust_mutex);

	CHECK(r == 0 || r == EOWNERDEAD);
	if (r == EOWNERDEAD) {
		++*(atomic_int *)arg;
		CHECK(!pthread_mutex_consistent(&robust_mutex));
	}
	CHECK(!pthread_mutex_unlock(&robust_mutex));
	return NULL;
}

static void robust_mutexes(void)
{
	static atomic_int deaths;
	pthread_t owner, others[4];
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	CHECK(!pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
	for (int round = 0; round < 5; round++) {
		CHECK(!pthread_mutex_init(&robust_mutex, &attr));
		owned = false;
		CHECK(!pthread_create(&owner, NULL, lock_and_die, NULL));
		while (!owned)
			sched_yield();
		if (round % 2)		// it dies before the others come, otherwise while they wait
			CHECK(!pthread_join(owner, NULL));
		for (int i = 0; i < 4; i++)
			CHECK(!pthread_create(&others[i], NULL, lock_after_death, &deaths));
		for (int i = 0; i < 4; i++)
			CHECK(!pthread_join(others[i], NULL));
		if (round % 2 == 0)
			CHECK(!pthread_join(owner, NULL));
		pthread_mutex_destroy(&robust_mutex);
	}
	say("robust mutexes: %d of 5 deaths were noticed, each by one thread", deaths);
}

// ---- What the library builds ----------------------------------------------------------------------------------------

static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long under_rwlock, under_mutex;
static atomic_int serial;

static void *library_thread(void *arg)
{
	for (int i = 0; i < 20; i++) {
		if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			serial++;
		for (int j = 0; j < 20; j++) {
			pthread_rwlock_wrlock(&rwlock);
			under_rwlock++;
			pthread_rwlock_unlock(&rwlock);
			pthread_rwlock_rdlock(&rwlock);
			CHECK(under_rwlock > 0);
			pthread_rwlock_unlock(&rwlock);
		}
	}
	pthread_mutex_lock(&mutex);
	under_mutex++;
	pthread_cond_broadcast(&cond);
	while (under_mutex < 6)
		pthread_cond_wait(&cond, &mutex);
	pthread_mutex_unlock(&mutex);
	return arg;
}

static void library(void)
{
	struct timespec until = { .tv_sec = 1 };
	pthread_t threads[6];

	CHECK(!pthread_barrier_init(&barrier, NULL, 6));
	for (int i = 0; i < 6; i++)
		CHECK(!pthread_create(&threads[i], NULL, library_thread, NULL));
	for (int i = 0; i < 6; i++)
		CHECK(!pthread_join(threads[i], NULL));
	say("library: 6 threads, barrier %d times, rwlock %ld, cond %ld", serial, under_rwlock, under_mutex);
	pthread_mutex_lock(&mutex);
	CHECK_EQ(pthread_cond_timedwait(&cond, &mutex, &until), ETIMEDOUT);
	say("library: a wait until a time that is over times out");
}

int main(void)
{
	for (int shared = 0; shared < 2; shared++) {
		say("%s:", shared ? "shared" : "private");
		private_flag = shared ? 0 : FUTEX_PRIVATE;
		words = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | (shared ? MAP_SHARED : MAP_PRIVATE), -1, 0);
		CHECK(words != MAP_FAILED);
		no_waiter();
		wake_counts();
		requeue();
		wake_op();
		ping_pong();
		if (shared)
			two_mappings();
	}
	robust_list();
	robust_mutexes();
	library();
	return 0;
}
