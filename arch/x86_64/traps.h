// SPDX-License-Identifier: MIT
// Traps: exceptions, interrupts, NMIs. The stubs (traps.asm) build a frame, decide on GS, and call trap_dispatch().
#pragma once
#include "kernel/types.h"

// Vectors of the architecture; interrupts (timer, IPIs, spurious) take VEC_IRQ_FIRST and above.
enum {
	VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_UD = 6, VEC_DF = 8, VEC_NP = 11,
	VEC_SS = 12, VEC_GP = 13, VEC_PF = 14, VEC_MF = 16, VEC_AC = 17, VEC_MC = 18, VEC_XM = 19, VEC_IRQ_FIRST = 32,
	NR_VECTORS = 256,
	VEC_CALL = 256,		// not a vector: a frame built by the entry of SYSCALL
};

struct trap_frame {	// as the stubs push it
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	u32 vector;
	u32 quiescent;	// set by trap_dispatch() or trap_in_user_mode(), before the interrupt depth rises
	u64 error;	// the CPU's error code, or 0; of a system call its number
	u64 rip, cs, rflags, rsp, ss;
};
_Static_assert(sizeof(struct trap_frame) == 22 * 8, "shared with trap_frame.inc");

// Was the interrupted context a quiescent state for RCU: user mode, or preemption depth 0 with interrupts on? False for
// the idle loop (depth 1), which RCU and time_interrupt() recognise by themselves.
static inline bool trap_was_quiescent(const struct trap_frame *f) { return f->quiescent; }
static inline bool trap_from_user(const struct trap_frame *f) { return f->cs & 3; }

// The handler of an interrupt vector (VEC_IRQ_FIRST …): runs between irq_enter() and irq_exit(), IRQs off, and
// acknowledges at the APIC itself. A vector without a handler goes to stray_interrupt().
void arch_set_irq_handler(u8 vector, void (*fn)(struct trap_frame *));
void trap_dispatch(struct trap_frame *f);		// called by the stubs only
// User mode has ended by a trap, whose frame this is; IRQs off. True: an interrupt, which has been dealt with.
bool trap_in_user_mode(struct trap_frame *f);
// The innermost interrupt, NMI or fatal exception that this CPU is in, or NULL.
const struct trap_frame *trap_current(void);
