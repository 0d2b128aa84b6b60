// SPDX-License-Identifier: MIT
// What to do about a trap. traps.asm has built the frame; interrupts are off.
#include "arch/x86_64/apic.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/stack.h"
#include "arch/x86_64/stray.h"
#include "arch/x86_64/traps.h"
#include "arch/x86_64/uaccess.h"
#include "kernel/errno.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "kernel/sched.h"
#include "mm/space.h"
#include <arch/machine.h>
#include <arch/tlb.h>
#include <arch/uaccess.h>

static const char *const names[VEC_IRQ_FIRST] = {
	"divide error", "debug", "NMI", "breakpoint", "overflow", "bound range", "invalid opcode", "no FPU", "double fault",
	"coprocessor overrun", "invalid TSS", "segment not present", "stack fault", "general protection", "page fault",
	[16] = "x87 error", "alignment check", "machine check", "SIMD error", "virtualization", "control protection",
	[28] = "hypervisor injection", "VMM communication", "security",
};

#define HLT_LENGTH 1
extern const char idle_hlt[];	// switch.asm

static void (*irq_handlers[NR_VECTORS])(struct trap_frame *);
static DEFINE_PER_CPU(const struct trap_frame *, innermost);

const struct trap_frame *trap_current(void) { return this_cpu_read(innermost); }

void arch_set_irq_handler(u8 vector, void (*fn)(struct trap_frame *))
{
	BUG_ON(vector < VEC_IRQ_FIRST);
	store_release(&irq_handlers[vector], fn);	// pairs with load_acquire in interrupt()
}

static u64 read_cr2(void)
{
	u64 v;

	__asm__ volatile("mov %%cr2, %0" : "=r"(v));
	return v;
}

// Of vectors below VEC_IRQ_FIRST only.
static _Noreturn void fatal(struct trap_frame *f)
{
	u64 cr2 = read_cr2();
	const char *name = names[f->vector];

	this_cpu_write(innermost, f);
	if (f->vector == VEC_DF && stack_is_guard(cr2))
		panic("kernel stack overflow at 0x%llx", (unsigned long long)cr2);
	if (f->vector == VEC_PF)
		panic("page fault: %s of 0x%llx%s", f->error & 16 ? "execution" : f->error & 2 ? "write" : "read",
		      (unsigned long long)cr2, f->error & 1 ? " against its permissions" : ", not mapped");
	panic("%s (vector %u, error code 0x%llx)", name ? name : "reserved exception", f->vector,
	      (unsigned long long)f->error);
}

// User memory touched by the kernel: bring the page in and try again, or leave by the fixup. Everything else is fatal.
static void page_fault(struct trap_frame *f)
{
	u64 cr2 = read_cr2();
	const struct extable_entry *e = extable_find(f->rip);

	if (!e || cr2 >= USER_END)
		fatal(f);
	if (e->may_fault_in && f->quiescent) {		// the interrupted context may sleep
		int error;

		irq_enable();
		error = user_fault_in(cr2, f->error & 2);
		irq_disable();
		irqsoff_end();		// the IRET turns interrupts on, as the fault found them
		if (!error)
			return;
	}
	f->rip = e->fixup;
}

static __always_inline void interrupt(struct trap_frame *f)
{
	void (*handler)(struct trap_frame *) = load_acquire(&irq_handlers[f->vector]);
	const struct trap_frame *outer;

	if (!handler)
		handler = stray_interrupt;
	irq_enter();
	outer = this_cpu_read(innermost);
	this_cpu_write(innermost, f);
	handler(f);
	this_cpu_write(innermost, outer);
	irq_exit();
	irq_preempt();
}

// Runs on a stack of its own. A fault in here would end, by its IRET, the time in which no further NMI is delivered,
// and the next one would overwrite this stack: therefore nothing in here may fault.
static void nmi(struct trap_frame *f)
{
	const struct trap_frame *outer = this_cpu_read(innermost);

	nmi_enter();
	this_cpu_write(innermost, f);
	if (!panic_in_progress()) {
		FOR_EACH_REGISTERED(nmi_handlers, nmi_handler_fn, handler)
			(*handler)();
	} else if (!panic_is_mine()) {
		panic_stop_this_cpu();
	}
	this_cpu_write(innermost, outer);
	nmi_exit();
}

void trap_dispatch(struct trap_frame *f)
{
	if (f->rflags & X86_RFLAGS_AC)
		user_memory_close();	// delivery leaves the flag as it was; IRET restores it
	// An NMI came between STI and HLT. The interrupt that the HLT is to wait for may come next: skip the HLT.
	if (f->rip == (uintptr_t)idle_hlt)
		f->rip += HLT_LENGTH;
	f->quiescent = trap_from_user(f) || (irqs_enabled_in(f->rflags) && !this_cpu_read(preempt_count));
	if (f->vector >= VEC_IRQ_FIRST)
		interrupt(f);
	else if (f->vector == VEC_NMI)
		nmi(f);
	else if (f->vector == VEC_PF)
		page_fault(f);
	else
		fatal(f);
}

// Apart, so that faults, which are more frequent, do not save its registers.
static __noinline void interrupt_in_user_mode(struct trap_frame *f)
{
	f->quiescent = true;
	interrupt(f);
}

bool trap_in_user_mode(struct trap_frame *f)
{
	if (f->rflags & X86_RFLAGS_AC)
		user_memory_close();	// delivery leaves the flag as the program had it
	if (f->vector < VEC_IRQ_FIRST)
		return false;
	interrupt_in_user_mode(f);
	return true;
}

void arch_print_registers(void)
{
	const struct trap_frame *f = trap_current();

	if (!f)
		return;
#define L(r) (unsigned long long)f->r
	log_error("rip %016llx rsp %016llx rflags %08llx cs %02llx ss %02llx", L(rip), L(rsp), L(rflags), L(cs), L(ss));
	log_error("rax %016llx rbx %016llx rcx %016llx rdx %016llx", L(rax), L(rbx), L(rcx), L(rdx));
	log_error("rsi %016llx rdi %016llx rbp %016llx vector %u error %llx", L(rsi), L(rdi), L(rbp), f->vector, L(error));
	log_error("r8  %016llx r9  %016llx r10 %016llx r11 %016llx", L(r8), L(r9), L(r10), L(r11));
	log_error("r12 %016llx r13 %016llx r14 %016llx r15 %016llx", L(r12), L(r13), L(r14), L(r15));
	log_error("cr2 %016llx root %016llx", (unsigned long long)read_cr2(), (unsigned long long)arch_current_root());
#undef L
}
