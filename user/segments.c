// SPDX-License-Identifier: MIT
// The segment registers of a thread are its own: across calls, other threads on its CPU, signals. While FS is not the
// library's, nothing of the library is used.
#include "user/common/check.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>

enum { SET_GS = 0x1001, SET_FS, GET_FS, GET_GS };	// of arch_prctl
struct segments { uint16_t ds, es, fs, gs; };

static volatile int turn;		// 1: the other thread's
static volatile int handled;
static struct segments others;

static __attribute__((always_inline)) inline long bare(long nr, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

static __attribute__((always_inline)) inline struct segments look(void)
{
	struct segments s;

	__asm__ volatile("mov %%ds, %0\n\tmov %%es, %1\n\tmov %%fs, %2\n\tmov %%gs, %3"
			 : "=r"(s.ds), "=r"(s.es), "=r"(s.fs), "=r"(s.gs));
	return s;
}

static uint16_t flat(void)
{
	uint16_t v;

	__asm__("mov %%ss, %0" : "=r"(v));
	return v;
}

static void show(const char *when, struct segments s)
{
	uint16_t f = flat();

#define NAME(v) ((v) == f ? "flat" : (v) ? "something else" : "null")
	say("%-32s ds %s, es %s, fs %s, gs %s", when, NAME(s.ds), NAME(s.es), NAME(s.fs), NAME(s.gs));
}

static void handler(int number) { handled = number; }

static void *other_thread(void *arg)
{
	while (turn != 1)
		sched_yield();
	others = look();
	turn = 2;
	return arg;
}

struct found { struct segments after_load, after_switch, after_signal, after_set; long fs_base, gs_base, fs_later; };

static __attribute__((noinline)) struct found with_own_segments(long pid, long tid)
{
	struct found f = { .fs_base = -1, .gs_base = -1, .fs_later = -1 };
	long library = 0;

	CHECK_EQ(bare(SYS_arch_prctl, GET_FS, (long)&library, 0), 0);
	__asm__ volatile("mov %0, %%ds\n\tmov %0, %%es\n\tmov %0, %%fs\n\tmov %0, %%gs" :: "r"((uint32_t)flat()) : "memory");
	f.after_load = look();
	bare(SYS_arch_prctl, GET_FS, (long)&f.fs_base, 0);
	bare(SYS_arch_prctl, GET_GS, (long)&f.gs_base, 0);
	turn = 1;
	while (turn == 1)
		bare(SYS_sched_yield, 0, 0, 0);
	f.after_switch = look();
	bare(SYS_tgkill, pid, tid, SIGUSR1);
	f.after_signal = look();
	bare(SYS_arch_prctl, GET_FS, (long)&f.fs_later, 0);
	bare(SYS_arch_prctl, SET_FS, library, 0);
	bare(SYS_arch_prctl, SET_GS, 4096, 0);
	f.after_set = look();
	return f;
}

int main(void)
{
	long pid = raw(SYS_getpid), base = 0;
	pthread_t thread;
	cpu_set_t one;
	struct found f;
	int cpu = sched_getcpu();

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	CHECK(cpu >= 0 && !sched_setaffinity(0, sizeof(one), &one));	// both threads
	CHECK(signal(SIGUSR1, handler) != SIG_ERR);
	show("at first", look());
	CHECK(!pthread_create(&thread, NULL, other_thread, NULL));
	f = with_own_segments(pid, raw(SYS_gettid));
	CHECK(!pthread_join(thread, NULL));
	CHECK_EQ(handled, SIGUSR1);
	show("loaded", f.after_load);
	say("bases then: fs %ld, gs %ld", f.fs_base, f.gs_base);
	show("after another thread", f.after_switch);
	show("the other thread's", others);
	show("after a signal", f.after_signal);
	say("base of fs: %ld", f.fs_later);
	show("after ARCH_SET_FS, ARCH_SET_GS", f.after_set);
	CHECK_EQ(raw(SYS_arch_prctl, GET_GS, &base), 0);
	say("base of gs: %ld", base);
	return 0;
}
