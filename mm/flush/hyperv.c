// SPDX-License-Identifier: MIT
// tlb_flush=hyperv: the hypervisor flushes, by one hypercall for all targets: HvCallFlushVirtualAddressSpace or …List
// (their …Ex forms where a virtual processor's number is 64 or more). No target is interrupted. If the hypervisor refuses,
// the targets get the shootdown IPI.
//
// Ordering: the change of the entries and the reading of the masks come before the hypercall (tlb.h), which is a full
// barrier; when it returns, each target's TLB has been flushed, or will be before the target's next instruction if it
// is not running. A CPU in the middle of tlb_join() has cached nothing of the space before it loads the root, and after
// that the flush covers it.
//
// Generations: a target's cpu_tlb.gen stays behind, because the target itself runs nothing. As with `pv` (flush/pv.c)
// that errs to the safe side: a later flush finds gen + 1 != f->gen and flushes all, a return from lazy use flushes
// once more. A lazy CPU keeps the root, though tables are freed; it cannot reach an unlinked table from it, and
// tlb_evict() sends an IPI before the root is freed.
//
// Which form: the list only where no table is freed. Its specification promises that the translations of the listed
// addresses are dropped. That cached upper entries are dropped too is promised only by the form for the whole space.
//
// What completion does not prove: that a walk with interrupts off has ended. The hypervisor does not ask the interrupt
// flag.
#include <arch/hyperv.h>
#include "kernel/xcall.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/swmmu.h"
#include "mm/tlb.h"

static bool hypervisor_flushes(const struct flush *f, const struct cpumask *targets)
{
	u64 pages = f->full || f->freed_tables ? 0 : (f->end - f->start) >> level_shift(f->level);

	if (cpumask_empty(targets))
		return true;
	if (CHECK && flush_hypercall_hook)
		return flush_hypercall_hook(f, targets);
	return arch_hyperv_flush(f->space->root_pa, f->start, pages, f->level, targets);
}

static void flush_hyperv(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	irqflags_t flags = irq_save();
	bool done;

	tlb_flush_here(f);
	irq_restore(flags);
	done = hypervisor_flushes(f, targets);
	for_each_cpu_in(cpu, targets)
		if (CHECK && done)
			swmmu_vouch(cpu);	// the hypervisor's flush cannot be seen from here
	if (!done) {
		count(flush_hv_fallbacks);
		xcall_mask(targets, tlb_flush_handler, (void *)f);
		cpumask_or(proved, targets);
	}
	if (MUTANT(hyperv_claims_fallback))	// it may fall back to IPIs, so it is taken to have done so
		cpumask_or(proved, targets);
}

static const struct flush_backend hyperv_backend = {
	.name = "hyperv",
	.missing = arch_hyperv_missing,
	.proves_irqs_off_walks_ended = false,
	.reports = true,
	.spares_robbed = true,
	.unseen = true,
	.flush = flush_hyperv,
};
REGISTER(backends, hyperv_backend);
