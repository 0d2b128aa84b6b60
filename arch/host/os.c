// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include "arch/host/os.h"

#define GUARD 4096
#define FAULT_STACK (64 * 1024)
#define NS 1000000000ull

static uint64_t start_ns, start_date_ns;	// written once, before there are other threads
static void (*fault_fn)(int sig, uintptr_t pc, uintptr_t addr, uintptr_t fp);

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

__attribute__((constructor)) static void remember_start(void)
{
	start_ns = clock_ns(CLOCK_MONOTONIC);
	start_date_ns = clock_ns(CLOCK_REALTIME);
}

uint64_t os_ns(void) { return clock_ns(CLOCK_MONOTONIC) - start_ns; }

uint64_t os_started_ns(void) { return start_date_ns; }

static struct timespec absolute(uint64_t ns)
{
	ns += start_ns;
	return (struct timespec){ .tv_sec = (time_t)(ns / NS), .tv_nsec = (long)(ns % NS) };
}

void *os_reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

bool os_allow(void *at, size_t bytes, bool allowed)
{
	return !mprotect(at, bytes, allowed ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void *os_stack(size_t bytes)
{
	char *p = os_reserve(bytes + GUARD);

	if (!p || !os_allow(p, GUARD, false))
		return NULL;
	return p + GUARD;
}

void os_yield(void) { sched_yield(); }

void os_sleep_until(uint64_t ns)
{
	struct timespec t = absolute(ns);

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

void os_futex_wait(uint32_t *word, uint32_t expected)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

void os_futex_wait_until(uint32_t *word, uint32_t expected, uint64_t ns)
{
	struct timespec t = absolute(ns);

	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, &t, NULL, FUTEX_BITSET_MATCH_ANY);
}

void os_futex_wake(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

struct start {
	void (*fn)(void *);
	void *arg;
};

static void *run(void *p)
{
	struct start s = *(struct start *)p;

	free(p);
	s.fn(s.arg);
	return NULL;
}

void os_thread(void (*fn)(void *), void *arg)
{
	struct start *s = malloc(sizeof(*s));
	pthread_t t;

	if (s)
		*s = (struct start){ fn, arg };
	if (!s || pthread_create(&t, NULL, run, s) || pthread_detach(t)) {
		fprintf(stderr, "quiesce-host: cannot start a thread\n");
		_exit(1);
	}
}

void os_write(const char *s, size_t n)
{
	while (n) {
		ssize_t done = write(STDOUT_FILENO, s, n);

		if (done < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (done > 0) {
			s += done;
			n -= (size_t)done;
		}
	}
}

int os_getc(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	unsigned char c;

	return poll(&p, 1, 0) == 1 && read(STDIN_FILENO, &c, 1) == 1 ? c : -1;
}

#ifdef HOST_COVERAGE
void __gcov_dump(void);
static void dump_coverage(void) { __gcov_dump(); }
#else
static void dump_coverage(void) { }
#endif

// Other pthreads go on running meanwhile: no destructor of theirs, or of libc's, may get in their way.
void os_exit(int status)
{
	dump_coverage();
	_exit(status);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	fault_fn(sig, (uintptr_t)r[REG_RIP], (uintptr_t)info->si_addr, (uintptr_t)r[REG_RBP]);
	_exit(1);
}

void os_catch_faults(void (*fn)(int sig, uintptr_t pc, uintptr_t addr, uintptr_t fp))
{
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	struct sigaction a = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND };

	fault_fn = fn;
	for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		sigaction(sigs[i], &a, NULL);
}

void os_fault_stack(void)
{
	stack_t s = { .ss_sp = os_stack(FAULT_STACK), .ss_size = FAULT_STACK };

	if (s.ss_sp)
		sigaltstack(&s, NULL);
}

const void *os_map_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (!fstat(fd, &st)) {
		*size = (size_t)st.st_size;
		p = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
	}
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

const void *os_map_self(size_t *size) { return os_map_file("/proc/self/exe", size); }

static int first_object(struct dl_phdr_info *info, size_t size, void *bias)
{
	(void)size;
	*(uintptr_t *)bias = info->dlpi_addr;
	return 1;	// the program itself comes first
}

uintptr_t os_load_bias(void)
{
	uintptr_t bias = 0;

	dl_iterate_phdr(first_object, &bias);
	return bias;
}
