// SPDX-License-Identifier: MIT
// Which CPU is this? A CPU is a pthread; its thread-local word is the distance from the per-CPU template to its copy.
//
// Kernel threads migrate between pthreads in arch_switch(), so a thread-local *address* that the compiler keeps across a
// call would be another CPU's. The word is therefore always read in one instruction, relative to the thread pointer.
#pragma once
#include "kernel/types.h"

extern __thread uintptr_t host_cpu_offset;	// 0: not a CPU (the timer thread, or before main)

static __always_inline uintptr_t host_offset(void)
{
	uintptr_t offset;

	__asm__ volatile("movq %%fs:host_cpu_offset@tpoff, %0" : "=r"(offset));
	return offset;
}
#define host_this(v) ((__typeof__(v) *)((uintptr_t)&(v) + host_offset()))

// Interrupts of one CPU; a per-CPU variable.
enum { HOST_NMI = 1 << 0, HOST_XCALL = 1 << 1, HOST_RESCHED = 1 << 2, HOST_TIMER = 1 << 3,
       HOST_STEP = 1 << 4 };	// no interrupt: always set under the deterministic scheduler, so that each yield point polls
struct host_irq {
	u32 pending;		// HOST_* bits, set by anyone; also the futex on which the CPU halts
	u32 halted;		// senders must wake the futex
	u8 enabled;		// the interrupt flag. Own CPU
	u8 nmi_blocked;		// inside an NMI handler. Own CPU
	u32 relaxed;		// cpu_relax() calls. Own CPU
	uintptr_t interrupted;	// frame pointer of the innermost interrupted context, for backtraces. Own CPU
	uintptr_t fault;	// frame pointer where a fatal signal came; 0: none has. Own CPU
} __cacheline;
extern __attribute__((section("percpu"))) struct host_irq host_irq;

void host_poll(void);		// take what is pending, as far as the interrupt flag allows
void host_relax(void);
void host_fence(void);
