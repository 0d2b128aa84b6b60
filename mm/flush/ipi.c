// SPDX-License-Identifier: MIT
// tlb_flush=ipi: the shootdown IPI. Each target flushes in its interrupt handler and the sender waits for all: a target
// that answers has had interrupts on, so every walk with interrupts off that ran there before has ended.
#include "kernel/xcall.h"
#include "mm/tlb.h"

void flush_by_ipi(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	irqflags_t flags;

	xcall_mask_start(targets, tlb_flush_handler, (void *)f);
	flags = irq_save();		// flush here while the others do
	tlb_flush_here(f);
	irq_restore(flags);
	xcall_mask_wait();
	cpumask_or(proved, targets);
}

static const struct flush_backend ipi_backend = {
	.name = "ipi",
	.proves_irqs_off_walks_ended = true,
	.reports = true,
	.flush = flush_by_ipi,
};
REGISTER(backends, ipi_backend);
