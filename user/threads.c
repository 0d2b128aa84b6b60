// SPDX-License-Identifier: MIT
// Threads: trees of them, deep and wide; thread-local storage, detached threads, destructors; clone() and clone3()
// without a library. Argument: nothing, or a way to end the process, for its exit status: "exit", "leader", "last".
#include "user/common/check.h"
#include "user/common/kernel.h"
#include "user/common/raw_thread.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

static void *deep(void *arg)
{
	uintptr_t depth = (uintptr_t)arg;
	pthread_t thread;
	void *sum = NULL;

	if (!depth)
		return NULL;
	CHECK(!pthread_create(&thread, NULL, deep, (void *)(depth - 1)));
	CHECK(!pthread_join(thread, &sum));
	return (void *)((uintptr_t)sum + depth);
}

static void *square(void *arg) { return (void *)((uintptr_t)arg * (uintptr_t)arg); }

static uintptr_t wide(int n)
{
	pthread_t threads[64];
	uintptr_t sum = 0;

	for (int i = 0; i < n; i++)
		CHECK(!pthread_create(&threads[i], NULL, square, (void *)(uintptr_t)i));
	for (int i = 0; i < n; i++) {
		void *result;
		CHECK(!pthread_join(threads[i], &result));
		sum += (uintptr_t)result;
	}
	return sum;
}

// A binary tree: each thread waits for its two children.
static void *tree(void *arg)
{
	uintptr_t depth = (uintptr_t)arg, count = 1;
	pthread_t threads[2];

	for (int i = 0; depth && i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, tree, (void *)(depth - 1)));
	for (int i = 0; depth && i < 2; i++) {
		void *below;
		CHECK(!pthread_join(threads[i], &below));
		count += (uintptr_t)below;
	}
	return (void *)count;
}

static _Thread_local int initialised = 42, zeroed;
static _Thread_local char aligned[64] __attribute__((aligned(64)));

static void *own_storage(void *arg)
{
	int mine = (int)(uintptr_t)arg;

	CHECK_EQ(initialised, 42);
	CHECK_EQ(zeroed, 0);
	CHECK_EQ((uintptr_t)aligned % 64, 0);
	memset(aligned, mine, sizeof(aligned));
	initialised = zeroed = mine;
	for (int i = 0; i < 50; i++) {
		sched_yield();
		CHECK(initialised == mine && zeroed == mine && aligned[63] == mine);
	}
	return arg;
}

static void thread_local_storage(void)
{
	pthread_t threads[16];

	for (int i = 0; i < 16; i++)
		CHECK(!pthread_create(&threads[i], NULL, own_storage, (void *)(uintptr_t)(i + 1)));
	for (int i = 0; i < 16; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(initialised == 42 && !zeroed);
	say("thread-local storage: 16 threads, each its own");
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int still_running;

static void *detached(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	if (!--still_running)
		pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void detached_threads(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	still_running = 24;
	for (int i = 0; i < 24; i++)
		CHECK(!pthread_create(&thread, i % 2 ? &attr : NULL, detached, NULL) && (i % 2 || !pthread_detach(thread)));
	pthread_mutex_lock(&lock);
	while (still_running)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	say("detached: 24 threads ended");
}

static pthread_key_t first, second;
static atomic_int destroyed, destroyed_again;

static void destroy_first(void *value)
{
	destroyed += (int)(uintptr_t)value;
	pthread_setspecific(second, (void *)1);	// has to be destroyed in a second round
}

static void destroy_second(void *value) { destroyed_again += (int)(uintptr_t)value; }

static void *with_values(void *arg)
{
	pthread_setspecific(first, arg);
	CHECK(pthread_getspecific(first) == arg);
	return NULL;
}

static void destructors(void)
{
	pthread_t threads[8];

	CHECK(!pthread_key_create(&first, destroy_first) && !pthread_key_create(&second, destroy_second));
	for (int i = 0; i < 8; i++)
		CHECK(!pthread_create(&threads[i], NULL, with_values, (void *)(uintptr_t)(i + 1)));
	for (int i = 0; i < 8; i++)
		CHECK(!pthread_join(threads[i], NULL));
	say("destructors: values %d, and %d set by a destructor", destroyed, destroyed_again);
}

static void *own_number(void *arg)
{
	*(long *)arg = raw(SYS_gettid);
	CHECK(raw(SYS_getpid) != raw(SYS_gettid));
	return (void *)raw(SYS_getpid);
}

static void numbers(void)
{
	pthread_t threads[8];
	long tids[9];

	tids[8] = raw(SYS_gettid);
	CHECK_EQ(raw(SYS_getpid), tids[8]);
	for (int i = 0; i < 8; i++)
		CHECK(!pthread_create(&threads[i], NULL, own_number, &tids[i]));
	for (int i = 0; i < 8; i++) {
		void *pid;
		CHECK(!pthread_join(threads[i], &pid));
		CHECK_EQ(pid, tids[8]);
		CHECK(tids[i] > 0);
		for (int j = 0; j < i; j++)
			CHECK(tids[i] != tids[j] && tids[i] != tids[8]);
	}
	say("numbers: one process, 9 different threads");
}

// ---- Without a library ----------------------------------------------------------------------------------------------

static struct {
	_Atomic uint32_t parent_tid, child_tid, clear_tid;
	long gettid, set_tid_address;
} bare;

static void bare_thread(void *arg)
{
	CHECK_EQ((uintptr_t)arg, 77);
	bare.gettid = bare_call(SYS_gettid, 0, 0, 0, 0);
	bare.set_tid_address = bare_call(SYS_set_tid_address, (long)&bare.clear_tid, 0, 0, 0);
}

static void wait_until_zero(_Atomic uint32_t *word)
{
	for (uint32_t value; (value = *word);)
		raw(SYS_futex, word, FUTEX_WAIT, value, NULL);	// not private: the kernel wakes it as a shared one
}

static void bare_clone(bool clone3)
{
	char *stack = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct clone_arguments args = {
		.flags = RAW_THREAD_FLAGS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
		.parent_tid = (uintptr_t)&bare.parent_tid, .child_tid = (uintptr_t)&bare.child_tid,
		.stack = (uintptr_t)stack, .stack_size = 16 * PAGE,
	};
	long tid;

	CHECK(stack != MAP_FAILED);
	memset(&bare, 0, sizeof(bare));
	bare.clear_tid = 1;
	tid = clone3 ? raw_clone3(&args, bare_thread, (void *)77) : raw_clone(&args, bare_thread, (void *)77);
	CHECK(tid > 0);
	wait_until_zero(&bare.clear_tid);	// its set_tid_address() has redirected what is cleared
	CHECK_EQ(bare.parent_tid, tid);
	CHECK_EQ(bare.child_tid, tid);
	CHECK_EQ(bare.gettid, tid);
	CHECK_EQ(bare.set_tid_address, tid);
	CHECK(!munmap(stack, 16 * PAGE));
	say("%s: settid, cleartid, gettid agree", clone3 ? "clone3" : "clone");
}

static void forgiven_clone(void)
{
	struct clone_arguments args = { 0 };
	char *stack = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(stack != MAP_FAILED);
	memset(&bare, 0, sizeof(bare));
	bare.clear_tid = 1;
	args.flags = RAW_THREAD_FLAGS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | 1ul << 40;
	args.parent_tid = 8;			// where nothing is
	args.child_tid = (uintptr_t)&bare.child_tid;
	args.stack = (uintptr_t)stack;
	args.stack_size = 16 * PAGE;
	CHECK(raw_clone(&args, bare_thread, (void *)77) > 0);
	wait_until_zero(&bare.clear_tid);
	CHECK(bare.child_tid == bare.gettid);
	CHECK(!munmap(stack, 16 * PAGE));
	say("clone: a flag above the lower half and a bad address for the number are no errors");
}

static void refused_clones(void)
{
	struct clone_arguments args[2] = { { .flags = RAW_THREAD_FLAGS, .exit_signal = 0 } };

	say("clone: CLONE_THREAD without CLONE_SIGHAND: %s", error_of(raw(SYS_clone, CLONE_VM | CLONE_THREAD, 0, 0, 0, 0)));
	say("clone: CLONE_SIGHAND without CLONE_VM: %s", error_of(raw(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0)));
	say("clone3: size 0: %s", error_of(raw(SYS_clone3, args, 0)));
	say("clone3: size 63: %s", error_of(raw(SYS_clone3, args, 63)));
	say("clone3: size 5000: %s", error_of(raw(SYS_clone3, args, 5000)));
	say("clone3: no structure: %s", error_of(raw(SYS_clone3, NULL, 64)));
	say("clone3: a stack without a size: %s",
	    error_of(raw(SYS_clone3, &(struct clone_arguments){ .flags = RAW_THREAD_FLAGS, .stack = PAGE }, 64)));
	say("clone3: a size without a stack: %s",
	    error_of(raw(SYS_clone3, &(struct clone_arguments){ .flags = RAW_THREAD_FLAGS, .stack_size = PAGE }, 64)));
	say("clone3: a thread with an exit signal: %s",
	    error_of(raw(SYS_clone3, &(struct clone_arguments){ .flags = RAW_THREAD_FLAGS, .exit_signal = 17 }, 64)));
	args[1].flags = 1;	// behind what is known
	say("clone3: unknown fields that are set: %s", error_of(raw(SYS_clone3, args, sizeof(args))));
}

// ---- Ways to end ----------------------------------------------------------------------------------------------------

static void *sleep_forever(void *arg)
{
	for (;;)
		usleep(1000000);
	return arg;
}

static void *spin_forever(void *arg)
{
	for (volatile uint64_t i = 0;; i++)
		;
	return arg;
}

static void *exit_group_7(void *arg)
{
	say("a thread ends the process");
	raw(SYS_exit_group, 7);
	return arg;
}

static void *outlive_leader(void *arg)
{
	long pid = raw(SYS_getpid);
	struct rlimit limit;

	usleep(20000);
	say("the thread that started is gone; a signal to it: %s, a wrong one: %s, its limits: %s",
	    error_of(raw(SYS_tgkill, pid, pid, SIGUSR1)), error_of(raw(SYS_tgkill, pid, pid, 99)),
	    error_of(raw(SYS_prlimit64, pid, RLIMIT_STACK, NULL, &limit)));
	if (arg)
		exit(5);
	raw(SYS_exit, 3);	// the last one: its status is the process's
	return NULL;
}

static void end_by(const char *how)
{
	pthread_t thread;

	if (!strcmp(how, "exit")) {
		for (int i = 0; i < 4; i++)
			CHECK(!pthread_create(&thread, NULL, i % 2 ? sleep_forever : spin_forever, NULL));
		CHECK(!pthread_create(&thread, NULL, exit_group_7, NULL));
		sleep_forever(NULL);
	}
	CHECK(!strcmp(how, "leader") || !strcmp(how, "last"));
	CHECK(!pthread_create(&thread, NULL, outlive_leader, (void *)(uintptr_t)!strcmp(how, "leader")));
	raw(SYS_exit, 9);
}

int main(int argc, char **argv)
{
	void *sum = deep((void *)40);

	if (argc > 1)
		end_by(argv[1]);
	say("deep: 40 threads, each made by the one before: %ld", (long)sum);
	for (int i = 0; i < 4; i++)
		say("wide: 32 threads at once: %ld", (long)wide(32));
	say("tree: %ld threads", (long)tree((void *)5));
	thread_local_storage();
	detached_threads();
	destructors();
	numbers();
	bare_clone(false);
	bare_clone(true);
	forgiven_clone();
	refused_clones();
	return 0;
}
