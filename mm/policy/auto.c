// SPDX-License-Identifier: MIT
// table_free=auto: as targeted, but the freeing side waits only for what this very flush has not proved. A CPU that has
// taken the flush's maskable call after the tables were unlinked has ended every walk with interrupts off that it was in:
// to interrupt it again would prove nothing new. So with tlb_flush=ipi almost only walkers of a space that their CPU has
// not loaded are waited for, and the back-ends that interrupt nobody get the wait that they need. Which of the two it is, is
// decided for each CPU and each flush, not when the kernel is built or boots.
//
// What it rests on:
//   * A back-end reports a CPU only after that CPU has taken a call of this flush (mm/flush/flush.h). The set travels
//     with what was gathered, through a deferred record as well. A back-end that reports nobody has proved nothing.
//   * All other CPUs' slots are read, those of their NMIs too, and also when the flush found nobody to go to: a walker of
//     a space that its CPU has not loaded is in no mask.
//   * A walk that a proved CPU has begun since it took the call began after the unlinking, and finds the cleared entry.
// A table that is reused without being freed is waited for as under targeted: `wait` knows of no flush.
#include "kernel/xcall.h"
#include "lab/counter.h"
#include "mm/policy/walked.h"
#include "mm/table.h"
#include "mm/walk_body.h"

static DEFINE_PER_CPU(struct walked_slots, auto_slots);

static const struct table_policy auto_policy;

static __always_inline void auto_enter(struct walk_state *w)
{
	walked_publish(this_cpu_ptr(&auto_slots), w->space);
}

static __always_inline void auto_exit(struct walk_state *w) { walked_withdraw(this_cpu_ptr(&auto_slots)); }

static void auto_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	struct cpumask walkers;

	if (walked_find(&auto_slots, space, proved, &walkers)) {
		count_add(walkers_awaited, cpumask_weight(&walkers));
		sync_ipi(&walkers);
	}
	tables_free(tables, &auto_policy);
}

static void auto_wait(struct space *space)
{
	struct cpumask walkers;

	if (walked_find(&auto_slots, space, NULL, &walkers))
		sync_ipi(&walkers);
}

DEFINE_TABLE_POLICY(auto, "auto",
	.lineage = "skip the sync IPI where the flush was one: Linux on RISC-V 2024, proposed for x86 in 2026",
	.walker = WALKER_IRQS_OFF,
	.waits = WAIT_REST,
	.enter = auto_enter,
	.exit = auto_exit,
	.free = auto_free,
	.wait = auto_wait);
