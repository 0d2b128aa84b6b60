// SPDX-License-Identifier: MIT
// Signals: handlers, masks, what is pending, waits for them, alternate stacks, restarted calls, faults with their siginfo.
// Arguments: nothing, or a way to die, for the exit status: a number to be raised, "segv", "fpe", "ill", "trap",
// "blocked" (a fault whose signal is blocked), "ignored", "stack" (a fault with no stack for its handler).
#include "user/common/check.h"
#include "user/common/kernel.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>

#define KERNEL_MASK 8		// bytes of a mask, as the kernel wants it

static struct {
	atomic_int count, number, code;
	_Atomic uintptr_t addr, value;
	_Atomic long pid;
	_Atomic uintptr_t stack;
} seen;

static void note(int number, siginfo_t *info, void *context)
{
	char here;

	(void)context;
	seen.count++;
	seen.number = number;
	seen.stack = (uintptr_t)&here;
	if (info) {
		seen.code = info->si_code;
		seen.addr = (uintptr_t)info->si_addr;
		seen.pid = info->si_pid;
	}
}

static void catch_by(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO };

	CHECK(!sigaction(number, &action, NULL));
}

static sigset_t set_of(int number)
{
	sigset_t set;

	sigemptyset(&set);
	if (number)
		sigaddset(&set, number);
	return set;
}

static void block(int how, int number)
{
	sigset_t set = set_of(number);

	CHECK(!pthread_sigmask(how, &set, NULL));
}

static bool is_pending(int number)
{
	sigset_t set;

	CHECK(!sigpending(&set));
	return sigismember(&set, number);
}

// ---- Delivery -------------------------------------------------------------------------------------------------------

static void sent_by(const char *what, long result)
{
	CHECK_EQ(result, 0);
	say("%s: %s, code %d, from this process %d", what, signal_name(seen.number), seen.code, seen.pid == getpid());
}

static void delivery(void)
{
	catch_by(SIGUSR1, note, 0);
	sent_by("kill", raw(SYS_kill, getpid(), SIGUSR1));
	sent_by("tkill", raw(SYS_tkill, raw(SYS_gettid), SIGUSR1));
	sent_by("tgkill", raw(SYS_tgkill, getpid(), raw(SYS_gettid), SIGUSR1));
	sent_by("raise", raise(SIGUSR1));
	say("delivered: %d", seen.count);
	say("kill 0: %s; kill 65: %s; kill -1: %s; no such process: %s", outcome_of(raw(SYS_kill, getpid(), 0)),
	    error_of(raw(SYS_kill, getpid(), 65)), error_of(raw(SYS_kill, getpid(), -1)),
	    error_of(raw(SYS_kill, 0x3ffffff, 0)));
	say("tgkill, no such thread: %s; process 0: %s; thread -1: %s", error_of(raw(SYS_tgkill, getpid(), 0x3ffffff, 0)),
	    error_of(raw(SYS_tgkill, 0, raw(SYS_gettid), 0)), error_of(raw(SYS_tkill, -1, 0)));
}

static void masks(void)
{
	sigset_t all, old;

	seen.count = 0;
	block(SIG_BLOCK, SIGUSR1);
	raise(SIGUSR1);
	raise(SIGUSR1);
	say("blocked: delivered %d, pending %d", seen.count, is_pending(SIGUSR1));
	block(SIG_UNBLOCK, SIGUSR1);
	say("unblocked: delivered %d, pending %d", seen.count, is_pending(SIGUSR1));
	sigfillset(&all);
	CHECK(!pthread_sigmask(SIG_SETMASK, &all, &old));
	CHECK(!pthread_sigmask(SIG_SETMASK, &old, &all));
	say("all blocked: SIGKILL %d, SIGSTOP %d, SIGUSR2 %d", sigismember(&all, SIGKILL), sigismember(&all, SIGSTOP),
	    sigismember(&all, SIGUSR2));
	uint64_t mask = 0;
	say("rt_sigprocmask, mask of 4 bytes: %s; unknown way: %s; bad address: %s",
	    error_of(raw(SYS_rt_sigprocmask, SIG_BLOCK, &mask, NULL, 4)),
	    error_of(raw(SYS_rt_sigprocmask, 9, &mask, NULL, KERNEL_MASK)),
	    error_of(raw(SYS_rt_sigprocmask, SIG_BLOCK, 8, NULL, KERNEL_MASK)));
	say("rt_sigpending, mask of 16 bytes: %s", error_of(raw(SYS_rt_sigpending, &mask, 16)));
}

static void actions(void)
{
	uint64_t action[4] = { 0 };
	struct sigaction old;

	say("rt_sigaction, SIGKILL: %s; 0: %s; 65: %s; bad address: %s",
	    error_of(raw(SYS_rt_sigaction, SIGKILL, action, NULL, KERNEL_MASK)),
	    error_of(raw(SYS_rt_sigaction, 0, action, NULL, KERNEL_MASK)),
	    error_of(raw(SYS_rt_sigaction, 65, action, NULL, KERNEL_MASK)),
	    error_of(raw(SYS_rt_sigaction, SIGUSR1, 8, NULL, KERNEL_MASK)));
	catch_by(SIGUSR2, note, SA_RESETHAND);
	seen.count = 0;
	raise(SIGUSR2);
	CHECK(!sigaction(SIGUSR2, NULL, &old));
	say("SA_RESETHAND: delivered %d, now the default %d", seen.count, old.sa_handler == SIG_DFL);
	signal(SIGUSR2, SIG_IGN);
	raise(SIGUSR2);
	block(SIG_BLOCK, SIGUSR2);
	raise(SIGUSR2);
	say("ignored: pending while blocked %d", is_pending(SIGUSR2));
	signal(SIGUSR2, SIG_DFL);
	signal(SIGUSR2, SIG_IGN);
	say("ignored anew: pending %d", is_pending(SIGUSR2));
	block(SIG_UNBLOCK, SIGUSR2);
	signal(SIGCHLD, SIG_DFL);
	say("default of SIGCHLD, SIGWINCH, SIGURG, SIGCONT: nothing: %d", raise(SIGCHLD) | raise(SIGWINCH) | raise(SIGURG) | raise(SIGCONT));
}

static atomic_int depth, deepest, calls;

static void nest(int number, siginfo_t *info, void *context)
{
	(void)info, (void)context;
	if (++depth > deepest)
		deepest = (int)depth;
	if (++calls < 3)
		raise(number);
	depth--;
}

static void nesting(void)
{
	catch_by(SIGUSR1, nest, 0);
	raise(SIGUSR1);
	say("its own signal is blocked in a handler: %d calls, depth %d", calls, deepest);
	calls = deepest = 0;
	catch_by(SIGUSR1, nest, SA_NODEFER);
	raise(SIGUSR1);
	say("SA_NODEFER: %d calls, depth %d", calls, deepest);
	catch_by(SIGUSR1, note, 0);
}

// ---- Waiting for signals --------------------------------------------------------------------------------------------

struct sender {
	pthread_t to, thread;
	int number;
	atomic_bool stop;
};

// Sends until it is told to stop: the first may come before the receiver waits.
static void *send_until_stopped(void *arg)
{
	struct sender *s = arg;

	block(SIG_BLOCK, s->number);
	while (!s->stop) {
		usleep(2000);
		pthread_kill(s->to, s->number);
	}
	return NULL;
}

static void sender_start(struct sender *s, int number)
{
	*s = (struct sender){ .to = pthread_self(), .number = number };
	CHECK(!pthread_create(&s->thread, NULL, send_until_stopped, s));
}

static void sender_stop(struct sender *s)
{
	s->stop = true;
	CHECK(!pthread_join(s->thread, NULL));
}

static void waits(void)
{
	sigset_t none = set_of(0), one = set_of(SIGUSR1);
	struct timespec zero = { 0 }, little = { .tv_nsec = 2000000 }, long_time = { .tv_sec = 1000 }, odd = { .tv_nsec = -1 };
	siginfo_t info = { 0 };
	struct sender s;
	int number;

	seen.count = 0;
	block(SIG_BLOCK, SIGUSR1);
	raise(SIGUSR1);
	CHECK_EQ(sigsuspend(&none), -1);
	say("sigsuspend: %s, delivered %d", error_of(-errno), seen.count);
	raise(SIGUSR1);
	say("sigsuspend: blocked again: pending %d", is_pending(SIGUSR1));
	number = sigtimedwait(&one, &info, &long_time);
	say("sigtimedwait: %s, code %d, pending %d", signal_name(number), info.si_code, is_pending(SIGUSR1));
	say("sigtimedwait, nothing there: %s", error_of(raw(SYS_rt_sigtimedwait, &one, NULL, &zero, KERNEL_MASK)));
	say("sigtimedwait, time-out: %s", error_of(raw(SYS_rt_sigtimedwait, &one, NULL, &little, KERNEL_MASK)));
	say("sigtimedwait, odd time: %s", error_of(raw(SYS_rt_sigtimedwait, &one, NULL, &odd, KERNEL_MASK)));
	sender_start(&s, SIGUSR1);
	say("sigtimedwait, sent by a thread: %s", signal_name(raw(SYS_rt_sigtimedwait, &one, &info, NULL, KERNEL_MASK)));
	sender_stop(&s);
	while (raw(SYS_rt_sigtimedwait, &one, NULL, &zero, KERNEL_MASK) > 0)
		;
	say("delivered meanwhile: %d", seen.count);
	block(SIG_UNBLOCK, SIGUSR1);
}

static void interrupted(void)
{
	struct timespec long_time = { .tv_sec = 1000 }, rest = { 0 };
	static _Atomic uint32_t word;
	struct sender s;
	long r;

	catch_by(SIGUSR1, note, 0);
	sender_start(&s, SIGUSR1);
	r = raw(SYS_nanosleep, &long_time, &rest);
	say("nanosleep: %s, time is left %d", error_of(r), rest.tv_sec > 900 && rest.tv_sec < 1000);
	say("clock_nanosleep: %s", error_of(raw(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &long_time, NULL)));
	say("futex wait: %s", error_of(raw(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0)));
	say("futex wait with a time: %s", error_of(raw(SYS_futex, &word, FUTEX_WAIT, 0, &long_time, NULL, 0)));
	sender_stop(&s);
}

static _Atomic uint32_t restarted_word;

static void change_word(int number, siginfo_t *info, void *context)
{
	note(number, info, context);
	restarted_word = 1;
}

// A call that begins anew finds the word changed, or waits until it is woken: EAGAIN, and not EINTR.
static void restarted(void)
{
	struct sender s;

	restarted_word = 0;
	catch_by(SIGUSR1, change_word, SA_RESTART);
	sender_start(&s, SIGUSR1);
	say("futex wait, SA_RESTART: %s", error_of(raw(SYS_futex, &restarted_word, FUTEX_WAIT, 0, NULL, NULL, 0)));
	sender_stop(&s);
	catch_by(SIGUSR1, note, 0);
}

static void *raise_and_wait(void *arg)
{
	block(SIG_UNBLOCK, SIGUSR2);
	while (!*(atomic_bool *)arg)
		sched_yield();
	return NULL;
}

// A signal for the process goes to a thread that does not block it.
static void to_another_thread(void)
{
	static atomic_bool stop;
	pthread_t thread;

	seen.count = 0;
	catch_by(SIGUSR2, note, 0);
	block(SIG_BLOCK, SIGUSR2);
	CHECK(!pthread_create(&thread, NULL, raise_and_wait, &stop));
	CHECK_EQ(raw(SYS_kill, getpid(), SIGUSR2), 0);
	while (!seen.count)
		sched_yield();
	stop = true;
	CHECK(!pthread_join(thread, NULL));
	say("kill: taken by the thread that does not block it; pending %d", is_pending(SIGUSR2));
	block(SIG_UNBLOCK, SIGUSR2);
}

// ---- Alternate stacks -----------------------------------------------------------------------------------------------

static stack_t inside;

static void on_stack(int number, siginfo_t *info, void *context)
{
	note(number, info, context);
	CHECK(!sigaltstack(NULL, &inside));
	if (number == SIGUSR1)
		raise(SIGUSR2);		// its handler goes on on the same stack
}

static void alternate_stacks(void)
{
	static char memory[128 * 1024];
	stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory) }, old;

	say("sigaltstack, too small: %s; unknown flags: %s; bad address: %s",
	    error_of(raw(SYS_sigaltstack, &(stack_t){ .ss_sp = memory, .ss_size = 100 }, NULL)),
	    error_of(raw(SYS_sigaltstack, &(stack_t){ .ss_sp = memory, .ss_size = 65536, .ss_flags = 99 }, NULL)),
	    error_of(raw(SYS_sigaltstack, 8, NULL)));
	CHECK(!sigaltstack(&stack, &old));
	say("sigaltstack: before it was disabled %d", !!(old.ss_flags & SS_DISABLE));
	catch_by(SIGUSR1, on_stack, SA_ONSTACK);
	catch_by(SIGUSR2, on_stack, SA_ONSTACK);
	raise(SIGUSR1);
	say("on it: %d; the flags say so: %d", seen.stack - (uintptr_t)memory < sizeof(memory), inside.ss_flags == SS_ONSTACK);
	CHECK(!sigaltstack(NULL, &old));
	say("afterwards: %d", old.ss_flags);
	stack.ss_flags = SS_DISABLE;
	CHECK(!sigaltstack(&stack, NULL));
	raise(SIGUSR2);
	say("disabled: on it %d", seen.stack - (uintptr_t)memory < sizeof(memory));
}

// ---- Faults ---------------------------------------------------------------------------------------------------------

static sigjmp_buf back;
static volatile uintptr_t context_rip, context_trap, context_error, context_cr2;

static void on_fault(int number, siginfo_t *info, void *context)
{
	const ucontext_t *u = context;

	note(number, info, context);
	context_rip = u->uc_mcontext.gregs[REG_RIP];
	context_trap = u->uc_mcontext.gregs[REG_TRAPNO];
	context_error = u->uc_mcontext.gregs[REG_ERR];
	context_cr2 = u->uc_mcontext.gregs[REG_CR2];
	siglongjmp(back, 1);
}

#define FAULT(what, access) do { \
	seen.number = 0; \
	if (!sigsetjmp(back, 1)) { \
		access; \
	} \
	say("%s: %s, code %d, trap %lu, error %lu", what, signal_name(seen.number), seen.code, context_trap, context_error); \
} while (0)

static void faults(void)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	volatile int zero = 0, least = -2147483647 - 1, minus = -1;

	CHECK(p != MAP_FAILED && !munmap(p + PAGE, PAGE));
	for (int i = 0; i < 4; i++)
		catch_by((int[]){ SIGSEGV, SIGFPE, SIGILL, SIGBUS }[i], on_fault, 0);
	FAULT("write to read-only memory", *(volatile char *)(p + 5) = 1);
	CHECK(seen.addr == (uintptr_t)p + 5 && context_cr2 == seen.addr);
	FAULT("read of what is not mapped", *(volatile char *)(p + PAGE + 7));
	CHECK(seen.addr == (uintptr_t)p + PAGE + 7);
	FAULT("write to what is not mapped", *(volatile char *)(p + PAGE + 8) = 1);
	CHECK(seen.addr == (uintptr_t)p + PAGE + 8);
	(void)*(volatile char *)p;	// present from here on, which the error code tells
	FAULT("call of what may not be executed", ((void (*)(void))(uintptr_t)p)());
	CHECK(seen.addr == (uintptr_t)p && context_rip == (uintptr_t)p);
	FAULT("read of address 0", *(volatile char *)(uintptr_t)zero);
	CHECK(seen.addr == 0);
	FAULT("read of an address that is not canonical", *(volatile char *)0x8000000000000000ul);
	CHECK(seen.addr == 0);
	FAULT("read in the kernel's half", *(volatile char *)0xffffffff80000000ul);
	FAULT("privileged instruction", __asm__ volatile("hlt"));
	FAULT("division by zero", zero = least / zero);
	CHECK(seen.addr == context_rip);
	FAULT("division that overflows", zero = least / minus);
	FAULT("undefined instruction", __asm__ volatile("ud2"));
	CHECK(seen.addr == context_rip);
	FAULT("port access", __asm__ volatile("outb %al, $0x80"));
	if (!sigsetjmp(back, 1))
		__asm__ volatile("int $0x42");
	// Not the error code: QEMU's emulator computes it for another size of the table's entries.
	say("int $0x42: %s, code %d, trap %lu", signal_name(seen.number), seen.code, context_trap);
	CHECK(!munmap(p, PAGE));
}

static void count_trap(int number, siginfo_t *info, void *context)
{
	note(number, info, context);
	context_rip = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	context_trap = ((ucontext_t *)context)->uc_mcontext.gregs[REG_TRAPNO];
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100l;	// no further step
}

static void traps(void)
{
	catch_by(SIGTRAP, count_trap, 0);
	seen.count = 0;
	__asm__ volatile("int3");
	say("int3: %s %d, code %d, trap %lu", signal_name(seen.number), seen.count, seen.code, context_trap);
	__asm__ volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\tnop\n\tnop" ::: "memory", "cc");
	say("single step: %s %d, code %d, trap %lu", signal_name(seen.number), seen.count, seen.code, context_trap);
}

static void change_registers(int number, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	note(number, info, context);
	u->uc_mcontext.gregs[REG_RAX] = 4711;
	u->uc_mcontext.gregs[REG_R12] = 4712;
	u->uc_mcontext.gregs[REG_RIP] += 2;	// behind the UD2
	sigaddset(&u->uc_sigmask, SIGUSR2);
	memset((char *)&number - 128, 0x55, 64);	// far below: nothing that lives is there
}

// What the handler writes into its frame is what goes on; what the frame does not change stays, the red zone too.
static void registers(void)
{
	uint64_t rax = 1, r12, red;

	catch_by(SIGILL, change_registers, 0);
	__asm__ volatile("movq $77, -64(%%rsp)\n\tmov $2, %%r12\n\tud2\n\tmov %%r12, %1\n\tmov -64(%%rsp), %2"
			 : "+a"(rax), "=r"(r12), "=r"(red) :: "r12", "memory");
	sigset_t now;
	CHECK(!pthread_sigmask(SIG_BLOCK, NULL, &now));
	say("the handler's changes: rax %llu, r12 %llu, SIGUSR2 blocked %d; red zone %llu", (unsigned long long)rax,
	    (unsigned long long)r12, sigismember(&now, SIGUSR2), (unsigned long long)red);
	block(SIG_UNBLOCK, SIGUSR2);
}

// ---- Ways to die ----------------------------------------------------------------------------------------------------

static volatile uintptr_t nowhere = 16;

static void touch_nowhere(void) { *(volatile int *)nowhere = 1; }

static void die(const char *how)
{
	volatile int zero = 0;
	struct sigaction action = { .sa_handler = SIG_IGN };

	say("dies of: %s", how);
	if (!strcmp(how, "segv"))
		touch_nowhere();
	else if (!strcmp(how, "fpe"))
		zero = 1000 / zero;
	else if (!strcmp(how, "ill"))
		__asm__ volatile("ud2");
	else if (!strcmp(how, "trap"))
		__asm__ volatile("int3");
	else if (!strcmp(how, "blocked")) {
		catch_by(SIGSEGV, note, 0);
		block(SIG_BLOCK, SIGSEGV);
		touch_nowhere();
	} else if (!strcmp(how, "ignored")) {
		CHECK(!sigaction(SIGSEGV, &action, NULL));
		touch_nowhere();
	} else if (!strcmp(how, "stack")) {
		catch_by(SIGUSR1, note, 0);
		__asm__ volatile("mov $64, %%rsp\n\tsyscall" :: "a"(SYS_tkill), "D"(raw(SYS_gettid)), "S"(SIGUSR1) : "memory");
	} else
		raise(atoi(how));
	say("still alive");
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		die(argv[1]);
		return 0;
	}
	delivery();
	masks();
	actions();
	nesting();
	waits();
	interrupted();
	restarted();
	to_another_thread();
	alternate_stacks();
	faults();
	traps();
	registers();
	return 0;
}
