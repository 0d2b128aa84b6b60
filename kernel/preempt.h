// SPDX-License-Identifier: MIT
// Where am I: preemption, interrupt and NMI nesting, all in one per-CPU word. A context switch happens only at depth 0
// (schedule() itself raises it to 1), so the word needs no saving.
#pragma once
#include "kernel/sched.h"	// preempt_resched()
#include <arch/percpu.h>
#include <arch/irq.h>

DECLARE_PER_CPU(u32, preempt_count);	// bits 0-15 preempt depth, 16-19 interrupt depth, 20-23 NMI depth
// Set on the own CPU only: by a wake-up there, its tick, the reschedule IPI, and RCU's expedited call.
DECLARE_PER_CPU(bool, need_resched);

#define PREEMPT_ONE 1u
#define HARDIRQ_ONE (1u << 16)
#define NMI_ONE (1u << 20)

static inline bool in_nmi(void) { return this_cpu_read(preempt_count) >= NMI_ONE; }
static inline bool in_irq(void) { return this_cpu_read(preempt_count) >= HARDIRQ_ONE; }	// interrupt or NMI
static inline bool preemptible(void) { return this_cpu_read(preempt_count) == 0 && irqs_enabled(); }
// May this context sleep or wait for another CPU?
#define ASSERT_MAY_SLEEP() ASSERT(preemptible())

static __always_inline void preempt_disable(void)
{
	this_cpu_inc(preempt_count);
	barrier();
}
static __always_inline void preempt_enable(void)
{
	barrier();
	this_cpu_dec(preempt_count);
	if (unlikely(this_cpu_read(need_resched)))
		preempt_resched();
}
static __always_inline void preempt_enable_no_resched(void)
{
	barrier();
	this_cpu_dec(preempt_count);
}
