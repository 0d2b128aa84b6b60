// SPDX-License-Identifier: MIT
// The frame around every interrupt and NMI handler. Entry: RCU first, because an interrupt from idle must leave the
// idle state before anything that could be a reader; then the nesting count. Exit: in reverse order.
#include "kernel/irq.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "kernel/rcu/rcu.h"
#include "kernel/time.h"
#include "lab/irqsoff.h"

DEFINE_PER_CPU(u64, interrupts);

void irq_enter(void)
{
	irqsoff_begin();
	rcu_irq_enter();
	this_cpu_add(preempt_count, HARDIRQ_ONE);
	this_cpu_inc(interrupts);
	barrier();
}

void irq_exit(void)
{
	barrier();
	ASSERT(in_irq() && !in_nmi() && !irqs_enabled());
	this_cpu_add(preempt_count, -HARDIRQ_ONE);
	rcu_irq_exit();
}

// An NMI may come between any two lines of irq_enter() or irq_exit(): RCU counts the depth of entries by itself
// (rcu/idle.c).
void nmi_enter(void)
{
	rcu_nmi_enter();
	this_cpu_add(preempt_count, NMI_ONE);
	this_cpu_inc(interrupts);
	barrier();
}

void nmi_exit(void)
{
	barrier();
	this_cpu_add(preempt_count, -NMI_ONE);
	rcu_nmi_exit();
}
