// SPDX-License-Identifier: MIT
// The ways in and out of the kernel with what a program may do to hurt it there: GS, flags, return addresses, frames of
// signals. Where Linux and Quiesce may answer differently, the line says only that there was no harm. Argument: [seed].
#include "user/common/check.h"
#include "user/common/kernel.h"
#include "user/common/landing.h"
#include "user/common/random.h"
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <ucontext.h>

#define KERNEL_HALF 0xffff888000000000ul
#define NON_CANONICAL 0x8000000000000000ul
#define TOP 0x7ffffffff000ul	// behind the last page of a program
enum { CF = 1, ZF = 0x40, TF = 0x100, IF = 0x200, DF = 0x400, IOPL = 0x3000, NT = 0x4000, RF = 0x10000, VM = 0x20000,
	AC = 0x40000, VIF = 0x80000, VIP = 0x100000, ID = 0x200000 };

static uint64_t seed = 1;

static void row(const char *what, const char *result) { say("%-44s %s", what, result); }

static volatile char *fresh_page(void)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

// Into the kernel in each way: calls, faults, signals, interrupts in between, other threads.
static void enter_kernel(void)
{
	volatile char *p = fresh_page();

	CHECK_EQ(p[5], 0);
	p[5] = 1;
	CHECK_EQ(raw(SYS_munmap, p, PAGE), 0);
	sched_yield();
	for (volatile int i = 0; i < 20000; i++)
		;
}

// ---- GS -------------------------------------------------------------------------------------------------------------

static long set_gs(uintptr_t base) { return raw(SYS_arch_prctl, ARCH_SET_GS_, base); }
static void load_gs(uint16_t selector) { __asm__ volatile("mov %0, %%gs" :: "r"(selector)); }
static uint64_t at_gs(void) { uint64_t v; __asm__ volatile("mov %%gs:0, %0" : "=r"(v)); return v; }

static void *own_gs(void *arg)
{
	uint64_t mine = (uintptr_t)arg;

	CHECK_EQ(set_gs((uintptr_t)&mine), 0);
	for (int i = 0; i < 200; i++) {
		enter_kernel();
		CHECK_EQ(at_gs(), mine);
	}
	return NULL;
}

static void gs_bases(void)
{
	pthread_t threads[4];
	uint64_t word = 77, base;

	row("SET_GS: the kernel's half", error_of(set_gs(KERNEL_HALF)));
	row("SET_GS: not canonical", error_of(set_gs(NON_CANONICAL)));
	row("SET_GS: behind the end", error_of(set_gs(TOP)));
	row("SET_GS: the last byte", error_of(set_gs(TOP - 1)));
	row("SET_FS: the kernel's half", error_of(raw(SYS_arch_prctl, ARCH_SET_FS_, KERNEL_HALF)));
	row("SET_FS: not canonical", error_of(raw(SYS_arch_prctl, ARCH_SET_FS_, NON_CANONICAL)));
	row("GET_GS: to the kernel's half", error_of(raw(SYS_arch_prctl, ARCH_GET_GS_, KERNEL_HALF)));
	row("arch_prctl: unknown", error_of(raw(SYS_arch_prctl, 0x9999, 0)));
	CHECK_EQ(set_gs((uintptr_t)&word), 0);
	CHECK(!raw(SYS_arch_prctl, ARCH_GET_GS_, &base) && base == (uintptr_t)&word);
	enter_kernel();
	CHECK_EQ(at_gs(), 77);
	for (uintptr_t i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, own_gs, (void *)(i + 1)));
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK_EQ(at_gs(), 77);
	say("GS: each of 5 threads has its own");
}

static void gs_selector(void *selector)
{
	load_gs((uint16_t)(uintptr_t)selector);
	enter_kernel();
}

static void gs_selectors(void)
{
	uint16_t ss;
	int refused = 0;

	__asm__("mov %%ss, %0" : "=r"(ss));
	for (uint16_t selector = 0; selector < 4; selector++)
		CHECK(!landing_try(gs_selector, (void *)(uintptr_t)selector).signal);
	CHECK(!landing_try(gs_selector, (void *)(uintptr_t)ss).signal);
	for (uintptr_t selector = 4; selector < 0x10000; selector += 1 + 7 * (selector > 0x200)) {
		struct landed l = landing_try(gs_selector, (void *)selector);

		CHECK(!l.signal || (l.signal == SIGSEGV && l.code == SI_KERNEL));
		refused += l.signal != 0;
	}
	CHECK(refused > 1000);
	load_gs(0);
	enter_kernel();
	say("GS: selectors of all kinds: no harm");
}

static void wrgsbase(void *base) { __asm__ volatile("wrgsbase %0" :: "r"(base)); enter_kernel(); }

static void gs_instructions(void)
{
	static const uintptr_t bases[] = { 0, KERNEL_HALF, 0xffffffff80000000, NON_CANONICAL };

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		struct landed l = landing_try(wrgsbase, (void *)bases[i]);
		CHECK(!l.signal || l.signal == SIGILL || l.signal == SIGSEGV);
	}
	CHECK_EQ(set_gs(0), 0);
	say("wrgsbase: no harm");
}

// ---- Flags over the ways in and out ---------------------------------------------------------------------------------

// The program's flags behind a system call, a page fault and interrupts, begun with `set`. No C code runs under them.
#define FLAGS_OVER(set, what, ...) ({ \
	uint64_t after; \
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; pushfq; orq %1, (%%rsp); popfq; " what "; pushfq; popq %0; " \
		"popfq; " \
			 "lea 128(%%rsp), %%rsp" \
			 : "=&r"(after) : "r"((uint64_t)(set)), ##__VA_ARGS__ : "rax", "rcx", "r11", "memory", "cc"); \
	after & ~(uint64_t)(CF | 4 | 0x10 | ZF | 0x80 | 0x800); })	// those that arithmetic changes

static void flags_over_each(uint64_t set)
{
	uint64_t wanted = set | IF | 2;
	volatile char *p = fresh_page();

	CHECK_EQ(FLAGS_OVER(set, "mov $39, %%eax; syscall") & ~RF, wanted);
	CHECK_EQ(FLAGS_OVER(set, "movb $1, (%2)", "r"(p)) & ~RF, wanted);
	CHECK_EQ(FLAGS_OVER(set, "mov $24, %%eax; syscall") & ~RF, wanted);
	CHECK_EQ(FLAGS_OVER(set, "mov $3000000, %%rcx; 1: dec %%rcx; jnz 1b") & ~RF, wanted);
	CHECK_EQ(raw(SYS_munmap, p, PAGE), 0);
}

// What the kernel copies must not depend on the program's flags.
static void work_under(uint64_t set)
{
	struct utsname right, found;
	long result;

	CHECK_EQ(raw(SYS_uname, &right), 0);
	memset(&found, 0, sizeof(found));
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; pushfq; orq %2, (%%rsp); popfq; syscall; popfq; "
		"lea 128(%%rsp), %%rsp"
			 : "=a"(result) : "0"(SYS_uname), "r"(set), "D"(&found) : "rcx", "r11", "memory", "cc");
	CHECK(!result && !memcmp(&found, &right, sizeof(right)));
}

static void flags(void)
{
	static const uint64_t sets[] = { 0, DF, AC, NT, ID, DF | AC | NT | ID };

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		flags_over_each(sets[i]);
		work_under(sets[i]);
	}
	say("DF, AC, NT, ID: come back, and are not the kernel's");
}

static volatile int steps, strange_steps;

static void on_step(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	steps++;
	strange_steps += info->si_code != TRAP_TRACE;
}

static void single_step(void)
{
	struct sigaction count = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO }, old;
	volatile char *p = fresh_page();
	long result;
	int ss;

	CHECK(!sigaction(SIGTRAP, &count, &old));
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; pushfq; orq $0x100, (%%rsp); popfq; nop; syscall; nop; "
		"movb $1, (%2); nop;"
			 "popfq; nop; lea 128(%%rsp), %%rsp" : "=a"(result) : "0"(SYS_getpid), "r"(p) : "rcx", "r11",
				"memory", "cc");
	CHECK_EQ(result, raw(SYS_getpid));
	CHECK(steps >= 4 && steps <= 8 && !strange_steps);
	// A load of SS holds back the trap until behind the next instruction, which is the kernel's entry.
	__asm__ volatile("mov %%ss, %%edx; lea -128(%%rsp), %%rsp; pushfq; pushfq; orq $0x100, (%%rsp); popfq; "
		"mov %%edx, %%ss; syscall;"
			 "nop; popfq; nop; lea 128(%%rsp), %%rsp" : "=a"(result), "=&d"(ss) : "0"(SYS_getpid)
				: "rcx", "r11", "memory", "cc");
	CHECK_EQ(result, raw(SYS_getpid));
	CHECK(!sigaction(SIGTRAP, &old, NULL));
	say("TF: a program steps over calls and faults");
}

// ---- The end of the user half ---------------------------------------------------------------------------------------

static void jump(void *to) { __asm__ volatile("mov $39, %%eax; jmp *%0" :: "r"(to) : "rax", "rcx", "r11", "memory"); }

// The last two bytes that can be mapped make a system call, which would return to the first that cannot. (Where the
// stack is at the end already, its last bytes are unused.)
static void call_at_the_end(void)
{
	char *last = (char *)TOP - PAGE;
	struct landed l;

	row("a page behind the end", error_of(raw(SYS_mmap, TOP, PAGE, PROT_READ,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)));
	if (raw(SYS_mmap, last, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) < 0)
		CHECK_EQ(raw(SYS_mprotect, last, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
	memcpy(last + PAGE - 2, "\x0f\x05", 2);
	l = landing_try(jump, last + PAGE - 2);
	CHECK(l.signal == SIGSEGV && l.addr == TOP && l.pc == TOP);
	row("a system call before the end", landed_name(l));
}

// ---- rt_sigreturn ---------------------------------------------------------------------------------------------------

// Where tampered contexts go on: what is in the registers, and back by a trap.
enum { NR_SEEN = 19 };
// R8 … R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, as in mcontext; then flags, CS, SS.
static uint64_t seen[NR_SEEN] __attribute__((used));
static char seen_stack[4096] __attribute__((used, aligned(64)));
extern const char observe[];
__asm__(".text\n"
	"observe: mov %r8, seen(%rip); mov %r9, seen+8(%rip); mov %r10, seen+16(%rip); mov %r11, seen+24(%rip); "
		"mov %r12, seen+32(%rip); mov %r13, seen+40(%rip)\n"
	"mov %r14, seen+48(%rip); mov %r15, seen+56(%rip); mov %rdi, seen+64(%rip); mov %rsi, seen+72(%rip); "
		"mov %rbp, seen+80(%rip); mov %rbx, seen+88(%rip)\n"
	"mov %rdx, seen+96(%rip); mov %rax, seen+104(%rip); mov %rcx, seen+112(%rip); mov %rsp, seen+120(%rip)\n"
	"lea seen_stack+4096(%rip), %rsp; pushfq; pop seen+128(%rip); push $2; popfq; mov %cs, seen+136(%rip); "
		"mov %ss, seen+144(%rip); int3\n");

static void fresh_fpu(void)
{
	uint32_t mxcsr = 0x1f80;

	__asm__ volatile("fninit; ldmxcsr %0; cld" :: "m"(mxcsr));
}

static void (*tamper)(ucontext_t *u, uint64_t how);
static uint64_t how;

static void on_user(int number, siginfo_t *info, void *context)
{
	(void)number, (void)info;
	tamper(context, how);
}

static void kill_self(void *arg)
{
	(void)arg;
	raw(SYS_tgkill, raw(SYS_getpid), raw(SYS_gettid), SIGUSR1);
}

// Return from a handler that has changed its frame.
static struct landed return_with(void (*change)(ucontext_t *u, uint64_t how), uint64_t value)
{
	struct sigaction action = { .sa_sigaction = on_user, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct landed l;

	tamper = change;
	how = value;
	memset(seen, 0, sizeof(seen));
	CHECK(!sigaction(SIGUSR1, &action, NULL));
	l = landing_try(kill_self, NULL);
	fresh_fpu();
	CHECK_EQ(raw(SYS_getpid), getpid());
	CHECK(fabs(sqrt(how % 1000 * 1.0) * sqrt(how % 1000 * 1.0) - how % 1000) < 1e-6);
	return l;
}

static bool observed(struct landed l) { return l.signal == SIGTRAP && seen[17] % 4 == 3; }

static void set_all(ucontext_t *u, uint64_t value)
{
	for (int i = REG_R8; i <= REG_RSP; i++)
		u->uc_mcontext.gregs[i] = (greg_t)(value * (i + 1));
	u->uc_mcontext.gregs[REG_RIP] = (greg_t)observe;
}

static void registers_return(void)
{
	CHECK(observed(return_with(set_all, 0x1234567890abcdf)));
	for (int i = REG_R8; i <= REG_RSP; i++)
		CHECK_EQ(seen[i], 0x1234567890abcdf * (i + 1));
	say("sigreturn: all registers, RCX, R11 and a bad RSP, too");
}

static void set_pc(ucontext_t *u, uint64_t value) { u->uc_mcontext.gregs[REG_RIP] = (greg_t)value; }

static void bad_pcs(void)
{
	row("sigreturn to 2^63", landed_name(return_with(set_pc, NON_CANONICAL)));
	row("sigreturn to 2^47", landed_name(return_with(set_pc, 1ul << 47)));
	row("sigreturn to the end of the user half", landed_name(return_with(set_pc, TOP)));
	row("sigreturn to the kernel's half", landed_name(return_with(set_pc, KERNEL_HALF)));
	row("sigreturn to -1", landed_name(return_with(set_pc, ~0ul)));
}

static void set_segments(ucontext_t *u, uint64_t value)
{
	u->uc_mcontext.gregs[REG_CSGSFS] = (greg_t)value;
	u->uc_mcontext.gregs[REG_RIP] = (greg_t)observe;
}

static void segments(void)
{
	static const uint16_t selectors[] = { 0, 3, 8, 0x10, 0x18, 0x28, 0x40, 0x48, 0xfff8, 0xffff };
	uint64_t good_cs, good_ss;

	CHECK(observed(return_with(set_all, 1)));
	good_cs = seen[17], good_ss = seen[18];
	for (size_t i = 0; i < ARRAY_SIZE(selectors); i++)
		for (int stack = 0; stack < 2; stack++) {
			uint64_t cs = stack ? good_cs : selectors[i], ss = stack ? selectors[i] : good_ss;
			struct landed l = return_with(set_segments, cs | ss << 48);

			CHECK(observed(l) || l.signal == SIGSEGV);
		}
	say("sigreturn with the kernel's CS and SS: no harm");
}

static void set_flags(ucontext_t *u, uint64_t value)
{
	u->uc_mcontext.gregs[REG_EFL] = (greg_t)value;
	u->uc_mcontext.gregs[REG_RIP] = (greg_t)observe;
}

static void returned_flags(void)
{
	CHECK(observed(return_with(set_flags, ~(uint64_t)TF)));
	CHECK_EQ(seen[16] & (IF | IOPL | VM | VIF | VIP), IF);
	say("sigreturn with all flags but TF: %#lx", (unsigned long)(seen[16] & ~(uint64_t)RF));
	CHECK(observed(return_with(set_flags, 0)));
	say("sigreturn with no flags: %#lx", (unsigned long)seen[16]);
	row("sigreturn with TF", landed_name(return_with(set_flags, TF)));
}

// ---- The FPU's state in a frame -------------------------------------------------------------------------------------

static void set_fpu(ucontext_t *u, uint64_t value) { u->uc_mcontext.fpregs = (void *)value; }

static void set_mxcsr(ucontext_t *u, uint64_t value)
{
	uint32_t mxcsr = (uint32_t)value;

	memcpy((char *)u->uc_mcontext.fpregs + 24, &mxcsr, 4);
}

static void set_header(ucontext_t *u, uint64_t value) { memset((char *)u->uc_mcontext.fpregs + 512, (int)value, 64); }

// Some bytes of it: which, and what, by chance.
static void set_some(ucontext_t *u, uint64_t value)
{
	struct random r = { value };
	char *state = (char *)u->uc_mcontext.fpregs;
	uint64_t start = random_below(&r, 576), n = random_below(&r, 3) ? 1 + random_below(&r, 8) : 576 - start;

	for (uint64_t i = start; i < start + n && i < 576; i++)
		state[i] = (char)random_next(&r);
}

static void fpu_states(void)
{
	volatile char *hole = fresh_page();

	CHECK_EQ(raw(SYS_munmap, hole, PAGE), 0);
	row("sigreturn, FPU state at NULL", landed_name(return_with(set_fpu, 0)));
	row("sigreturn, FPU state in a hole", landed_name(return_with(set_fpu, (uintptr_t)hole)));
	row("sigreturn, FPU state in the kernel's half", landed_name(return_with(set_fpu, KERNEL_HALF)));
	row("sigreturn, FPU state at 2^63", landed_name(return_with(set_fpu, NON_CANONICAL)));
	row("sigreturn, FPU state across the end", landed_name(return_with(set_fpu, TOP - 64)));
	row("sigreturn, reserved bits in MXCSR", landed_name(return_with(set_mxcsr, ~0u)));
	CHECK(return_with(set_header, 0xff).signal % SIGSEGV == 0);
	for (uint64_t i = 0; i < 2000; i++) {
		struct landed l = return_with(set_some, seed * 10000 + i);

		CHECK(!l.signal || l.signal == SIGSEGV || l.signal == SIGFPE);
	}
	say("sigreturn, FPU state changed by chance: no harm");
}

// ---- Frames that are none -------------------------------------------------------------------------------------------

static void sigreturn_at(void *sp)
{
	__asm__ volatile("mov %0, %%rsp; mov $15, %%eax; syscall; ud2" :: "r"(sp) : "memory");
}

static void frames_that_are_none(void)
{
	volatile char *hole = fresh_page();
	union { ucontext_t u; uint64_t words[sizeof(ucontext_t) / 8]; } *frame = malloc(sizeof(*frame) + 4096);
	struct random r = { seed };
	stack_t stack;

	CHECK(frame && !raw(SYS_munmap, hole, PAGE) && !sigaltstack(NULL, &stack));
	row("sigreturn, stack in a hole", landed_name(landing_try(sigreturn_at, (void *)hole)));
	row("sigreturn, stack in the kernel's half", landed_name(landing_try(sigreturn_at, (void *)KERNEL_HALF)));
	row("sigreturn, stack at 2^63", landed_name(landing_try(sigreturn_at, (void *)NON_CANONICAL)));
	row("sigreturn, stack at the end", landed_name(landing_try(sigreturn_at, (void *)(TOP - 8))));
	row("sigreturn, stack at 0", landed_name(landing_try(sigreturn_at, NULL)));
	for (int i = 0; i < 500; i++) {
		for (size_t w = 0; w < ARRAY_SIZE(frame->words); w++)
			frame->words[w] = random_below(&r, 4) ? random_next(&r) >> random_below(&r, 64) : 0;
		// A fault that is blocked would kill, and so would one whose handler has no stack.
		memset(&frame->u.uc_sigmask, 0, 8);
		frame->u.uc_stack = stack;
		frame->u.uc_mcontext.gregs[REG_RIP] = random_below(&r, 2) ? (greg_t)observe : (greg_t)random_next(&r);
		CHECK(landing_try(sigreturn_at, frame).signal);
		fresh_fpu();
	}
	say("sigreturn, frames by chance: no harm");
	free(frame);
}

int main(int argc, char **argv)
{
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	landing_prepare();
	gs_bases();
	gs_selectors();
	gs_instructions();
	flags();
	single_step();
	registers_return();
	bad_pcs();
	segments();
	returned_flags();
	fpu_states();
	frames_that_are_none();
	call_at_the_end();
	return 0;
}
