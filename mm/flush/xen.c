// SPDX-License-Identifier: MIT
// tlb_flush=xen: the hypervisor flushes, by one hypercall (HVMOP_flush_tlbs) that takes no argument: all CPUs of this
// machine, all that their TLBs hold. No target is interrupted as far as this kernel can see; a CPU that runs leaves the
// guest for a moment, one that is descheduled is marked and flushed before its next instruction. If the hypervisor
// refuses, the targets get the shootdown IPI.
//
// Ordering and generations are those of `hyperv` (flush/hyperv.c): the change of the entries and the reading of the masks
// come before the hypercall, which is a full barrier; a target's cpu_tlb.gen stays behind, which errs to the safe side;
// a CPU in lazy TLB mode keeps the root, and can reach no unlinked table from it.
//
// The hypercall has no set of CPUs, and every CPU pays for it. So it is made only if some other CPU has to flush.
//
// What completion does not prove: that a walk with interrupts off has ended. Xen waits until the processors on which the
// other vCPUs run have left the guest, which the guest's interrupt flag does not delay, and does not wait for a vCPU that
// is descheduled.
#include <arch/xen.h>
#include "kernel/xcall.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/swmmu.h"
#include "mm/tlb.h"

static bool hypervisor_flushes(const struct flush *f, const struct cpumask *targets)
{
	if (CHECK && flush_hypercall_hook)
		return flush_hypercall_hook(f, targets);
	return arch_xen_flush();
}

static void flush_xen(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	irqflags_t flags = irq_save();

	tlb_flush_here(f);
	irq_restore(flags);
	if (cpumask_empty(targets))
		return;
	if (!hypervisor_flushes(f, targets)) {
		count(flush_xen_fallbacks);
		xcall_mask(targets, tlb_flush_handler, (void *)f);
		cpumask_or(proved, targets);
		return;
	}
	for_each_cpu_in(cpu, targets)
		if (CHECK)
			swmmu_vouch(cpu);	// the hypervisor's flush cannot be seen from here
	if (MUTANT(xen_claims_fallback))	// it may fall back to IPIs, so it is taken to have done so
		cpumask_or(proved, targets);
}

static const struct flush_backend xen_backend = {
	.name = "xen",
	.missing = arch_xen_missing,
	.proves_irqs_off_walks_ended = false,
	.reports = true,
	.spares_robbed = true,
	.unseen = true,
	.flush = flush_xen,
};
REGISTER(backends, xen_backend);
