// SPDX-License-Identifier: MIT
// Instructions that a program must not execute, or that go wrong: which signal comes of each, and that the program can
// go on. Then all of them again in several threads at once. Arguments: [threads] [rounds] [seed].
#include "user/common/check.h"
#include "user/common/landing.h"
#include "user/common/random.h"
#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// Machine code, behind which comes a return. It is called with RAX 0 and with RCX and RDX 0.
// Where QEMU emulates the processor, a few end otherwise than on one: then `qemu` is allowed, too.
struct instruction {
	const char *name;
	unsigned length;
	const char *bytes, *real, *qemu;
};
#define I(name, bytes) { (name), sizeof(bytes) - 1, (bytes), NULL, NULL }
#define EITHER(name, bytes, real, qemu) { (name), sizeof(bytes) - 1, (bytes), (real), (qemu) }

static const struct instruction instructions[] = {
	I("int3", "\xcc"), I("int $3", "\xcd\x03"), EITHER("icebp", "\xf1", "SIGTRAP BRKPT", "SIGILL ILLOPN"),
	I("int $1", "\xcd\x01"), I("int $2", "\xcd\x02"),
	I("int $4", "\xcd\x04"), I("int $8", "\xcd\x08"), I("int $14", "\xcd\x0e"), I("int $32", "\xcd\x20"),
	I("int $255", "\xcd\xff"), I("into", "\xce"), I("ud2", "\x0f\x0b"), I("ud1", "\x0f\xb9\xc0"),
	I("push %es", "\x06"),
	I("lock nop", "\xf0\x90"), I("16 bytes", "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90"),
	I("hlt", "\xf4"), I("cli", "\xfa"), I("sti", "\xfb"), I("in $0x80, %al", "\xe4\x80"),
	I("out %al, $0x80", "\xe6\x80"),
	I("in (%dx), %al", "\xec"), I("outsb", "\x6e"), I("lgdt (%rax)", "\x0f\x01\x10"),
	I("lidt (%rax)", "\x0f\x01\x18"),
	I("lldt %ax", "\x0f\x00\xd0"), I("ltr %ax", "\x0f\x00\xd8"), I("lmsw %ax", "\x0f\x01\xf0"),
	I("clts", "\x0f\x06"),
	I("mov %cr0, %rax", "\x0f\x20\xc0"), I("mov %rax, %cr3", "\x0f\x22\xd8"), I("mov %rax, %cr4", "\x0f\x22\xe0"),
	I("mov %rax, %cr8", "\x44\x0f\x22\xc0"), I("mov %dr7, %rax", "\x0f\x21\xf8"),
	I("mov %rax, %dr7", "\x0f\x23\xf8"),
	I("rdmsr", "\x0f\x32"), I("wrmsr", "\x0f\x30"), I("invlpg (%rax)", "\x0f\x01\x38"), I("invd", "\x0f\x08"),
	I("wbinvd", "\x0f\x09"), I("swapgs", "\x0f\x01\xf8"), I("sysretq", "\x48\x0f\x07"), I("xsetbv", "\x0f\x01\xd1"),
	I("mov $8, %ss", "\xb0\x08\x8e\xd0"), I("mov $16, %ds", "\xb0\x10\x8e\xd8"),
	I("mov $16, %gs", "\xb0\x10\x8e\xe8"),
	I("mov $0xfff8, %es", "\x66\xb8\xf8\xff\x8e\xc0"), I("div by 0", "\xf7\xf1"),
	I("idiv, too large", "\x31\xc0\x0f\xba\xe8\x1f\x83\xc9\xff\x83\xca\xff\xf7\xf9"),
	I("mov (0), %al", "\x8a\x00"), I("mov %al, (0)", "\x88\x00"), I("jmp 0", "\xff\xe0"),
	I("mov (2^63), %al", "\x48\x0f\xba\xe8\x3f\x8a\x00"), I("jmp 2^63", "\x48\x0f\xba\xe8\x3f\xff\xe0"),
	I("mov (2^47), %al", "\x48\x0f\xba\xe8\x2f\x8a\x00"), I("jmp 2^47", "\x48\x0f\xba\xe8\x2f\xff\xe0"),
	I("mov (2^48 - 2^20), %al", "\x48\xb8\0\0\xf0\xff\xff\xff\0\0\x8a\x00"),
	I("mov (-2^47), %al", "\x48\xb8\0\0\0\0\0\x80\xff\xff\x8a\x00"),
	I("mov %al, (-2^31)", "\x48\xc7\xc0\0\0\0\x80\x88\x00"),
	I("jmp -2^31", "\x48\xc7\xc0\0\0\0\x80\xff\xe0"), I("jmp -2^47", "\x48\xb8\0\0\0\0\0\x80\xff\xff\xff\xe0"),
	EITHER("push, RSP 2^63", "\x48\x0f\xba\xe8\x3f\x48\x89\xc4\x50", "SIGBUS KERNEL", "SIGSEGV KERNEL"),
	I("push, RSP 0", "\x48\x31\xe4\x50"),
	EITHER("push, RSP -2^47", "\x48\xb8\0\0\0\0\0\x80\xff\xff\x48\x89\xc4\x50", "SIGBUS KERNEL", "SIGSEGV KERNEL"),
	EITHER("ret, RSP 2^63", "\x48\x0f\xba\xe8\x3f\x48\x89\xc4", "SIGBUS KERNEL", "SIGSEGV KERNEL"),
	I("int3, RSP 2^63", "\x48\x0f\xba\xe8\x3f\x48\x89\xc4\xcc"),
	I("ud2, RSP -2^47", "\x48\xb8\0\0\0\0\0\x80\xff\xff\x48\x89\xc4\x0f\x0b"),
};
// QEMU reads the stack for these as if it were the kernel's, which with SMAP is a fault that never ends.
static const struct instruction far_returns[] = {
	I("iretq to 0", "\x6a\0\x6a\0\x6a\0\x6a\0\x6a\0\x48\xcf"), I("lretq to 0", "\x6a\0\x6a\0\x48\xcb"),
	I("iretq to ring 0", "\x6a\x10\x54\x9c\x6a\x08\x6a\0\x48\xcf"),
};
enum {
	ROOM = 32, VECTORS = 256,
	INSTRUCTIONS = ARRAY_SIZE(instructions), FAR_RETURNS = ARRAY_SIZE(far_returns),
	FIRST_FAR_RETURN = INSTRUCTIONS, FIRST_VECTOR = FIRST_FAR_RETURN + FAR_RETURNS, STUBS = FIRST_VECTOR + VECTORS,
};

static unsigned char *code;		// a stub of ROOM bytes for each of them

static void lay_down_some(size_t first, const struct instruction *some, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		CHECK(some[i].length < ROOM);
		memcpy(code + (first + i) * ROOM, some[i].bytes, some[i].length);
	}
}

static void lay_down(void)
{
	code = mmap(NULL, STUBS * ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(code != MAP_FAILED);
	memset(code, 0xc3, STUBS * ROOM);
	lay_down_some(0, instructions, INSTRUCTIONS);
	lay_down_some(FIRST_FAR_RETURN, far_returns, FAR_RETURNS);
	for (int i = 0; i < VECTORS; i++)
		memcpy(code + (FIRST_VECTOR + i) * ROOM, (char[]){ (char)0xcd, (char)i }, 2);
	CHECK(!mprotect(code, STUBS * ROOM, PROT_READ | PROT_EXEC));
}

static void call(void *stub)
{
	unsigned long rax = 0, rcx = 0, rdx = 0;

	__asm__ volatile("call *%3" : "+a"(rax), "+c"(rcx), "+d"(rdx) : "r"(stub)
			 : "rbx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}

static struct landed execute(size_t i) { return landing_try(call, code + i * ROOM); }

// The address is one of those that Linux reports: none, the instruction's, or what was touched.
static const char *address_of(size_t i, struct landed l)
{
	static char text[32];
	uintptr_t start = (uintptr_t)code + i * ROOM;

	if (l.addr >= start && l.addr < start + ROOM)
		return "the instruction";
	snprintf(text, sizeof(text), "%#lx", l.addr);
	return text;
}

static struct landed first[INSTRUCTIONS];

static void tell(size_t i, const struct instruction *it, struct landed l)
{
	const char *how = landed_name(l);

	if (it->real && (!strcmp(how, it->real) || !strcmp(how, it->qemu)))
		say("%-24s %-16s or %s", it->name, it->real, it->qemu);
	else
		say("%-24s %-16s %s", it->name, how, address_of(i, l));
}

static void each_once(void)
{
	for (size_t i = 0; i < INSTRUCTIONS; i++) {
		first[i] = execute(i);
		tell(i, &instructions[i], first[i]);
	}
}

static bool in_qemu(void)
{
	unsigned a, name[3];

	__cpuid(0x40000000, a, name[0], name[1], name[2]);
	return !memcmp(name, "TCGTCGTCGTCG", 12);
}

static void each_far_return(void)
{
	for (size_t i = 0; !in_qemu() && i < FAR_RETURNS; i++)
		CHECK(!strcmp(landed_name(execute(FIRST_FAR_RETURN + i)), "SIGSEGV KERNEL"));
	say("iretq, lretq: refused");
}

// Linux serves int $0x80 as a system call of 32-bit programs, if it is built so.
static void each_vector(void)
{
	int refused = 0;

	for (int i = 0; i < VECTORS; i++) {
		struct landed l;

		if (i == 3 || i == 0x80)
			continue;
		l = execute(FIRST_VECTOR + i);
		CHECK_EQ(l.signal, SIGSEGV);
		refused++;
	}
	say("int: %d vectors refused", refused);
}

static void system_call_80(void *arg)
{
	long rax = 20;		// its getpid()

	(void)arg;
	__asm__ volatile("int $0x80" : "+a"(rax) :: "r8", "r9", "r10", "r11", "memory");
	CHECK(rax == raw(SYS_getpid) || rax == -ENOSYS);
}

static void sysenter(void *arg)
{
	(void)arg;
	__asm__ volatile("mov $20, %%eax; mov %%rsp, %%rbp; sysenter" ::: "rax", "rbx", "rcx", "rdx", "rsi", "rdi",
		"memory");
}

// What comes of the old entries is for the processor and the kernel to say; it must be harmless.
static void old_entries(void)
{
	struct landed l = landing_try(system_call_80, NULL);

	CHECK(!l.signal || l.signal == SIGSEGV);
	say("int $0x80: no harm");
	l = landing_try(sysenter, NULL);
	CHECK(l.signal == SIGSEGV || l.signal == SIGILL || l.signal == SIGBUS);
	say("sysenter: no harm");
}

// ---- Instructions that would tell where the kernel's tables are -----------------------------------------------------

struct table { uint16_t limit; uint64_t base; } __attribute__((packed));

static void sidt(void *to) { __asm__ volatile("sidt %0" : "=m"(*(struct table *)to)); }
static void sgdt(void *to) { __asm__ volatile("sgdt %0" : "=m"(*(struct table *)to)); }
static void sldt(void *to) { __asm__ volatile("sldt %0" : "=m"(*(uint16_t *)to)); }
static void str(void *to) { __asm__ volatile("str %0" : "=m"(*(uint16_t *)to)); }
static void smsw(void *to) { __asm__ volatile("smsw %0" : "=m"(*(uint16_t *)to)); }

// With UMIP Linux answers in the instruction's place, with constants; this must not be where something is.
static void tables(void)
{
	static const struct { const char *name; void (*code)(void *); bool table; } all[] = {
		{ "sidt", sidt, true }, { "sgdt", sgdt, true }, { "sldt", sldt, false }, { "str", str, false },
		{ "smsw", smsw, false },
	};
	unsigned a, b, c, d;
	bool umip = __get_cpuid_count(7, 0, &a, &b, &c, &d) && c >> 2 & 1;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct table t = { 0, 0 };
		struct landed l = landing_try(all[i].code, &t);

		CHECK(!l.signal || (l.signal == SIGSEGV && l.code == SI_KERNEL));
		CHECK(!umip || l.signal || !all[i].table || t.base >= 0xffffffffffff0000 - 0x20000);
		say("%s: no harm", all[i].name);
	}
}

// ---- Arithmetic -----------------------------------------------------------------------------------------------------

static void unaligned(void *arg)
{
	(void)arg;
	__asm__ volatile("pushfq; pushfq; orq $0x40000, (%%rsp); popfq; mov 1(%%rsp), %%rax; popfq" ::: "rax", "cc",
		"memory");
}

#define SSE(mxcsr_, x_, op, y_) ({ \
	unsigned mxcsr = (mxcsr_); double x = (x_), y = (y_); \
	__asm__ volatile("ldmxcsr %2; " op " %1, %0; stmxcsr %2" : "+x"(x) : "x"(y), "m"(mxcsr)); })
enum { NONE_MASKED = 0, ALL_BUT_INEXACT = 0x1000 };

static void sse_divide(void *arg) { (void)arg; SSE(ALL_BUT_INEXACT, 1, "divsd", 0); }
static void sse_invalid(void *arg) { (void)arg; SSE(ALL_BUT_INEXACT, -1, "sqrtsd", -1); }
static void sse_overflow(void *arg) { (void)arg; SSE(ALL_BUT_INEXACT, 1e308, "mulsd", 1e308); }
static void sse_underflow(void *arg) { (void)arg; SSE(ALL_BUT_INEXACT, 1e-308, "mulsd", 1e-308); }
static void sse_inexact(void *arg) { (void)arg; SSE(NONE_MASKED, 1, "divsd", 3); }

#define X87(control_, x_, op, y_) ({ \
	unsigned short control = (control_); double x = (x_), y = (y_); \
	__asm__ volatile("fninit; fldcw %2; fldl %0; fldl %1; " op "; fwait; fninit" :: "m"(x), "m"(y), \
		"m"(control)); })
static void x87_divide(void *arg) { (void)arg; X87(0x37b, 1, "fdivrp", 0); X87(0x37b, 0, "fdivp", 1); }
static void x87_invalid(void *arg) { (void)arg; X87(0x37e, 1, "fsqrt", -1); }
static void x87_stack(void *arg) { (void)arg; X87(0x37e, 1, "fstp %%st; fstp %%st; fstp %%st", 1); }
static void x87_inexact(void *arg) { (void)arg; X87(0x35f, 1, "fdivp", 3); X87(0x35f, 3, "fdivp", 1); }

// An emulated processor may lack these exceptions: then nothing happens.
static void arithmetic(void)
{
	static const struct { const char *name; void (*code)(void *); int signal, fault; } all[] = {
		{ "unaligned access", unaligned, SIGBUS, BUS_ADRALN },
		{ "SSE: division by 0", sse_divide, SIGFPE, FPE_FLTDIV },
		{ "SSE: invalid", sse_invalid, SIGFPE, FPE_FLTINV },
		{ "SSE: overflow", sse_overflow, SIGFPE, FPE_FLTOVF },
		{ "SSE: underflow", sse_underflow, SIGFPE, FPE_FLTUND },
		{ "SSE: inexact", sse_inexact, SIGFPE, FPE_FLTRES },
		{ "x87: division by 0", x87_divide, SIGFPE, FPE_FLTDIV },
		{ "x87: invalid", x87_invalid, SIGFPE, FPE_FLTINV },
		{ "x87: stack", x87_stack, SIGFPE, FPE_FLTINV }, { "x87: inexact", x87_inexact, SIGFPE, FPE_FLTRES },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct landed l = landing_try(all[i].code, NULL);

		if (l.signal && (l.signal != all[i].signal || l.code != all[i].fault))
			say("FAILED: %s: %s", all[i].name, landed_name(l));
		else
			say("%s: as it must be", all[i].name);
		if (getenv("VERBOSE"))
			say("# %s", landed_name(l));
	}
}

// ---- All at once ----------------------------------------------------------------------------------------------------

struct worker { pthread_t thread; struct random random; long rounds; };

static void *work(void *arg)
{
	struct worker *w = arg;

	landing_prepare();
	for (long i = 0; i < w->rounds; i++) {
		size_t which = random_below(&w->random, INSTRUCTIONS);
		struct landed l = execute(which);

		CHECK(l.signal == first[which].signal && l.code == first[which].code && l.addr == first[which].addr);
	}
	return NULL;
}

static void storm(long threads, long rounds, uint64_t seed)
{
	struct worker *w = calloc(threads, sizeof(*w));

	CHECK(w);
	for (long i = 0; i < threads; i++) {
		w[i] = (struct worker){ .random = { seed * 1000 + i }, .rounds = rounds };
		CHECK(!pthread_create(&w[i].thread, NULL, work, &w[i]));
	}
	for (long i = 0; i < threads; i++)
		CHECK(!pthread_join(w[i].thread, NULL));
	say("storm: %ld threads, %ld rounds, seed %llu: the same again", threads, rounds, (unsigned long long)seed);
}

int main(int argc, char **argv)
{
	landing_prepare();
	lay_down();
	each_once();
	each_far_return();
	each_vector();
	old_entries();
	tables();
	arithmetic();
	storm(argc > 1 ? atol(argv[1]) : 4, argc > 2 ? atol(argv[2]) : 500, argc > 3 ? strtoull(argv[3], NULL, 0) : 1);
	return 0;
}
