// SPDX-License-Identifier: MIT
// What the calls say that inform: about the system, the process, its limits, its CPUs; and random numbers.
#include "user/common/check.h"
#include "user/common/kernel.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/utsname.h>

static void system_(void)
{
	struct utsname names;
	struct sysinfo about;

	CHECK(!uname(&names));
	CHECK(strlen(names.nodename) && strlen(names.release) && strlen(names.version));
	CHECK(names.release[0] >= '1' && names.release[0] <= '9' && strchr(names.release, '.'));	// libraries parse it
	say("uname: machine %s; system, node, release and version have text", names.machine);
	say("uname, bad address: %s", error_of(raw(SYS_uname, 8)));
	CHECK(!sysinfo(&about));
	CHECK(about.mem_unit && about.totalram && about.freeram && about.freeram <= about.totalram && about.procs);
	say("sysinfo: memory, of which some is free; processes");
	say("sysinfo, bad address: %s", error_of(raw(SYS_sysinfo, 8)));
}

static void process(void)
{
	say("getpid is gettid: %d; positive: %d", raw(SYS_getpid) == raw(SYS_gettid), raw(SYS_getpid) > 0);
	say("getuid is geteuid: %d; getgid is getegid: %d", raw(SYS_getuid) == raw(SYS_geteuid), raw(SYS_getgid) == raw(SYS_getegid));
	say("set_tid_address gives gettid: %d", raw(SYS_set_tid_address, NULL) == raw(SYS_gettid));
}

static void random_numbers(void)
{
	unsigned char a[300] = { 0 }, b[300] = { 0 };
	int different = 0;

	CHECK_EQ(raw(SYS_getrandom, a, sizeof(a), 0), sizeof(a));
	CHECK_EQ(raw(SYS_getrandom, b, sizeof(b), 0), sizeof(b));
	for (size_t i = 0; i < sizeof(a); i++)
		different += a[i] != b[i];
	CHECK(different > 200);
	say("getrandom: different numbers; none: %s; bad address: %s; unknown flags: %s", outcome_of(raw(SYS_getrandom, a, 0, 0)),
	    error_of(raw(SYS_getrandom, 8, 16, 0)), error_of(raw(SYS_getrandom, a, 16, 0x100)));
}

// ---- CPUs -----------------------------------------------------------------------------------------------------------

static void affinity(void)
{
	unsigned char mask[1024];
	cpu_set_t all, one;
	unsigned int cpu, node;

	CHECK(!sched_getaffinity(0, sizeof(all), &all));
	CHECK(CPU_COUNT(&all) >= 1);
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		CHECK(!sched_setaffinity(0, sizeof(one), &one));
		CHECK_EQ(raw(SYS_getcpu, &cpu, &node, NULL), 0);
		CHECK_EQ(cpu, i);
		CHECK(!sched_getaffinity(0, sizeof(one), &one) && CPU_COUNT(&one) == 1 && CPU_ISSET(i, &one));
	}
	CHECK(!sched_setaffinity(0, sizeof(all), &all));
	say("affinity: runs on each of its CPUs when it says so");
	say("sched_getaffinity: writes a multiple of 8 bytes: %d", raw(SYS_sched_getaffinity, 0, sizeof(mask), mask) % 8 == 0);
	say("sched_getaffinity, 7 bytes: %s; no such thread: %s; bad address: %s",
	    error_of(raw(SYS_sched_getaffinity, 0, 7, mask)), error_of(raw(SYS_sched_getaffinity, 0x3ffffff, sizeof(mask), mask)),
	    error_of(raw(SYS_sched_getaffinity, 0, sizeof(mask), 8)));
	memset(mask, 0, sizeof(mask));
	say("sched_setaffinity, no CPU: %s; bad address: %s", error_of(raw(SYS_sched_setaffinity, 0, sizeof(mask), mask)),
	    error_of(raw(SYS_sched_setaffinity, 0, sizeof(mask), 8)));
	say("getcpu, nowhere: %s; bad address: %s", error_of(raw(SYS_getcpu, NULL, NULL, NULL)),
	    error_of(raw(SYS_getcpu, 8, NULL, NULL)));
	say("sched_yield: %s", outcome_of(raw(SYS_sched_yield)));
}

static void *pinned(void *arg)
{
	cpu_set_t one;
	unsigned int cpu;

	CPU_ZERO(&one);
	CPU_SET((uintptr_t)arg, &one);
	CHECK(!sched_setaffinity(0, sizeof(one), &one));
	for (int i = 0; i < 200; i++) {
		CHECK_EQ(raw(SYS_getcpu, &cpu, NULL, NULL), 0);
		CHECK_EQ(cpu, (uintptr_t)arg);
		sched_yield();
	}
	return NULL;
}

static void pinned_threads(void)
{
	pthread_t threads[8];
	cpu_set_t all;
	int n = 0;

	CHECK(!sched_getaffinity(0, sizeof(all), &all));
	for (int i = 0; i < CPU_SETSIZE && n < 8; i++)
		if (CPU_ISSET(i, &all))
			CHECK(!pthread_create(&threads[n++], NULL, pinned, (void *)(uintptr_t)i));
	while (n)
		CHECK(!pthread_join(threads[--n], NULL));
	say("pinned threads: stay where they are told to be");
}

static long nice_value(void) { return 20 - raw(SYS_getpriority, PRIO_PROCESS, 0); }

static void priority(void)
{
	long r = raw(SYS_setpriority, PRIO_PROCESS, 0, 5);

	say("setpriority, 5: %s; then getpriority: %ld", error_of(r), nice_value());
	say("setpriority, unknown kind: %s; no such thread: %s", error_of(raw(SYS_setpriority, 9, 0, 5)),
	    error_of(raw(SYS_setpriority, PRIO_PROCESS, 0x3ffffff, 5)));
	r = raw(SYS_setpriority, PRIO_PROCESS, 0, 99);
	say("setpriority, beyond the end: %s; then getpriority: %ld", error_of(r), nice_value());
}

// ---- Names, limits, usage -------------------------------------------------------------------------------------------

static void names(void)
{
	char name[17] = { 0 };

	CHECK(!prctl(PR_GET_NAME, name));
	say("prctl: at first \"%s\"", name);
	CHECK(!prctl(PR_SET_NAME, "a name that is far too long"));
	CHECK(!prctl(PR_GET_NAME, name));
	say("prctl: a long one is \"%s\"", name);
	say("prctl, bad address: %s; unknown: %s", error_of(raw(SYS_prctl, PR_SET_NAME, 8, 0, 0, 0)),
	    error_of(raw(SYS_prctl, 0x7fff1234, 0, 0, 0, 0)));
}

static void limits(void)
{
	struct rlimit limit, lower, again;

	CHECK(!getrlimit(RLIMIT_STACK, &limit) && limit.rlim_cur <= limit.rlim_max);
	lower = (struct rlimit){ .rlim_cur = limit.rlim_cur / 2, .rlim_max = limit.rlim_max };
	CHECK(!setrlimit(RLIMIT_STACK, &lower) && !getrlimit(RLIMIT_STACK, &again));
	CHECK(again.rlim_cur == lower.rlim_cur && again.rlim_max == limit.rlim_max);
	CHECK(!setrlimit(RLIMIT_STACK, &limit));
	CHECK(!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur > 2);
	lower = (struct rlimit){ .rlim_cur = 2, .rlim_max = 1 };
	say("prlimit64: can be lowered and raised again; soft above hard: %s; unknown: %s; bad address: %s",
	    error_of(raw(SYS_prlimit64, 0, RLIMIT_STACK, &lower, NULL)), error_of(raw(SYS_prlimit64, 0, 99, NULL, &limit)),
	    error_of(raw(SYS_prlimit64, 0, RLIMIT_STACK, NULL, 8)));
}

static long long microseconds(struct timeval t) { return t.tv_sec * 1000000ll + t.tv_usec; }

static void usage(void)
{
	struct rusage before, after;
	volatile uint64_t spins = 0;

	CHECK(!getrusage(RUSAGE_SELF, &before));
	do {		// ends, because time is counted
		for (int i = 0; i < 100000; i++)
			spins++;
		CHECK(!getrusage(RUSAGE_SELF, &after));
	} while (microseconds(after.ru_utime) + microseconds(after.ru_stime) <
		 microseconds(before.ru_utime) + microseconds(before.ru_stime) + 10000);
	CHECK(after.ru_maxrss >= 0);
	say("getrusage: time goes by; unknown kind: %s; bad address: %s", error_of(raw(SYS_getrusage, 99, &after)),
	    error_of(raw(SYS_getrusage, RUSAGE_SELF, 8)));
}

// ---- The machine ----------------------------------------------------------------------------------------------------

static void thread_pointer(void)
{
	uintptr_t fs, self, gs = 1;
	static uint64_t word = 4711;

	CHECK_EQ(raw(SYS_arch_prctl, ARCH_GET_FS_, &fs), 0);
	__asm__("mov %%fs:0, %0" : "=r"(self));
	say("arch_prctl: FS is the thread's own block: %d", fs == self);
	CHECK_EQ(raw(SYS_arch_prctl, ARCH_SET_GS_, &word), 0);
	CHECK_EQ(raw(SYS_arch_prctl, ARCH_GET_GS_, &gs), 0);
	__asm__("mov %%gs:0, %0" : "=r"(self));
	sched_yield();
	say("arch_prctl: GS is what was set: %d, %lu", gs == (uintptr_t)&word, self);
	CHECK_EQ(raw(SYS_arch_prctl, ARCH_SET_GS_, 0), 0);
	say("arch_prctl, a base in the kernel's half: %s, %s; bad address: %s; unknown: %s",
	    error_of(raw(SYS_arch_prctl, ARCH_SET_FS_, 0xffff888000000000)),
	    error_of(raw(SYS_arch_prctl, ARCH_SET_GS_, 0xffff888000000000)),
	    error_of(raw(SYS_arch_prctl, ARCH_GET_FS_, 8)), error_of(raw(SYS_arch_prctl, 0x7777, 0)));
}

// Registers that a call must not change, and the two that SYSCALL itself does.
static void registers_of_a_call(void)
{
	uint64_t rcx, r11, flags, rip, sum;

	__asm__ volatile("mov $1, %%ebx\n\tmov $2, %%r12\n\tmov $3, %%r13\n\tmov $4, %%r14\n\tmov $5, %%r15\n\t"
			 "mov $6, %%rdi\n\tmov $7, %%rsi\n\tmov $8, %%rdx\n\tmov $9, %%r10\n\tmov $10, %%r8\n\tmov $11, %%r9\n\t"
			 "mov %[getpid], %%eax\n\tpushfq\n\tpopq %[flags]\n\tsyscall\n1:\tlea 1b(%%rip), %[rip]\n\t"
			 "add %%rbx, %%r12\n\tadd %%r13, %%r12\n\tadd %%r14, %%r12\n\tadd %%r15, %%r12\n\tadd %%rdi, %%r12\n\t"
			 "add %%rsi, %%r12\n\tadd %%rdx, %%r12\n\tadd %%r10, %%r12\n\tadd %%r8, %%r12\n\tadd %%r9, %%r12\n\t"
			 "mov %%rcx, %[rcx]\n\tmov %%r11, %[r11]\n\tmov %%r12, %[sum]"
			 : [rcx] "=m"(rcx), [r11] "=m"(r11), [sum] "=m"(sum), [flags] "=m"(flags), [rip] "=a"(rip)
			 : [getpid] "i"(SYS_getpid)
			 : "rbx", "r12", "r13", "r14", "r15", "rdi", "rsi", "rdx", "r10", "r8", "r9", "rcx", "r11", "cc", "memory");
	say("a call keeps all registers: sum %llu; rcx is where it returns to: %d; r11 the flags: %d", (unsigned long long)sum,
	    rcx == rip, r11 == flags);
}

static void unknown_calls(void)
{
	say("call 511: %s; 1000: %s; 10^9: %s; -1: %s", error_of(raw(511)), error_of(raw(1000)), error_of(raw(1000000000)),
	    error_of(raw(-1)));
	long rseq = raw(SYS_rseq, NULL, 0, 0, 0);
	say("rseq, nothing: an error: %d", rseq < 0);
}

int main(void)
{
	system_();
	process();
	random_numbers();
	affinity();
	pinned_threads();
	names();
	limits();
	usage();
	thread_pointer();
	registers_of_a_call();
	unknown_calls();
	priority();
	return 0;
}
