// SPDX-License-Identifier: MIT
// System calls by chance: numbers, known and unknown, with nasty arguments, from several threads at once, between
// accesses that fault, faults in the handlers of faults, and signals that interrupt all of it. What is left out is what
// would end the program or make it deaf, and on Linux, where this runs as a check of itself, what could harm the
// machine. Arguments: [seed] [calls] [threads].
//
// The workers are threads without a library, so that their FS base, robust list and thread's number are the fuzzer's,
// too. A worker's state lies at the beginning of the aligned block that holds its stacks, where it finds it by its
// stack pointer.
#include "user/common/check.h"
#include "user/common/kernel.h"
#include "user/common/nasty.h"
#include "user/common/raw_thread.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <ucontext.h>

enum { MOST_THREADS = 64, BLOCK = 256 * 1024, LIFE = 2000 /* calls of a worker */, DEEPEST = 3 };

// setjmp() and longjmp() that use nothing of the thread's storage.
struct place { uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rip; };
long place_mark(struct place *p) __attribute__((returns_twice));
_Noreturn void place_return(const struct place *p);
__asm__(".text\n"
	"place_mark: mov %rbx, (%rdi); mov %rbp, 8(%rdi); mov %r12, 16(%rdi); mov %r13, 24(%rdi); mov %r14, 32(%rdi)\n"
	"mov %r15, 40(%rdi); lea 8(%rsp), %rdx; mov %rdx, 48(%rdi); mov (%rsp), %rdx; mov %rdx, 56(%rdi); "
		"xor %eax, %eax; ret\n"
	"place_return: mov (%rdi), %rbx; mov 8(%rdi), %rbp; mov 16(%rdi), %r12; mov 24(%rdi), %r13; "
		"mov 32(%rdi), %r14\n"
	"mov 40(%rdi), %r15; mov 48(%rdi), %rsp; mov $1, %eax; jmp *56(%rdi)\n");

struct worker {
	struct random random;
	volatile long calls;		// still to be made
	_Atomic int done;
	struct place outer;		// a handler at a bad address for SIGURG has been called: on with the next call
	volatile int depth;		// of handlers that access by themselves
	const struct place *volatile back[DEEPEST + 1];	// where a fault at that depth returns to, or NULL
	struct { void *base; uint64_t length; } pieces[4];
	struct { uintptr_t handler; uint64_t flags; uintptr_t restorer; uint64_t mask; } action;
	struct { int64_t s, ns; } time;
	char alternate[64 * 1024];
};

static bool on_linux;

static struct worker *self(void)
{
	return (struct worker *)((uintptr_t)__builtin_frame_address(0) & -(uintptr_t)BLOCK);
}

static long call6(long nr, const uint64_t a[6])
{
	register uint64_t r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static _Noreturn void failed(const char *text)
{
	bare_call(SYS_write, 1, (long)text, (long)strlen(text), 0);
	for (;;)
		bare_call(SYS_exit_group, 1, 0, 0, 0);
}

// ---- Accesses that may fault ----------------------------------------------------------------------------------------

static __attribute__((noinline)) void touch(struct worker *w, volatile uint64_t *p, bool write, uint64_t value)
{
	struct place back;

	if (!place_mark(&back)) {
		w->back[w->depth] = &back;
		if (write)
			*p = value;
		else
			(void)*p;
	}
	w->back[w->depth] = NULL;
}

static void touch_something(struct worker *w)
{
	struct random *r = &w->random;

	touch(w, (uint64_t *)nasty_address(r), random_below(r, 2), nasty(r));
}

static void a_call(struct worker *w);

extern const char __executable_start[], etext[];
static bool is_ours(uintptr_t pc) { return pc >= (uintptr_t)__executable_start && pc < (uintptr_t)etext; }

// On the alternate stack. Before it gives up the access, it sometimes makes another, or a call.
static void on_fault(int number, siginfo_t *info, void *context)
{
	struct worker *w = self();
	const struct place *back = w->back[w->depth];

	(void)number;
	if (info->si_code <= 0)		// sent by tgkill()
		return;
	if (!back) {
		if (is_ours((uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP]))
			failed("FAILED: fuzz: a fault that nobody caused\n");
		place_return(&w->outer);
	}
	if (w->depth < DEEPEST && random_below(&w->random, 4) == 0) {
		w->depth++;
		touch_something(w);
		if (random_below(&w->random, 2))
			a_call(w);
		w->depth--;
	}
	place_return(back);
}

static void on_signal(int number, siginfo_t *info, void *context) { (void)number, (void)info, (void)context; }

// Those that cannot be handled, those by which a person ends it, and those that are the libraries' own.
static bool is_left_alone(int n)
{
	return n == SIGKILL || n == SIGSTOP || n == SIGTERM || n == SIGINT || (n >= 32 && n <= 34);
}

static void handle_signals(void)
{
	struct sigaction fault = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
	struct sigaction other = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	for (int n = 1; n <= 64; n++) {
		bool is_fault = n == SIGSEGV || n == SIGBUS;
		if (!is_left_alone(n))
			CHECK(!sigaction(n, is_fault ? &fault : &other, NULL));
	}
}

// ---- Calls that need care -------------------------------------------------------------------------------------------

// A range that may be changed: in the arena, or one that does not exist.
static void spare(struct worker *w, uint64_t *start, uint64_t *length)
{
	struct random *r = &w->random;

	if (in_arena(*start & -PAGE, *length + PAGE) && *start % PAGE == 0)
		return;
	if (random_below(r, 4)) {
		*start = arena_page(r);
		*length = random_below(r, (ARENA_START + ARENA_PAGES * PAGE - *start) / PAGE + 1) * PAGE;
	} else {
		*start = bad_address(r);
		if (*start < PAGE)
			*start |= 1;
	}
}

static void careful_mmap(struct worker *w, uint64_t a[6])
{
	uint64_t length = a[1];
	long result;

	if (random_below(&w->random, 2)) {		// one that has a chance
		a[2] &= PROT_READ | PROT_WRITE | PROT_EXEC;
		a[3] &= MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_NORESERVE | MAP_POPULATE;
		a[3] |= random_below(&w->random, 4) ? MAP_PRIVATE : MAP_SHARED;
	}
	a[3] |= MAP_ANONYMOUS;
	if (length > 64 * PAGE)
		a[3] &= ~(uint64_t)(MAP_POPULATE | MAP_LOCKED);
	if (a[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		spare(w, &a[0], &a[1]);
	a[3] &= ~(uint64_t)(MAP_GROWSDOWN | MAP_HUGETLB);
	result = call6(SYS_mmap, a);
	if (result > 0 && !in_arena((uintptr_t)result, a[1]))
		bare_call(SYS_munmap, result, (long)a[1], 0, 0);
}

static void careful_mremap(struct worker *w, uint64_t a[6])
{
	long result;

	spare(w, &a[0], &a[1]);
	if (a[3] & REMAP_FIXED)
		spare(w, &a[4], &a[2]);
	if (a[2] > ARENA_PAGES * PAGE && random_below(&w->random, 8))
		a[2] %= ARENA_PAGES * PAGE;
	if (!(a[3] & REMAP_FIXED) && !(a[3] & REMAP_MAYMOVE) && !in_arena(a[0], a[2]))
		a[2] = a[1];			// would grow out of the arena, which is harmless, but never comes back
	result = call6(SYS_mremap, a);
	if (result > 0 && !in_arena((uintptr_t)result, a[2]))
		bare_call(SYS_munmap, result, (long)a[2], 0, 0);
}

static void on_range(struct worker *w, long nr, uint64_t a[6])
{
	spare(w, &a[0], &a[1]);
	if (nr == SYS_mprotect && random_below(&w->random, 2))
		a[2] &= PROT_READ | PROT_WRITE | PROT_EXEC;
	if (nr == SYS_madvise && (on_linux || random_below(&w->random, 2)))	// with others Linux poisons memory
		a[2] %= ADVICE_COLLAPSE + 1;
	call6(nr, a);
}

// Its own standard output must stay readable, and open.
static void careful_file(struct worker *w, long nr, uint64_t a[6])
{
	if ((uint32_t)a[0] < 3 && nr == SYS_close)
		a[0] = 3;
	if ((uint32_t)a[0] < 3)
		a[1] = bad_address(&w->random);
	call6(nr, a);
}

static void careful_action(struct worker *w, uint64_t a[6])
{
	struct random *r = &w->random;

	w->action.handler = random_below(r, 4) ? random_below(r, 2) : bad_address(r) | PAGE;
	w->action.flags = nasty_number(r);
	w->action.restorer = nasty_address(r);
	w->action.mask = 0;
	if ((int)a[0] != SIGURG && (int)a[0] > 0 && (int)a[0] <= 64)
		a[1] = 0;
	else if (random_below(r, 2))
		a[1] = (uintptr_t)&w->action;
	else
		a[1] = bad_address(r);
	call6(SYS_rt_sigaction, a);
}

static const uint64_t harmless_mask = 1ul << (SIGURG - 1) | 1ul << (SIGUSR2 - 1);

static void careful_mask(struct worker *w, uint64_t a[6])
{
	a[1] = random_below(&w->random, 2) ? (uintptr_t)&harmless_mask : random_below(&w->random,
		2) ? bad_address(&w->random) : 0;
	call6(SYS_rt_sigprocmask, a);
}

// Signals that stop are left out, and forged faults.
static void careful_kill(struct worker *w, long nr, uint64_t a[6])
{
	int which = nr == SYS_tgkill || nr == SYS_rt_tgsigqueueinfo ? 2 : 1, signal = (int)a[which];
	bool queued = nr == SYS_rt_sigqueueinfo || nr == SYS_rt_tgsigqueueinfo;

	if (is_left_alone(signal) || (signal >= SIGSTOP && signal <= SIGTTOU) || (queued && (signal == SIGSEGV ||
		signal == SIGBUS)))
		a[which] = SIGUSR2;
	if (on_linux || random_below(&w->random, 2)) {
		a[0] = (uint64_t)bare_call(nr == SYS_tkill ? SYS_gettid : SYS_getpid, 0, 0, 0, 0);
		if (which == 2)
			a[1] = (uint64_t)bare_call(SYS_gettid, 0, 0, 0, 0);
	}
	call6(nr, a);
}

static void careful_vm(struct worker *w, long nr, uint64_t a[6])
{
	struct random *r = &w->random;

	for (int i = 0; i < 4; i++) {
		w->pieces[i].base = (void *)nasty_address(r);
		w->pieces[i].length = nasty_length(r);
	}
	if (random_below(r, 2))
		a[0] = (uint64_t)bare_call(SYS_getpid, 0, 0, 0, 0);
	a[1] = random_below(r, 4) ? (uintptr_t)&w->pieces[0] : bad_address(r);
	a[2] = random_below(r, 8) ? random_below(r, 3) : nasty_number(r) | 1024;
	a[3] = random_below(r, 4) ? (uintptr_t)&w->pieces[2] : bad_address(r);
	a[4] = random_below(r, 8) ? random_below(r, 3) : nasty_number(r) | 1024;
	call6(nr, a);
}

// Short times in valid places; sometimes long ones, which the ticker interrupts.
static void careful_wait(struct worker *w, long nr, uint64_t a[6])
{
	struct random *r = &w->random;

	w->time.s = random_below(r, 8) ? 0 : (int64_t)nasty_number(r);
	w->time.ns = random_below(r, 4) ? (int64_t)random_below(r, 100000) : (int64_t)nasty_number(r);
	if (nr == SYS_futex) {
		static const uint8_t operations[] = { 0, 1, 3, 4, 5, 9, 10, 128, 129, 131, 132, 133, 137, 138 };
		a[1] = random_below(r, 4) ? operations[random_below(r, sizeof(operations))] : nasty_number(r);
		a[2] = random_below(r, 2) ? 0 : a[2];
		a[3] = random_below(r, 4) ? (uintptr_t)&w->time : nasty(r);
	} else {
		a[nr == SYS_nanosleep ? 0 : 2] = random_below(r, 2) ? (uintptr_t)&w->time : nasty_address(r);
	}
	call6(nr, a);
}

static void careful_brk(struct worker *w, uint64_t a[6])
{
	a[0] = random_below(&w->random, 2) ? 0 : bad_address(&w->random);
	call6(SYS_brk, a);
}

static void careful_stack(struct worker *w, uint64_t a[6])
{
	a[0] = random_below(&w->random, 2) ? 0 : bad_address(&w->random);
	call6(SYS_sigaltstack, a);
}

// ---- Which call -----------------------------------------------------------------------------------------------------

// Those that Linux has and that are safe there, too. The memory's come first, and come more often.
static const short known[] = {
	SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_mincore, SYS_mlock, SYS_munlock, SYS_msync,
	SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_process_vm_readv, SYS_process_vm_writev,
	SYS_futex, SYS_futex,
	SYS_brk, SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_ioctl, SYS_fstat, SYS_lseek, SYS_close,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask, SYS_rt_sigpending, SYS_sigaltstack, SYS_tgkill, SYS_arch_prctl, SYS_set_tid_address,
	SYS_set_robust_list, SYS_get_robust_list, SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid, SYS_uname,
	SYS_sysinfo,
	SYS_getrandom, SYS_getrusage, SYS_getrlimit, SYS_sched_yield, SYS_sched_getaffinity, SYS_sched_setaffinity,
	SYS_getcpu,
	SYS_getpriority, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_nanosleep, SYS_clock_nanosleep,
	SYS_membarrier,
};

// What would end the program, leave it deaf, or begin another.
static bool is_spared(uint64_t nr)
{
	switch (nr) {
	case SYS_exit: case SYS_exit_group: case SYS_clone: case SYS_fork: case SYS_vfork: case SYS_execve:
	case SYS_execveat:
	case SYS_clone3: case SYS_rt_sigreturn: case SYS_rt_sigsuspend: case SYS_pause: case SYS_rt_sigtimedwait:
	case SYS_seccomp:
		return true;
	default:
		return false;
	}
}

static uint64_t a_number(struct random *r)
{
	uint64_t nr;

	if (on_linux || random_below(r, 8))
		return (uint64_t)known[random_below(r, ARRAY_SIZE(known))];
	nr = random_below(r, 4) ? random_below(r, 520) : nasty_number(r);
	return is_spared(nr) ? SYS_getpid : nr;
}

static void a_call(struct worker *w)
{
	struct random *r = &w->random;
	uint64_t nr = a_number(r), a[6] = { 0 };

	for (int i = 0; i < 6; i++)
		a[i] = nasty(r);
	switch (nr) {
	case SYS_mmap: careful_mmap(w, a); break;
	case SYS_mremap: careful_mremap(w, a); break;
	case SYS_munmap: case SYS_mprotect: case SYS_madvise: case SYS_mincore: case SYS_mlock: case SYS_munlock:
	case SYS_msync:
	case SYS_mlock2: case SYS_pkey_mprotect: case SYS_remap_file_pages:
		on_range(w, (long)nr, a); break;
	case SYS_read: case SYS_write: case SYS_readv: case SYS_writev: case SYS_close: case SYS_pread64:
	case SYS_pwrite64:
	case SYS_preadv: case SYS_pwritev: case SYS_preadv2: case SYS_pwritev2: case SYS_sendfile: case SYS_splice:
	case SYS_dup2:
	case SYS_dup3: case SYS_close_range:
		careful_file(w, (long)nr, a); break;
	case SYS_rt_sigaction: careful_action(w, a); break;
	case SYS_rt_sigprocmask: careful_mask(w, a); break;
	case SYS_kill: case SYS_tkill: case SYS_tgkill: case SYS_rt_sigqueueinfo: case SYS_rt_tgsigqueueinfo:
		careful_kill(w, (long)nr, a); break;
	case SYS_process_vm_readv: case SYS_process_vm_writev: careful_vm(w, (long)nr, a); break;
	case SYS_futex: case SYS_nanosleep: case SYS_clock_nanosleep: careful_wait(w, (long)nr, a); break;
	case SYS_brk: careful_brk(w, a); break;
	case SYS_sigaltstack: careful_stack(w, a); break;
	case SYS_mlockall: break;		// everything that comes would be there at once
	case SYS_set_robust_list:
		a[1] = random_below(r, 2) ? sizeof(struct robust_head) : a[1];
		call6((long)nr, a);
		break;
	default: call6((long)nr, a);
	}
}

// ---- The workers ----------------------------------------------------------------------------------------------------

static void work(void *arg)
{
	struct worker *w = arg;
	stack_t stack = { .ss_sp = w->alternate, .ss_size = sizeof(w->alternate) };
	uint64_t nothing = 0;

	if (bare_call(SYS_sigaltstack, (long)&stack, 0, 0, 0) || bare_call(SYS_rt_sigprocmask, SIG_SETMASK,
		(long)&nothing, 0, 8))
		failed("FAILED: fuzz: a worker's beginning\n");
	place_mark(&w->outer);
	w->depth = 0;
	for (int i = 0; i <= DEEPEST; i++)
		w->back[i] = NULL;
	while (w->calls > 0) {
		w->calls--;
		a_call(w);
		for (uint64_t n = random_below(&w->random, 4); n; n--)
			touch_something(w);
	}
	w->done = 1;
}

struct slot { struct worker *worker; long tid; };

static void slot_init(struct slot *s)
{
	uintptr_t at = (uintptr_t)mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(at != (uintptr_t)MAP_FAILED);
	s->worker = (struct worker *)((at + BLOCK - 1) & -(uintptr_t)BLOCK);
}

static void slot_start(struct slot *s, uint64_t seed, long calls)
{
	struct clone_arguments args = {
		.flags = RAW_THREAD_FLAGS, .stack = (uintptr_t)s->worker, .stack_size = BLOCK,
	};

	memset(s->worker, 0, sizeof(*s->worker));
	s->worker->random.state = seed;
	s->worker->calls = calls;
	s->tid = raw_clone(&args, work, s->worker);
	CHECK(s->tid > 0);
}

// Signals for all, so that nobody sleeps for long. True: the thread has gone.
static bool slot_tick(struct slot *s)
{
	return raw(SYS_tgkill, getpid(), s->tid, s->worker->done ? 0 : SIGUSR1) == -ESRCH;
}

static void fuzz(uint64_t seed, long calls, int threads)
{
	static struct slot slots[MOST_THREADS];
	uint64_t started = 0;
	int running = 0;

	for (int i = 0; i < threads; i++)
		slot_init(&slots[i]);
	do {
		struct timespec pause = { 0, 2000000 };

		for (int i = 0; i < threads; i++) {
			struct slot *s = &slots[i];
			long n = calls < LIFE ? calls : LIFE;

			if (s->tid && slot_tick(s)) {
				s->tid = 0;
				running--;
			}
			if (!s->tid && n) {
				slot_start(s, seed * 1000003 + started++, n);
				calls -= n;
				running++;
			}
		}
		nanosleep(&pause, NULL);
	} while (running);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	long calls = argc > 2 ? atol(argv[2]) : 20000;
	int threads = argc > 3 ? atoi(argv[3]) : 4;
	sigset_t others;
	struct utsname u;

	CHECK(calls > 0 && threads > 0 && threads <= MOST_THREADS && !uname(&u));
	on_linux = !strstr(u.release, "quiesce");
	arena_map();
	handle_signals();
	sigfillset(&others);
	sigdelset(&others, SIGTERM);
	sigdelset(&others, SIGINT);
	CHECK(!sigprocmask(SIG_SETMASK, &others, NULL));	// by this thread; each worker unblocks them for itself
	fuzz(seed, calls, threads);
	say("fuzz: seed %llu, %ld calls in %d threads: still here", (unsigned long long)seed, calls, threads);
	return 0;
}
