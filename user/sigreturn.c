// SPDX-License-Identifier: MIT
// rt_sigreturn from frames that no kernel has made. Each is refused by a signal that a handler gets, or returned to.
// Argument: how many random frames (20000), and their seed.
#include "user/common/check.h"
#include "user/common/random.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define FPU_MAX 4096
#define MAGIC1 0x46505853u
#define FLAGS_PLAIN 0x202
#define SELECTORS_PLAIN 0x2b000000000033

// What the kernel reads at the stack pointer: uc_flags … uc_sigmask. glibc's ucontext_t has a longer mask and more
// behind it.
struct frame {
	uint64_t flags, link;
	struct { uint64_t sp; int32_t flags; uint64_t size; } stack;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
	uint64_t selectors, error, trap, oldmask, cr2, fpstate, reserved[8];
	uint64_t mask;
};
_Static_assert(sizeof(struct frame) == 304, "Linux's ABI");

static struct frame good, frame, seen;	// seen: by the handler of a fault
static unsigned char good_fpu[FPU_MAX] __attribute__((aligned(64))), fpu[FPU_MAX + 64] __attribute__((aligned(64)));
static uint32_t fpu_size;		// with the second magic number
static unsigned char alternate[65536] __attribute__((aligned(16)));

static struct {
	int signal, code;
	uint64_t trap, error, addr;
} outcome;				// signal 0: the frame was returned to

// Make `frame` the one to return from. Whatever comes of it ends at go_on, which restores what a function keeps.
void leap(void);
extern const char go_on[], bad_instruction[], halt_instruction[], breakpoint[];
__asm__(
".text\n"
"leap:	push %rbx\n"
"	push %rbp\n"
"	push %r12\n"
"	push %r13\n"
"	push %r14\n"
"	push %r15\n"
"	mov %rsp, kept_rsp(%rip)\n"
"	lea frame(%rip), %rsp\n"
"	mov $15, %eax\n"
"	syscall\n"
"	ud2\n"
".globl go_on, bad_instruction, halt_instruction, breakpoint, fault_entry\n"
"go_on:	mov kept_rsp(%rip), %rsp\n"
"	pushq $0x202\n"
"	popfq\n"
"	fninit\n"
"	ldmxcsr plain_mxcsr(%rip)\n"
"	pop %r15\n"
"	pop %r14\n"
"	pop %r13\n"
"	pop %r12\n"
"	pop %rbp\n"
"	pop %rbx\n"
"	ret\n"
"bad_instruction:\n"
"	ud2\n"
"halt_instruction:\n"
"	hlt\n"
"breakpoint:\n"
"	int3\n"
// A handler begins with the frame's AC, under which C is not to run: SSE would fault.
"fault_entry:\n"
"	pushfq\n"
"	andl $~0x40000, (%rsp)\n"
"	popfq\n"
"	jmp on_fault\n"
".local kept_rsp\n"
".comm kept_rsp, 8, 8\n"
".section .rodata\n"
"plain_mxcsr: .long 0x1f80\n"
".text\n"
".globl leap\n");

void fault_entry(int number, siginfo_t *info, void *context);
void on_fault(int number, siginfo_t *info, void *context);
void on_fault(int number, siginfo_t *info, void *context)
{
	struct frame *f = context;

	seen = *f;
	outcome.signal = number;
	outcome.code = info->si_code;
	outcome.addr = (uintptr_t)info->si_addr;
	outcome.trap = f->trap;
	outcome.error = f->error;
	f->rip = (uintptr_t)go_on;
	f->rflags = FLAGS_PLAIN;
	f->selectors = SELECTORS_PLAIN;
}

static void on_sample(int number, siginfo_t *info, void *context)
{
	const unsigned char *area;

	(void)number, (void)info;
	memcpy(&good, context, sizeof(good));
	area = (const void *)good.fpstate;
	memcpy(&fpu_size, area + 464, sizeof(fpu_size));
	if (fpu_size == MAGIC1)
		memcpy(&fpu_size, area + 468, sizeof(fpu_size));
	else
		fpu_size = 512;
	CHECK(fpu_size <= FPU_MAX);
	memcpy(good_fpu, area, fpu_size);
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	CHECK(!sigaction(number, &action, NULL));
}

static void begin(void)
{
	memcpy(&frame, &good, sizeof(frame));
	memcpy(fpu, good_fpu, sizeof(good_fpu));
	frame.fpstate = (uintptr_t)fpu;
	frame.rip = (uintptr_t)go_on;
	frame.rflags = FLAGS_PLAIN;
}

// What a frame has changed beside the registers.
static void end(void)
{
	stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	sigset_t none;

	sigemptyset(&none);
	CHECK(!sigprocmask(SIG_SETMASK, &none, NULL));
	CHECK(!sigaltstack(&stack, NULL));
}

static void play(void)
{
	memset(&outcome, 0, sizeof(outcome));
	leap();
	end();
}

static uint32_t *fpu32(unsigned offset) { return (uint32_t *)(fpu + offset); }
static uint64_t *fpu64(unsigned offset) { return (uint64_t *)(fpu + offset); }

#define NOT_CANONICAL 0x800000000000
#define KERNEL 0xffffffff81000000
enum { MXCSR = 24, SOFTWARE = 464, SW_EXTENDED_SIZE = 468, SW_FEATURES = 472, SW_SIZE = 480, HEADER = 512 };

// X(what it is, what is done to the frame)
#define CASES(X) \
	X("a good one", (void)0) \
	X("rip 0", frame.rip = 0) \
	X("rip not canonical, lowest", frame.rip = NOT_CANONICAL) \
	X("rip not canonical", frame.rip = 0xdead000000000000) \
	X("rip in the kernel", frame.rip = KERNEL) \
	X("invalid instruction", frame.rip = (uintptr_t)bad_instruction) \
	X("privileged instruction", frame.rip = (uintptr_t)halt_instruction) \
	X("breakpoint", frame.rip = (uintptr_t)breakpoint) \
	X("rsp not canonical", frame.rsp = NOT_CANONICAL) \
	X("rsp in the kernel", frame.rsp = KERNEL) \
	X("IOPL, NT, VM, VIF, VIP, ID", frame.rflags |= 0x3000 | 1 << 14 | 1 << 17 | 7 << 19) \
	X("no IF", frame.rflags = 0) \
	X("TF", frame.rflags |= 0x100) \
	X("MXCSR", *fpu32(MXCSR) = ~0u) \
	X("a component that there is not", *fpu64(HEADER) |= 1ull << 40) \
	X("compacted", *fpu64(HEADER + 8) = 1ull << 63) \
	X("header, third word", *fpu64(HEADER + 16) = 1) \
	X("header, fourth word", *fpu64(HEADER + 24) = 1) \
	X("header, last word", *fpu64(HEADER + 56) = ~0ull) \
	X("no FPU area", frame.fpstate = 0) \
	X("FPU area unaligned", frame.fpstate += 8) \
	X("FPU area in the kernel", frame.fpstate = KERNEL) \
	X("FPU area not mapped", frame.fpstate = 4096) \
	X("no first magic", *fpu32(SOFTWARE) = 0; *fpu64(HEADER) = ~0ull) \
	X("no second magic", *fpu32(fpu_size - 4) = 0; *fpu64(HEADER) = ~0ull) \
	X("sizes", *fpu32(SW_SIZE) = *fpu32(SW_EXTENDED_SIZE) = ~0u) \
	X("all features", *fpu64(SW_FEATURES) = ~0ull) \
	X("no feature, and MXCSR", *fpu64(SW_FEATURES) = 0; *fpu32(MXCSR) = ~0u) \
	X("no uc_flags", frame.flags = 0) \
	X("all uc_flags", frame.flags = ~0ull) \
	X("result -ERESTARTSYS", frame.rax = -512) \
	X("too small a stack", frame.stack.size = 100)

#define X(what, change) { begin(); change; play(); say_outcome(what); }
static void say_outcome(const char *what)
{
	if (!outcome.signal)
		say("%s: returned to", what);
	else
		say("%s: %s, code %d, address %s, trap %lu, error %#lx", what, signal_name(outcome.signal),
		    outcome.code, !outcome.addr ? "none" : outcome.addr == frame.rip ? "rip" : "other", outcome.trap,
		    outcome.error);
}
static void known_cases(void) { CASES(X) }
#undef X

// The sixteen registers are the frame's.
static void registers_are_taken_over(void)
{
	uint64_t *r = &frame.r8;

	begin();
	frame.rip = (uintptr_t)bad_instruction;
	for (unsigned i = 0; i < 16; i++)
		r[i] = 0x1111111111111111ull * i;
	play();
	CHECK_EQ(outcome.signal, SIGILL);
	CHECK(!memcmp(&seen.r8, &frame.r8, 16 * sizeof(*r)));
}

static uint64_t edge(struct random *r)
{
	static const uint64_t edges[] = {
		0, 1, 8, 4095, 4096, NOT_CANONICAL - 4096, NOT_CANONICAL - 8, NOT_CANONICAL - 1, NOT_CANONICAL,
		~0ull, ~7ull, 0xffff800000000000, 0xffff7fffffffffff, KERNEL, 1ull << 63, 0x7fffffff, 0x80000000,
		0xffffffff,
	};

	switch (random_below(r, 3)) {
	case 0: return random_next(r);
	case 1: return 1ull << random_below(r, 64);
	default: return edges[random_below(r, ARRAY_SIZE(edges))];
	}
}

static uint64_t random_rip(struct random *r)
{
	const char *const places[] = { go_on, go_on, go_on, go_on, bad_instruction, halt_instruction, breakpoint };
	uint64_t n = random_below(r, ARRAY_SIZE(places) + 2);

	return n < ARRAY_SIZE(places) ? (uintptr_t)places[n] : edge(r);
}

// Not 0x23, with which Linux would go on in 32-bit mode.
static uint64_t random_selectors(struct random *r)
{
	static const uint16_t selectors[] = { 0x33, 0x33, 0x33, 0x2b, 0x10, 0x08, 0x18, 0x40, 0, 3, 0xfff8 };
	uint64_t cs = selectors[random_below(r, ARRAY_SIZE(selectors))];
	uint64_t ss = random_below(r, 2) ? 0x2b : selectors[random_below(r, ARRAY_SIZE(selectors))];

	return cs | ss << 48;
}

static void spoil_fpu(struct random *r)
{
	static const uint16_t places[] = {
		0, 2, 4, MXCSR, MXCSR + 4, SOFTWARE, SW_EXTENDED_SIZE, SW_FEATURES, SW_SIZE, HEADER, HEADER + 8,
		HEADER + 16, HEADER + 24, HEADER + 56, HEADER + 64,
	};

	for (uint64_t n = random_below(r, 4); n; n--)
		switch (random_below(r, 3)) {
		case 0: *fpu64(places[random_below(r, ARRAY_SIZE(places))]) = edge(r); break;
		case 1: *fpu32(places[random_below(r, ARRAY_SIZE(places))]) ^= 1u << random_below(r, 32); break;
		default: fpu[random_below(r, fpu_size)] = (unsigned char)random_next(r);
		}
	if (!random_below(r, 8))
		frame.fpstate = random_below(r, 2) ? edge(r) : frame.fpstate + random_below(r, 65);
}

// Signals that a frame may bring must not be blocked, and the alternate stack must stay: the handlers need both.
static void random_frame(struct random *r)
{
	uint64_t *registers = &frame.r8;

	begin();
	for (unsigned i = 0; i < 16; i++)
		if (random_below(r, 2))
			registers[i] = edge(r);
	frame.rip = random_rip(r);
	if (!random_below(r, 2))
		frame.rflags = edge(r);
	if (!random_below(r, 4))
		frame.selectors = random_selectors(r);
	if (!random_below(r, 4))
		frame.flags = edge(r);
	if (!random_below(r, 8))
		frame.stack.size = random_below(r, 2048);
	if (!random_below(r, 8))
		frame.stack.flags = 3;
	frame.mask = random_next(r) & ~(1ull << (SIGILL - 1) | 1ull << (SIGTRAP - 1) | 1ull << (SIGBUS - 1) |
					1ull << (SIGFPE - 1) | 1ull << (SIGSEGV - 1));
	spoil_fpu(r);
}

int main(int argc, char **argv)
{
	uint64_t frames = argc > 1 ? strtoull(argv[1], NULL, 0) : 20000;
	struct random random = { argc > 2 ? strtoull(argv[2], NULL, 0) : 1 };
	static const int faults[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV };
	uint64_t signals = 0, returns = 0;

	handle(SIGUSR1, on_sample, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		handle(faults[i], fault_entry, SA_ONSTACK);
	end();
	CHECK(!raise(SIGUSR1));
	known_cases();
	registers_are_taken_over();
	for (uint64_t i = 0; i < frames; i++) {
		random_frame(&random);
		play();
		outcome.signal ? signals++ : returns++;
	}
	CHECK_EQ(signals + returns, frames);
	CHECK(frames < 100 || (signals && returns));
	say("%lu random frames", frames);
	return 0;
}
