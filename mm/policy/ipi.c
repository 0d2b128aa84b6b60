// SPDX-License-Identifier: MIT
// table_free=ipi: the shootdown is the wait (native x86 Linux until 2025). The walker keeps interrupts off, so it
// answers the flush only after its walk: when every target has answered, no walk that began before the unlink is left.
//
// The flush targets the CPUs that have the space loaded. A walker of a space that is not loaded on its CPU would not be
// among them, so it first joins the space's walker mask:
//
//	walker:        set own bit, full barrier, read the root's entries
//	freeing side:  clear the entry, full barrier, read the mask (tlb_flush)
//
// Either the freeing side sees the bit and waits for this CPU, or the walker sees the cleared entry.
#include "kernel/xcall.h"
#include "lab/mutant.h"
#include "mm/table.h"
#include "mm/tlb.h"
#include "mm/walk_body.h"

static const struct table_policy ipi_policy;

static __always_inline void ipi_enter(struct walk_state *w)
{
	unsigned cpu = cpu_id();

	w->joined = false;
	if (likely(tlb_space_loaded_here(w->space)))
		return;
	if (MUTANT(ipi_no_join))	// a remote walker is in no mask
		return;
	// Interrupts are off, and no walk runs in an NMI today. If one did nest inside another walk, only the outer
	// walk would join the mask, and only that one would leave it.
	if (!cpumask_test(&w->space->walkers, cpu)) {
		cpumask_set_atomic(&w->space->walkers, cpu);	// LOCKed, so a full barrier: pairs with tlb_flush()
		w->joined = true;
	}
}

static __always_inline void ipi_exit(struct walk_state *w)
{
	if (unlikely(w->joined))
		cpumask_clear_atomic(&w->space->walkers, cpu_id());
}

static void ipi_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	tables_free(tables, &ipi_policy);
}

static void ipi_wait(struct space *space) { sync_ipi(NULL); }

DEFINE_TABLE_POLICY(ipi, "ipi",
	.lineage = "native x86 Linux until 2025",
	.walker = WALKER_IRQS_OFF,
	.waits = WAIT_FLUSH,
	.walkers_are_targets = true,
	.enter = ipi_enter,
	.exit = ipi_exit,
	.free = ipi_free,
	.wait = ipi_wait);
