// SPDX-License-Identifier: MIT
// User mode: what a CPU holds for a program's thread, and why the thread came back. The way in and out is user.asm.
//
// IRETQ and SYSRET to user mode cannot fault. Either would do so, on the kernel's side and with the user's GS, only for a
// RIP that is not canonical (the selectors are constants, and a program's RFLAGS are forced by sigreturn); such a RIP is not
// returned to but is the program's fault (CVE-2012-0217, CVE-2014-9322). SYSRET is used only after a system call that has
// left RCX and R11 as SYSCALL set them.
#include "arch/x86_64/user.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/fpu.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/io.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "proc/signal.h"
#include <arch/percpu.h>
#include <arch/pte.h>
#include <arch/user.h>

#define MSR_SYSENTER_CS 0x174u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_KERNEL_GS_BASE 0xc0000102u	// while in the kernel: the program's

extern const char syscall_entry[], syscall_nowhere[];	// user.asm
void user_enter(struct user_context *c, bool by_sysret);

// For user.asm.
DEFINE_PER_CPU(u64, user_frame_end);
DEFINE_PER_CPU(u64, user_scratch);
static DEFINE_PER_CPU(struct user_context *, holds);	// whose registers this CPU has, if that context says so, too

void user_init_cpu(void)
{
	wrmsr(MSR_STAR, (u64)(USER_DS - 8) << 48 | (u64)KERNEL_CS << 32);
	wrmsr(MSR_LSTAR, (uintptr_t)syscall_entry);
	wrmsr(MSR_CSTAR, (uintptr_t)syscall_nowhere);
	wrmsr(MSR_SFMASK, X86_RFLAGS_IF | RFLAGS_TF | RFLAGS_DF | X86_RFLAGS_AC | RFLAGS_NT | RFLAGS_IOPL | RFLAGS_RF);
	wrmsr(MSR_SYSENTER_CS, 0);	// SYSENTER is a protection fault; on AMD it is undefined in 64-bit mode anyway
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	__asm__ volatile("mov %0, %%dr7" :: "r"(0x400ull));	// no breakpoints
}

bool user_held_here(const struct user_context *c) { return c->cpu == cpu_id() && this_cpu_read(holds) == c; }

bool arch_user_init(struct user_context *c, vaddr_t entry, vaddr_t stack)
{
	*c = (struct user_context){ .cpu = NR_CPUS };
	c->frame.rip = entry;
	c->frame.rsp = stack;
	c->frame.cs = USER_CS;
	c->frame.ss = USER_DS;
	c->frame.rflags = X86_RFLAGS_IF | RFLAGS_FIXED;
	return fpu_alloc(c);
}

// A program can only have loaded null or its own flat segments, so loading them again cannot fault. Loading FS or GS
// changes its base (on Intel's processors even if the selector is null), and the program must find its base again.
#define GET_SEGMENT(name) ({ u16 _v; __asm__ volatile("movw %%" #name ", %0" : "=r"(_v)); _v; })
#define SET_SEGMENT(name, v) __asm__ volatile("movw %w0, %%" #name :: "r"(v))

// IRQs off; this CPU holds the context.
static void save_segments(struct user_context *c)
{
	c->ds = GET_SEGMENT(ds);
	c->es = GET_SEGMENT(es);
	c->fs = GET_SEGMENT(fs);
	c->gs = GET_SEGMENT(gs);
	c->fs_base = rdmsr(MSR_FS_BASE);
	c->gs_base = rdmsr(MSR_KERNEL_GS_BASE);
}

// Between the two SWAPGS an NMI finds the program's base and knows it by its sign (traps.asm).
static void set_gs(u16 v)
{
	__asm__ volatile("swapgs\n\t"
			 "movw %w0, %%gs\n\t"
			 "swapgs" :: "r"(v) : "memory");
}

// Most programs leave them null, and loads are slow.
static void load_segments(const struct user_context *c)
{
	if (GET_SEGMENT(ds) != c->ds)
		SET_SEGMENT(ds, c->ds);
	if (GET_SEGMENT(es) != c->es)
		SET_SEGMENT(es, c->es);
	if (GET_SEGMENT(fs) != c->fs)
		SET_SEGMENT(fs, c->fs);
	if (GET_SEGMENT(gs) != c->gs)
		set_gs(c->gs);
	wrmsr(MSR_FS_BASE, c->fs_base);
	wrmsr(MSR_KERNEL_GS_BASE, c->gs_base);
}

static void save_segments_current(struct user_context *c)
{
	irqflags_t flags = irq_save();

	if (user_held_here(c))
		save_segments(c);
	irq_restore(flags);
}

void user_reload(struct user_context *c)
{
	save_segments_current(c);
	WRITE_ONCE(c->cpu, NR_CPUS);
}

bool arch_user_copy(struct user_context *to, struct user_context *from)
{
	fpu_save_current(from);
	save_segments_current(from);
	*to = (struct user_context){
		.frame = from->frame, .cpu = NR_CPUS, .fs_base = from->fs_base, .gs_base = from->gs_base,
		.ds = from->ds, .es = from->es, .fs = from->fs, .gs = from->gs,
	};
	if (!fpu_alloc(to))
		return false;
	memcpy(to->fpu, from->fpu, fpu_size);
	arch_user_set_result(to, 0);
	return true;
}

void arch_user_free(struct user_context *c) { fpu_free(c); }

void arch_user_switched_out(struct user_context *c)
{
	if (!user_held_here(c))
		return;
	fpu_save(c);
	save_segments(c);
}

// IRQs off.
static __noinline void load(struct user_context *c)
{
	u64 end = (uintptr_t)(&c->frame + 1);

	gdt_set_trap_stack(end);
	this_cpu_write(user_frame_end, end);
	fpu_load(c);
	load_segments(c);
	this_cpu_write(holds, c);
	c->cpu = cpu_id();
}

static __always_inline bool is_canonical(u64 va) { return (u64)((s64)(va << 16) >> 16) == va; }

static __always_inline bool may_sysret(const struct trap_frame *f)
{
	return f->vector == VEC_CALL && f->rcx == f->rip && f->r11 == f->rflags && f->rip < USER_END &&
	       !(f->rflags & (RFLAGS_TF | RFLAGS_RF));	// SYSRET clears RF, and a trap flag comes one instruction late
}

// What Linux makes of an exception; of all others SIGSEGV and SI_KERNEL.
static const struct { u8 signal, code; bool at_rip; } signals[VEC_IRQ_FIRST] = {
	[VEC_DE] = { SIGFPE, FPE_INTDIV, true }, [VEC_DB] = { SIGTRAP, TRAP_BRKPT, true }, [VEC_BP] = { SIGTRAP, SI_KERNEL },
	[VEC_UD] = { SIGILL, ILL_ILLOPN, true }, [VEC_NP] = { SIGBUS, SI_KERNEL }, [VEC_SS] = { SIGBUS, SI_KERNEL },
	[VEC_MF] = { SIGFPE, 0, true }, [VEC_AC] = { SIGBUS, BUS_ADRALN }, [VEC_XM] = { SIGFPE, 0, true },
};

// The processor's debug status, which it never clears by itself.
static bool was_single_step(void)
{
	u64 dr6;

	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	__asm__ volatile("mov %0, %%dr6" :: "r"(0xffff0ff0ull));
	return dr6 >> 14 & 1;
}

// IRQs off, since the trap.
static void describe(struct user_context *c)
{
	const struct trap_frame *f = &c->frame;
	struct user_fault *fault = &c->fault;

	*fault = (struct user_fault){ .trap = f->vector, .error = f->error };
	// The program's own access. One that the processor makes to its tables, as when a segment is loaded, is not served
	// by putting a page there.
	if (f->vector == VEC_PF && f->error & 4) {
		__asm__ volatile("mov %%cr2, %0" : "=r"(fault->addr));
		fault->write = f->error & 2;
		fault->exec = f->error & 16;
		if (fault->addr >= USER_END)	// the program is not to learn what the kernel has mapped
			fault->error |= 1;
		return;
	}
	fault->signal = signals[f->vector].signal ?: SIGSEGV;
	fault->code = signals[f->vector].code ?: SI_KERNEL;
	fault->addr = signals[f->vector].at_rip ? f->rip : 0;
	if (f->vector == VEC_DB && was_single_step())
		fault->code = TRAP_TRACE;
	if (f->vector == VEC_MF || f->vector == VEC_XM) {
		fpu_save(c);
		fault->code = fpu_exception(c, f->vector == VEC_XM);
	}
}

static enum user_exit refuse_rip(struct user_context *c)
{
	c->fault = (struct user_fault){ .signal = SIGSEGV, .code = SI_KERNEL, .from_call = true, .trap = VEC_GP };
	return USER_FAULT;
}

enum user_exit arch_user_run(struct user_context *c)
{
	struct trap_frame *f = &c->frame;

	if (unlikely(!is_canonical(f->rip)))
		return refuse_rip(c);
	irq_disable();
	if (unlikely(READ_ONCE(c->work))) {
		irq_enable();
		return USER_INTERRUPT;
	}
	if (unlikely(!user_held_here(c)))
		load(c);
	irqsoff_end();
	user_enter(c, may_sysret(f));
	if (likely(f->vector == VEC_CALL)) {
		irq_enable();
		return USER_CALL;
	}
	if (trap_in_user_mode(f)) {
		irq_enable();
		return USER_INTERRUPT;
	}
	describe(c);
	irq_enable();
	return USER_FAULT;
}

#define SYSCALL_LENGTH 2
void arch_user_restart_as(struct user_context *c, u64 number)
{
	c->frame.rip -= SYSCALL_LENGTH;
	c->frame.rax = number;
}
void arch_user_restart(struct user_context *c) { arch_user_restart_as(c, c->frame.error); }

vaddr_t arch_user_pc(const struct user_context *c) { return c->frame.rip; }
vaddr_t arch_user_sp(const struct user_context *c) { return c->frame.rsp; }
void arch_user_set_sp(struct user_context *c, vaddr_t sp) { c->frame.rsp = sp; }

// A base in the kernel's half would have the sign by which the paranoid entries know the kernel's GS. The selector
// becomes null, as in Linux.
static int set_base(struct user_context *c, u16 *segment, u64 *to, vaddr_t base)
{
	irqflags_t flags;
	bool held;

	if (base >= USER_END - PAGE_SIZE)	// the last page is nobody's, as in Linux
		return -EPERM;
	flags = irq_save();
	held = user_held_here(c);
	if (held)
		save_segments(c);
	*segment = 0;
	*to = base;
	if (held)
		load_segments(c);
	irq_restore(flags);
	return 0;
}

int arch_user_set_tls(struct user_context *c, vaddr_t base) { return set_base(c, &c->fs, &c->fs_base, base); }
int arch_user_set_gs(struct user_context *c, vaddr_t base) { return set_base(c, &c->gs, &c->gs_base, base); }

static vaddr_t get_base(const struct user_context *c, const u64 *saved, u32 msr)
{
	irqflags_t flags = irq_save();
	vaddr_t v = user_held_here(c) ? rdmsr(msr) : *saved;

	irq_restore(flags);
	return v;
}

vaddr_t arch_user_tls(const struct user_context *c) { return get_base(c, &c->fs_base, MSR_FS_BASE); }
vaddr_t arch_user_gs(const struct user_context *c) { return get_base(c, &c->gs_base, MSR_KERNEL_GS_BASE); }

u64 arch_user_hwcap(void) { return cpuid(1).edx; }

void arch_user_print(const struct user_context *c)
{
	const struct trap_frame *f = &c->frame;
#define L(r) (unsigned long long)f->r
	log_error("rip %016llx rsp %016llx rflags %08llx error %llx", L(rip), L(rsp), L(rflags), L(error));
	log_error("rax %016llx rbx %016llx rcx %016llx rdx %016llx", L(rax), L(rbx), L(rcx), L(rdx));
	log_error("rsi %016llx rdi %016llx rbp %016llx fs  %016llx", L(rsi), L(rdi), L(rbp), (unsigned long long)arch_user_tls(c));
	log_error("r8  %016llx r9  %016llx r10 %016llx r11 %016llx", L(r8), L(r9), L(r10), L(r11));
	log_error("r12 %016llx r13 %016llx r14 %016llx r15 %016llx", L(r12), L(r13), L(r14), L(r15));
#undef L
}
