// SPDX-License-Identifier: MIT
// Interrupts between CPUs: physical destinations, one send per target.
#include "arch/x86_64/ipi.h"
#include "arch/x86_64/apic.h"
#include "arch/x86_64/smp.h"
#include "arch/x86_64/traps.h"
#include "kernel/irq.h"
#include "kernel/sched.h"
#include "kernel/xcall.h"
#include <arch/ipi.h>
#include <arch/percpu.h>

static const u32 icr_command[] = {
	[IPI_XCALL] = ICR_FIXED | ICR_ASSERT | VEC_XCALL,
	[IPI_RESCHED] = ICR_FIXED | ICR_ASSERT | VEC_RESCHED,
	[IPI_NMI] = ICR_NMI | ICR_ASSERT,
};

// The barriers order the sender's request (a queue entry, a flag) before the interrupt that makes the target look.
void arch_send_ipi(unsigned cpu, enum ipi kind)
{
	smp_mb();
	apic_send(cpu_apic_id[cpu], icr_command[kind]);
}

void arch_send_ipi_mask(const struct cpumask *mask, enum ipi kind)
{
	unsigned self = cpu_id();

	smp_mb();
	for_each_cpu_in(cpu, mask)
		if (cpu != self)
			apic_send(cpu_apic_id[cpu], icr_command[kind]);
}

// Acknowledged last, so that the CPUs that wait are answered sooner. A request that comes while the handler runs is not
// lost: its interrupt waits in the APIC (IRR) until the acknowledgement, and then makes the handler run again.
static void xcall_handler(struct trap_frame *f)
{
	xcall_interrupt();
	apic_eoi();
}

static void resched_handler(struct trap_frame *f)
{
	apic_eoi();
	ipi_reschedule();
}

void ipi_init(void)
{
	arch_set_irq_handler(VEC_XCALL, xcall_handler);
	arch_set_irq_handler(VEC_RESCHED, resched_handler);
}
