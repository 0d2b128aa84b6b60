// SPDX-License-Identifier: MIT
// Interrupts of one CPU: bits in a per-CPU word.
#pragma once
#include "arch/host/cpu.h"

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

void host_raise(unsigned cpu, u32 bit);	// HOST_*: set it pending and wake the CPU; any pthread
void host_poll(void);	// take what is pending, as far as the interrupt flag allows
void host_relax(void);
void host_halt(void);	// turns interrupts on
void host_fence(void);
