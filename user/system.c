// SPDX-License-Identifier: MIT
// Who and where a program is, its limits, what it has used, random bytes, CPUs and priorities: what the calls say, and
// how they answer bad arguments.
#include "user/common/check.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#define KERNEL_HALF 0xffff888000000000ul
enum { SET_NAME = 15, GET_NAME = 16 };

static void row(const char *call, const char *what, long result)
{
	say("%-18s %-36s %s", call, what, outcome_of(result));
}

// ---- Who and where --------------------------------------------------------------------------------------------------

static void *other_thread(void *arg)
{
	char name[16];

	CHECK_EQ(raw(SYS_prctl, GET_NAME, name), 0);
	say("a thread's name is that of its maker at first: \"%s\"", name);
	CHECK_EQ(raw(SYS_prctl, SET_NAME, "another"), 0);
	CHECK(raw(SYS_getpid) == *(long *)arg && raw(SYS_gettid) != *(long *)arg);
	return NULL;
}

static void identity(void)
{
	long pid = raw(SYS_getpid);
	struct utsname u;
	pthread_t thread;
	char name[32];

	CHECK_EQ(raw(SYS_gettid), pid);
	say("a call's number has 32 bits: %s", raw(SYS_getpid | ~0ul << 32) == pid ? "yes" : "no");
	CHECK(raw(SYS_getppid) >= 0 && raw(SYS_getuid) >= 0 && raw(SYS_geteuid) == raw(SYS_getuid));
	CHECK(raw(SYS_getgid) >= 0 && raw(SYS_getegid) == raw(SYS_getgid));
	CHECK_EQ(raw(SYS_uname, &u), 0);
	CHECK(atoi(u.release) >= 5 || !strncmp(u.release, "4.", 2) || !strncmp(u.release, "3.", 2));
	say("uname: %s on %s", u.sysname, u.machine);
	row("uname", "in the kernel's half", raw(SYS_uname, KERNEL_HALF));
	CHECK_EQ(raw(SYS_prctl, SET_NAME, "0123456789abcdefghi"), 0);
	memset(name, '#', sizeof(name));
	CHECK_EQ(raw(SYS_prctl, GET_NAME, name), 0);
	CHECK(!name[15] && name[16] == '#');
	say("a long name: \"%s\"", name);
	row("prctl", "name in the kernel's half", raw(SYS_prctl, SET_NAME, KERNEL_HALF));
	row("prctl", "name to the kernel's half", raw(SYS_prctl, GET_NAME, KERNEL_HALF));
	row("prctl", "unknown", raw(SYS_prctl, 12345, 0));
	CHECK(!pthread_create(&thread, NULL, other_thread, &pid) && !pthread_join(thread, NULL));
	CHECK(!raw(SYS_prctl, GET_NAME, name) && !strcmp(name, "0123456789abcde"));
}

// ---- Limits and usage -----------------------------------------------------------------------------------------------

static void limits(void)
{
	struct { unsigned long soft, hard; } old, limit, wrong = { 5, 4 }, many = { 1ul << 40, 1ul << 40 };

	row("prlimit64", "stack", raw(SYS_prlimit64, 0, RLIMIT_STACK, 0, &old));
	limit = old;
	limit.soft /= 2;
	row("prlimit64", "half of it", raw(SYS_prlimit64, 0, RLIMIT_STACK, &limit, 0));
	row("prlimit64", "and back, of the own number", raw(SYS_prlimit64, getpid(), RLIMIT_STACK, &old, &limit));
	CHECK(limit.soft == old.soft / 2 && limit.hard == old.hard);
	row("getrlimit", "stack", raw(SYS_getrlimit, RLIMIT_STACK, &limit));
	CHECK(limit.soft == old.soft && limit.hard == old.hard);
	row("setrlimit", "stack", raw(SYS_setrlimit, RLIMIT_STACK, &limit));
	row("prlimit64", "unknown limit", raw(SYS_prlimit64, 0, 16, 0, &limit));
	row("prlimit64", "unknown process", raw(SYS_prlimit64, 99999999, 16, 0, &limit));
	row("prlimit64", "from the kernel's half", raw(SYS_prlimit64, 99999999, 16, KERNEL_HALF, 0));
	row("prlimit64", "to the kernel's half", raw(SYS_prlimit64, 0, RLIMIT_STACK, 0, KERNEL_HALF));
	row("prlimit64", "soft above hard", raw(SYS_prlimit64, 0, RLIMIT_STACK, &wrong, 0));
	row("prlimit64", "too many files", raw(SYS_prlimit64, 0, RLIMIT_NOFILE, &many, 0));
	row("getrlimit", "unknown limit, bad address", raw(SYS_getrlimit, 16, KERNEL_HALF));
	row("setrlimit", "unknown limit, bad address", raw(SYS_setrlimit, 16, KERNEL_HALF));
}

static uint64_t us(struct timeval t) { return t.tv_sec * 1000000ul + t.tv_usec; }

static void usage(void)
{
	struct rusage before, after, all;
	struct sysinfo s;

	CHECK_EQ(raw(SYS_getrusage, RUSAGE_THREAD, &before), 0);
	do
		CHECK_EQ(raw(SYS_getrusage, RUSAGE_THREAD, &after), 0);
	while (us(after.ru_utime) + us(after.ru_stime) == us(before.ru_utime) + us(before.ru_stime));
	CHECK_EQ(raw(SYS_getrusage, RUSAGE_SELF, &all), 0);
	CHECK(us(all.ru_utime) + us(all.ru_stime) >= us(after.ru_utime) + us(after.ru_stime));
	CHECK(all.ru_maxrss > 0);
	say("getrusage: time passes");
	CHECK_EQ(raw(SYS_getrusage, RUSAGE_CHILDREN, &all), 0);
	CHECK_EQ(us(all.ru_utime) + us(all.ru_stime) + all.ru_maxrss, 0);
	row("getrusage", "unknown", raw(SYS_getrusage, 5, KERNEL_HALF));
	row("getrusage", "in the kernel's half", raw(SYS_getrusage, RUSAGE_SELF, KERNEL_HALF));
	CHECK_EQ(raw(SYS_sysinfo, &s), 0);
	CHECK(s.totalram * s.mem_unit >= 16 << 20 && s.freeram <= s.totalram && s.freeram && s.uptime > 0 &&
		s.procs > 0);
	row("sysinfo", "in the kernel's half", raw(SYS_sysinfo, KERNEL_HALF));
}

// ---- Random bytes ---------------------------------------------------------------------------------------------------

static void random_bytes(void)
{
	// Low, so that 2 GiB behind it are still addresses, wherever mappings usually lie.
	char *p = mmap((void *)0x10000000, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static unsigned char bytes[100000];
	unsigned counts[256] = { 0 };

	CHECK(p != MAP_FAILED && !munmap(p + PAGE, PAGE));
	row("getrandom", "100,000 bytes", raw(SYS_getrandom, bytes, sizeof(bytes), 0));
	for (size_t i = 0; i < sizeof(bytes); i++)
		counts[bytes[i]]++;
	for (int i = 0; i < 256; i++)		// 391 on average, with a deviation of 20
		CHECK(counts[i] > 391 - 10 * 20 && counts[i] < 391 + 10 * 20);
	row("getrandom", "no bytes at NULL", raw(SYS_getrandom, NULL, 0, 0));
	row("getrandom", "no bytes in the kernel's half", raw(SYS_getrandom, KERNEL_HALF, 0, 0));
	row("getrandom", "GRND_NONBLOCK | GRND_RANDOM", raw(SYS_getrandom, bytes, 5, 3));
	row("getrandom", "GRND_INSECURE", raw(SYS_getrandom, bytes, 5, 4));
	row("getrandom", "GRND_INSECURE | GRND_RANDOM", raw(SYS_getrandom, bytes, 5, 6));
	row("getrandom", "unknown flag", raw(SYS_getrandom, KERNEL_HALF, 5, 8));
	row("getrandom", "in the kernel's half", raw(SYS_getrandom, KERNEL_HALF, 5, 0));
	row("getrandom", "in a hole", raw(SYS_getrandom, p + PAGE, 1, 0));
	row("getrandom", "ends in a hole", raw(SYS_getrandom, p + PAGE - 6, 20, 0));
	row("getrandom", "a page, and then a hole", raw(SYS_getrandom, p, 1l << 40, 0));
	row("getrandom", "negative length", raw(SYS_getrandom, p + PAGE - 6, -1l, 0));
	CHECK(!munmap(p, PAGE));
}

// ---- CPUs and priorities --------------------------------------------------------------------------------------------

static long affinity(long tid, uint64_t mask[16]) { return raw(SYS_sched_getaffinity, tid, 128, mask); }

static uint64_t lowest(uint64_t mask) { return mask & -mask; }

static void each_cpu(uint64_t all)
{
	for (uint64_t left = all, one; (one = lowest(left)); left ^= one) {
		uint64_t now[16];
		unsigned cpu, node;

		CHECK_EQ(raw(SYS_sched_setaffinity, 0, 8, &one), 0);
		CHECK_EQ(raw(SYS_getcpu, &cpu, &node, NULL), 0);
		CHECK_EQ(1ul << cpu, one);
		CHECK(affinity(0, now) > 0 && now[0] == one);
	}
	CHECK_EQ(raw(SYS_sched_setaffinity, 0, 8, &all), 0);
}

static struct { _Atomic long tid; _Atomic int stop; _Atomic unsigned cpu; } other;

// It tells in which CPU it is, without rest.
static void *in_some_cpu(void *arg)
{
	(void)arg;
	other.tid = raw(SYS_gettid);
	while (!other.stop) {
		unsigned cpu;
		CHECK_EQ(raw(SYS_getcpu, &cpu, NULL, NULL), 0);
		other.cpu = cpu;
		sched_yield();
	}
	return NULL;
}

static void cpus_of_another(uint64_t all)
{
	pthread_t thread;
	uint64_t now[16];

	CHECK(!pthread_create(&thread, NULL, in_some_cpu, NULL));
	while (!other.tid)
		sched_yield();
	for (uint64_t left = all, one; (one = lowest(left)); left ^= one) {
		CHECK_EQ(raw(SYS_sched_setaffinity, other.tid, 8, &one), 0);
		CHECK(affinity(other.tid, now) > 0 && now[0] == one);
		while (1ul << other.cpu != one)
			sched_yield();
	}
	other.stop = 1;
	CHECK(!pthread_join(thread, NULL));
	say("another thread goes to each CPU");
}

static void *inherits(void *mask)
{
	uint64_t now[16];
	unsigned cpu;

	CHECK(affinity(0, now) > 0 && now[0] == *(uint64_t *)mask);
	CHECK_EQ(raw(SYS_getcpu, &cpu, NULL, NULL), 0);
	CHECK_EQ(1ul << cpu, now[0]);
	return NULL;
}

static void cpus(void)
{
	uint64_t mask[16] = { 0 }, all, none = 0, unknown = 1ul << 63, one;
	pthread_t thread;

	CHECK(affinity(0, mask) >= 8);
	all = mask[0];
	each_cpu(all);
	say("each CPU can be had");
	cpus_of_another(all);
	one = all & ~(all >> 1);	// the last of a row
	one = lowest(one);
	CHECK_EQ(raw(SYS_sched_setaffinity, 0, 8, &one), 0);
	CHECK(!pthread_create(&thread, NULL, inherits, &one) && !pthread_join(thread, NULL));
	CHECK_EQ(raw(SYS_sched_setaffinity, 0, 8, &all), 0);
	say("a thread may run where its maker may");
	row("sched_setaffinity", "no CPU", raw(SYS_sched_setaffinity, 0, 8, &none));
	row("sched_setaffinity", "no bytes", raw(SYS_sched_setaffinity, 0, 0, &all));
	row("sched_setaffinity", "unknown CPU", raw(SYS_sched_setaffinity, 0, 8, &unknown));
	row("sched_setaffinity", "unknown thread", raw(SYS_sched_setaffinity, 99999999, 8, &none));
	row("sched_setaffinity", "in the kernel's half", raw(SYS_sched_setaffinity, 99999999, 8, KERNEL_HALF));
	row("sched_getaffinity", "no bytes", raw(SYS_sched_getaffinity, 0, 0, mask));
	row("sched_getaffinity", "no multiple of a word", raw(SYS_sched_getaffinity, 99999999, 12, mask));
	row("sched_getaffinity", "unknown thread", raw(SYS_sched_getaffinity, 99999999, 128, mask));
	row("sched_getaffinity", "negative thread", raw(SYS_sched_getaffinity, -1, 128, mask));
	row("sched_getaffinity", "in the kernel's half", raw(SYS_sched_getaffinity, 0, 128, KERNEL_HALF));
	row("getcpu", "nothing asked", raw(SYS_getcpu, NULL, NULL, NULL));
	row("getcpu", "in the kernel's half", raw(SYS_getcpu, KERNEL_HALF, NULL, NULL));
	row("getcpu", "node in the kernel's half", raw(SYS_getcpu, NULL, KERNEL_HALF, NULL));
	row("sched_yield", "", raw(SYS_sched_yield));
}

// Only less urgent: of more, one needs the right.
static void priorities(void)
{
	row("getpriority", "", raw(SYS_getpriority, PRIO_PROCESS, 0));
	row("setpriority", "5", raw(SYS_setpriority, PRIO_PROCESS, 0, 5));
	row("getpriority", "", raw(SYS_getpriority, PRIO_PROCESS, getpid()));
	row("setpriority", "100", raw(SYS_setpriority, PRIO_PROCESS, 0, 100));
	row("getpriority", "", raw(SYS_getpriority, PRIO_PROCESS, 0));
	row("getpriority", "unknown kind", raw(SYS_getpriority, 3, 0));
	row("getpriority", "unknown thread", raw(SYS_getpriority, PRIO_PROCESS, 99999999));
	row("getpriority", "negative thread", raw(SYS_getpriority, PRIO_PROCESS, -1));
	row("getpriority", "unknown group", raw(SYS_getpriority, PRIO_PGRP, 99999999));
	row("getpriority", "unknown user", raw(SYS_getpriority, PRIO_USER, 99999999));
	row("setpriority", "unknown kind", raw(SYS_setpriority, 3, 0, 0));
	row("setpriority", "unknown thread", raw(SYS_setpriority, PRIO_PROCESS, 99999999, 0));
	row("setpriority", "unknown user", raw(SYS_setpriority, PRIO_USER, 99999999, 0));
}

int main(void)
{
	identity();
	limits();
	usage();
	random_bytes();
	cpus();
	priorities();
	return 0;
}
