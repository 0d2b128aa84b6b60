// SPDX-License-Identifier: MIT
// tlb_flush=nmi: the shootdown comes as an NMI and so reaches a CPU with interrupts off. It stands, and can be tested
// everywhere, for all that flushes without asking the interrupt flag (AMD INVLPGB, Intel RAR, hypercalls): its
// completion says nothing about a walk with interrupts off.
//
// NMIs coalesce: several that are sent before the target takes the first are one. So a target has two counters, of
// requests and of requests served, and its handler serves all that it finds:
//
//	requester                                  target's NMI handler
//	---------                                  --------------------
//	change the entries                         n = requested
//	ticket = ++requested   (full barrier)      flush what is loaded
//	send the NMI                               served = n
//	wait until served >= ticket
//
// The handler reads `requested` before it flushes, so a request that it counts as served was made, and the entries were
// changed, before the flush. A request after that read has its own NMI, which is pending until the handler has ended.
//
// The NMI may land anywhere, also where interrupts are off because this CPU's state is being changed. So the handler
// touches none of that state: it reloads the root that is loaded at this instant, which drops all that is not global.
//   * tlb_join(), before the new root is loaded: the load drops everything by itself, and what is cached after it was
//     read after the change. After the load: the reload is the flush. Between the reading of space->gen and the load,
//     tlb.gen may get a generation that the load covers: still true.
//   * tlb_leave(): whichever root is loaded at the end, nothing from before the NMI is cached.
//   * tlb_flush_here(), in the middle of its loop, or between the flush and `tlb.gen = …`: more is dropped than it needs.
//   * tlb_unlazy(): it flushes once too often at the worst.
// The handler leaves tlb.gen alone, so that it lags. That is always safe: tlb.gen promises that all flushes up to it are
// done here, and a flush that finds a gap flushes everything.
// A lazy CPU whose tables are to be freed need not leave the root as it does for an IPI: after the reload nothing leads
// to the unlinked tables, and the root stays until tlb_evict().
#include "kernel/preempt.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/trace.h"
#include "mm/inval.h"
#include "mm/tlb.h"
#include <arch/ipi.h>
#include <arch/machine.h>

struct nmi_flush {
	u64 requested;		// by any CPU
	u64 served __cacheline;	// by its own CPU, in its NMI handler
	u64 ticket[NR_CPUS];	// what this CPU waits for, by target; with preemption off
};
static DEFINE_PER_CPU(struct nmi_flush, nmi_flush);

static void serve(void)
{
	struct nmi_flush *n = this_cpu_ptr(&nmi_flush);
	u64 requested = load_acquire(&n->requested);	// pairs with the fetch_add: the changed entries are visible

	if (requested == READ_ONCE(n->served))
		return;			// somebody else's NMI
	trace(EV_NMI_BEGIN, 0);
	count(flush_local);
	count(flush_full);
	if (!MUTANT(nmi_no_flush))
		inval_user();
	STALL(nmi_flushed, NULL, 0, 0);	// flushed for all that was read as requested; not yet marked as served
	if (MUTANT(nmi_late_ticket))	// a request that came after the flush is taken as served
		requested = load_acquire(&n->requested);
	trace(EV_NMI_END, 0);
	store_release(&n->served, requested);
	STALL(nmi_served, NULL, 0, 0);	// served, and still in the handler: the next NMI waits
}
NMI_HANDLER(serve);

static void flush_nmi(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	u64 *ticket = this_cpu_ptr(&nmi_flush)->ticket;
	irqflags_t flags;

	for_each_cpu_in(cpu, targets) {
		trace(EV_NMI_SENT, cpu);
		ticket[cpu] = fetch_add(&per_cpu(nmi_flush, cpu).requested, 1) + 1;
	}
	count_add(flush_nmi, cpumask_weight(targets));
	arch_send_ipi_mask(targets, IPI_NMI);
	flags = irq_save();		// flush here while the others do
	tlb_flush_here(f);
	irq_restore(flags);
	for_each_cpu_in(cpu, targets)
		spin_until(load_acquire(&per_cpu(nmi_flush, cpu).served) >= ticket[cpu], "flush by NMI", cpu);
}

static const struct flush_backend nmi_backend = {
	.name = "nmi",
	.proves_irqs_off_walks_ended = false,
	.flush = flush_nmi,
};
REGISTER(backends, nmi_backend);
