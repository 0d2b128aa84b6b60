// SPDX-License-Identifier: MIT
// Stacks: the main one grows by itself up to its limit, whoever goes beyond it or onto a thread's guard page gets SIGSEGV on
// an alternate stack, and the kernel maps nothing close below a stack. Argument: nothing, or "die": no alternate stack.
#include "user/common/check.h"
#include "user/common/fault.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { FRAME = 4096, DEEP = 1800 };	// 7.0 MiB of 8

static sigjmp_buf back;
static volatile int caught;
static volatile uintptr_t caught_addr, deepest;

static void on_overflow(int number, siginfo_t *info, void *context)
{
	(void)context;
	caught = number;
	caught_addr = (uintptr_t)info->si_addr;
	siglongjmp(back, 1);
}

// Each frame writes its page, and reads it again on the way back.
static __attribute__((noinline)) long recurse(long depth, long most)
{
	volatile char frame[FRAME];

	frame[0] = (char)depth;
	frame[FRAME - 1] = (char)depth;
	deepest = (uintptr_t)frame;
	long below = depth < most ? recurse(depth + 1, most) : 0;
	CHECK(frame[0] == (char)depth && frame[FRAME - 1] == (char)depth);
	return below + 1;
}

static void catch_overflow(void)
{
	static char memory[64 * 1024];
	stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory) };
	struct sigaction action = { .sa_sigaction = on_overflow, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	CHECK(!sigaltstack(&stack, NULL));
	CHECK(!sigaction(SIGSEGV, &action, NULL));
}

static void overflow(const char *what)
{
	caught = 0;
	if (!sigsetjmp(back, 1))
		recurse(0, 1l << 40);
	say("%s: %s, close to where it was: %d", what, signal_name(caught), deepest - caught_addr + 2 * FRAME < 4 * FRAME);
}

// Beyond its limit it does not grow: at least so much was there, and not much more.
static void main_stack(void)
{
	struct rlimit limit;
	char here;

	CHECK(!getrlimit(RLIMIT_STACK, &limit));
	say("limit of the stack: %lu KiB", (unsigned long)limit.rlim_cur >> 10);
	say("recursion: %ld frames of a page", recurse(1, DEEP));
	catch_overflow();
	overflow("beyond the limit");
	uintptr_t size = (uintptr_t)&here - caught_addr;
	say("its size then: more than 7.5 MiB %d, at most 8 MiB %d", size > 15ul << 19, size <= 8ul << 20);
	say("once more, after all that: %ld", recurse(1, DEEP));
}

static void *thread_overflow(void *arg)
{
	(void)arg;
	catch_overflow();
	overflow("a thread, onto its guard page");
	return NULL;
}

// The guard page is where the library has put it: the fault is in it.
static void thread_stack(void)
{
	pthread_t thread;
	pthread_attr_t attr;
	char *stack = mmap(NULL, 65 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(stack != MAP_FAILED && !mprotect(stack, PAGE, PROT_NONE));
	pthread_attr_init(&attr);
	CHECK(!pthread_attr_setstack(&attr, stack + PAGE, 64 * PAGE));
	CHECK(!pthread_create(&thread, &attr, thread_overflow, NULL));
	CHECK(!pthread_join(thread, NULL));
	say("its address is in the guard page: %d", caught_addr - (uintptr_t)stack < PAGE);
	pthread_attr_init(&attr);
	CHECK(!pthread_attr_setstacksize(&attr, 256 * 1024));
	CHECK(!pthread_create(&thread, &attr, thread_overflow, NULL));
	CHECK(!pthread_join(thread, NULL));
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "die")) {
		say("dies of a stack without an end");
		recurse(0, 1l << 40);
	}
	main_stack();
	thread_stack();
	return 0;
}
