// SPDX-License-Identifier: MIT
// Registers of the FPU, SSE and AVX: each thread keeps its own while more threads than CPUs take turns, a handler that
// clobbers them does not change what it has interrupted, and what a handler writes into its frame is in the registers after
// it. Arguments: [threads] [rounds].
#include "user/common/check.h"
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { MOST_THREADS = 64 };

// What the tests load and compare: 16 vector registers, the control words, and one register of the x87 stack.
struct registers {
	uint8_t vector[16][32];		// without AVX only the lower halves
	uint32_t mxcsr;
	uint16_t control;
	double st0;
};

static bool has_avx;

static bool avx_is_on(void)
{
	unsigned int eax, ebx, ecx, edx, low, high;

	CHECK(__get_cpuid(1, &eax, &ebx, &ecx, &edx));
	if (!(ecx & bit_OSXSAVE) || !(ecx & bit_AVX))
		return false;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & 6) == 6;
}

#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define LOAD_SSE(n) "movups 32*" #n "(%0), %%xmm" #n "\n\t"
#define LOAD_AVX(n) "vmovups 32*" #n "(%0), %%ymm" #n "\n\t"
#define STORE_SSE(n) "movups %%xmm" #n ", 32*" #n "(%1)\n\t"
#define STORE_AVX(n) "vmovups %%ymm" #n ", 32*" #n "(%1)\n\t"
#define CLOBBERS "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
	"xmm12", "xmm13", "xmm14", "xmm15", "st"

#define LOAD_CONTROL "ldmxcsr %c[mxcsr](%0)\n\tfldcw %c[control](%0)\n\tfldl %c[st0](%0)\n\t"
#define STORE_CONTROL "stmxcsr %c[mxcsr](%1)\n\tfnstcw %c[control](%1)\n\tfstpl %c[st0](%1)\n\t"
#define OFFSETS [mxcsr] "i"(offsetof(struct registers, mxcsr)), [control] "i"(offsetof(struct registers, control)), \
	[st0] "i"(offsetof(struct registers, st0))
#define BUSY "mov %2, %%rcx\n1:\tdec %%rcx\n\tjnz 1b\n\t"

// Load them, pass some time with them loaded, store them again: no compiler's code in between.
static void hold(const struct registers *from, struct registers *to, uint64_t spins)
{
	if (has_avx)
		__asm__ volatile(EACH(LOAD_AVX) LOAD_CONTROL BUSY EACH(STORE_AVX) STORE_CONTROL "vzeroupper"
				 :: "r"(from), "r"(to), "r"(spins), OFFSETS : "rcx", CLOBBERS);
	else
		__asm__ volatile(EACH(LOAD_SSE) LOAD_CONTROL BUSY EACH(STORE_SSE) STORE_CONTROL
				 :: "r"(from), "r"(to), "r"(spins), OFFSETS : "rcx", CLOBBERS);
}

// The same, with a system call in between: raises a signal for this thread.
static void hold_over_signal(const struct registers *from, struct registers *to, long tid, int number)
{
	register long rsi __asm__("rsi") = number;

	if (has_avx)
		__asm__ volatile(EACH(LOAD_AVX) LOAD_CONTROL "mov %[tkill], %%eax\n\tsyscall\n\t" EACH(STORE_AVX) STORE_CONTROL
				 "vzeroupper" :: "r"(from), "r"(to), "D"(tid), "r"(rsi), OFFSETS, [tkill] "i"(SYS_tkill)
				 : "rax", "rcx", "r11", CLOBBERS);
	else
		__asm__ volatile(EACH(LOAD_SSE) LOAD_CONTROL "mov %[tkill], %%eax\n\tsyscall\n\t" EACH(STORE_SSE) STORE_CONTROL
				 :: "r"(from), "r"(to), "D"(tid), "r"(rsi), OFFSETS, [tkill] "i"(SYS_tkill)
				 : "rax", "rcx", "r11", CLOBBERS);
}

// Rounding modes and masks that are no default ones.
static void fill(struct registers *r, unsigned int seed)
{
	memset(r, 0, sizeof(*r));
	for (int i = 0; i < 16; i++)
		memset(r->vector[i], seed * 16 + i + 1, has_avx ? 32 : 16);
	r->mxcsr = 0x1f80 | (seed % 4) << 13;
	r->control = 0x37f & ~0xc00;
	r->control |= (seed / 4 % 4) << 10;
	r->st0 = seed + 0.5;
}

static void compare(const struct registers *found, const struct registers *wanted)
{
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < (has_avx ? 32 : 16); j++)
			CHECK_EQ(found->vector[i][j], wanted->vector[i][j]);
	CHECK_EQ(found->mxcsr, wanted->mxcsr);
	CHECK_EQ(found->control, wanted->control);
	CHECK(found->st0 == wanted->st0);
}

static long rounds;

static void *keep(void *arg)
{
	struct registers mine, found = { 0 };

	for (long i = 0; i < rounds; i++) {
		fill(&mine, (uintptr_t)arg * 7 + i);
		hold(&mine, &found, 20000);
		compare(&found, &mine);
		sched_yield();
	}
	return NULL;
}

static void preempted(long n)
{
	pthread_t threads[MOST_THREADS];

	for (long i = 0; i < n; i++)
		CHECK(!pthread_create(&threads[i], NULL, keep, (void *)i));
	for (long i = 0; i < n; i++)
		CHECK(!pthread_join(threads[i], NULL));
	say("%ld threads, %ld times each: all have kept their registers", n, rounds);
}

// ---- Signals --------------------------------------------------------------------------------------------------------

static struct registers junk, discarded;
static volatile int calls;
static volatile uint32_t initial_mxcsr;
static volatile uint16_t initial_control;

static void clobber(int number)
{
	uint32_t mxcsr;
	uint16_t control;

	(void)number;
	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(control));
	initial_mxcsr = mxcsr;
	initial_control = control;
	calls++;
	fill(&junk, 99);
	hold(&junk, &discarded, 1);
}

static void across_handlers(void)
{
	struct registers mine, found = { 0 };
	long tid = raw(SYS_gettid);

	CHECK(signal(SIGUSR1, clobber) != SIG_ERR);
	for (int i = 0; i < 20; i++) {
		fill(&mine, i);
		hold_over_signal(&mine, &found, tid, SIGUSR1);
		compare(&found, &mine);
	}
	say("%d handlers have clobbered nothing; they begin with mxcsr %#x, control %#x", calls, initial_mxcsr, initial_control);
}

static void *send(void *arg)
{
	pthread_t to = *(pthread_t *)arg;

	for (int i = 0; i < 200; i++) {
		usleep(100);
		pthread_kill(to, SIGUSR1);
	}
	return NULL;
}

static void across_sudden_handlers(void)
{
	struct registers mine, found = { 0 };
	pthread_t self = pthread_self(), sender;
	int before = calls;

	CHECK(!pthread_create(&sender, NULL, send, &self));
	for (int i = 0; i < 100; i++) {
		fill(&mine, i);
		hold(&mine, &found, 50000);
		compare(&found, &mine);
	}
	CHECK(!pthread_join(sender, NULL));
	CHECK(calls > before);
	say("nor have those of another thread's signals");
}

// The frame in Linux's format: FXSAVE's 512 bytes, whose last 48 say how large the XSAVE area is and which features it has.
#define MAGIC1 0x46505853u
#define MAGIC2 0x46505845u

struct software {
	uint32_t magic1, extended_size;
	uint64_t features;
	uint32_t xstate_size;
};

static void rewrite(int number, siginfo_t *info, void *context)
{
	uint8_t *fp = (void *)((ucontext_t *)context)->uc_mcontext.fpregs;
	struct software software;
	uint32_t magic2 = 0;

	(void)number, (void)info;
	calls++;
	CHECK(fp && (uintptr_t)fp % 64 == 0);
	memcpy(&software, fp + 464, sizeof(software));
	if (software.magic1 == MAGIC1) {	// with XSAVE
		CHECK(software.xstate_size >= 576 && software.extended_size == software.xstate_size + 4);
		CHECK((software.features & 3) == 3 && !!(software.features & 4) == has_avx);
		memcpy(&magic2, fp + software.xstate_size, sizeof(magic2));
		CHECK_EQ(magic2, MAGIC2);
	}
	CHECK_EQ(*(uint32_t *)(fp + 24), junk.mxcsr);
	CHECK_EQ(*(uint16_t *)fp, junk.control);
	CHECK_EQ(fp[160 + 16 * 3], junk.vector[3][0]);	// XMM3
	memset(fp + 160 + 16 * 3, 0xa5, 16);
	*(uint32_t *)(fp + 24) = 0x1f80 | 1 << 13;
	*(uint16_t *)fp = 0x37f;
	if (has_avx) {		// the upper halves
		CHECK_EQ(fp[576 + 16 * 4], junk.vector[4][16]);
		memset(fp + 576 + 16 * 4, 0x5a, 16);
	}
}

static void changed_by_handlers(void)
{
	struct sigaction action = { .sa_sigaction = rewrite, .sa_flags = SA_SIGINFO };
	struct registers found = { 0 }, wanted;

	CHECK(!sigaction(SIGUSR2, &action, NULL));
	fill(&junk, 3);
	hold_over_signal(&junk, &found, raw(SYS_gettid), SIGUSR2);
	wanted = junk;
	memset(wanted.vector[3], 0xa5, 16);
	if (has_avx)
		memset(wanted.vector[4] + 16, 0x5a, 16);
	wanted.mxcsr = 0x1f80 | 1 << 13;
	wanted.control = 0x37f;
	compare(&found, &wanted);
	say("what a handler writes into its frame is in the registers afterwards");
}

// Bytes that FXSAVE does not define.
static void spoil(int number, siginfo_t *info, void *context)
{
	uint8_t *fp = (void *)((ucontext_t *)context)->uc_mcontext.fpregs;

	(void)number, (void)info;
	*(uint32_t *)(fp + 24) = 0x1f80;
	memset(fp + 416, 0xff, 48);	// reserved bytes, which mean nothing
	calls++;
}

static void reserved_bytes(void)
{
	struct sigaction action = { .sa_sigaction = spoil, .sa_flags = SA_SIGINFO };
	struct registers found = { 0 };

	CHECK(!sigaction(SIGUSR2, &action, NULL));
	fill(&junk, 5);
	hold_over_signal(&junk, &found, raw(SYS_gettid), SIGUSR2);
	junk.mxcsr = 0x1f80;
	compare(&found, &junk);
	say("reserved bytes of the frame mean nothing");
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 12;

	rounds = argc > 2 ? atol(argv[2]) : 20;
	CHECK(n >= 1 && n <= MOST_THREADS);
	has_avx = avx_is_on();
	preempted(n);
	across_handlers();
	across_sudden_handlers();
	changed_by_handlers();
	reserved_bytes();
	return 0;
}
