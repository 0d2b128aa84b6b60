// SPDX-License-Identifier: MIT
// table_free=targeted: a walker says which space it walks, and the freeing side interrupts just the CPUs that walk
// this one (proposed for Linux in 2026: targeted sync IPIs).
//
//	walker                                    freeing side
//	------                                    ------------
//	interrupts off                            clear the entries; flush
//	slot[nesting] = space                     full barrier
//	full barrier                    <-A->     read all slots
//	read the root's entry, …                  sync IPI to the CPUs found
//	slot[nesting] = NULL (release)
//
// A: store buffering, forbidden by the two full barriers: either the freeing side finds the walker's slot, or the
// walker finds the cleared entry. A CPU that is found answers the sync IPI with interrupts on, so its walk, and every
// walk nested in it, has ended. One slot per nesting level: a walk in an NMI must not take the slot of the walk that it
// has interrupted.
#include "kernel/cpumask.h"
#include "kernel/panic.h"
#include "kernel/xcall.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "mm/table.h"
#include "mm/walk_body.h"

#define NESTINGS 2	// task or interrupt (interrupts are off in a walk), NMI. (A machine check walks nothing: it is fatal)
struct walk_slots {
	const struct space *walked[NESTINGS];
} __cacheline;
static DEFINE_PER_CPU(struct walk_slots, walk_slots);

static const struct table_policy targeted_policy;

static __always_inline const struct space **own_slot(void)
{
	unsigned nesting = in_nmi();

	if (MUTANT(targeted_one_slot))	// a walk in an NMI takes the slot of the one that it has interrupted
		nesting = 0;
	return &this_cpu_ptr(&walk_slots)->walked[nesting];
}

static __always_inline void targeted_enter(struct walk_state *w)
{
	if (!MUTANT(targeted_no_publish))	// the Dekker race: no slot is seen before the walk's reads
		WRITE_ONCE(*own_slot(), w->space);
	smp_mb();	// A: published before the first entry is read; pairs with find_walkers()
	STALL(targeted_entered, w->space, 0, 0);	// interrupts off, slot published
}

static __always_inline void targeted_exit(struct walk_state *w)
{
	store_release(own_slot(), NULL);	// after the walk's reads
}

static void find_walkers(const struct space *space, struct cpumask *found)
{
	cpumask_zero(found);
	smp_mb();	// A: the entries are cleared before the slots are read; pairs with targeted_enter()
	for_each_cpu(cpu)
		for (unsigned i = 0; i < NESTINGS; i++)
			if (load_acquire(&per_cpu(walk_slots, cpu).walked[i]) == space)
				cpumask_set(found, cpu);
}

// This thread may have moved to one of the CPUs found. sync_ipi() leaves that one out: its walk has ended, because we
// run there with interrupts on.
static void targeted_wait(struct space *space)
{
	struct cpumask walkers;

	find_walkers(space, &walkers);
	if (!cpumask_empty(&walkers))
		sync_ipi(&walkers);
}

static void targeted_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	targeted_wait(space);
	tables_free(tables, &targeted_policy);
}

DEFINE_TABLE_POLICY(targeted, "targeted",
	.lineage = "targeted sync IPIs, proposed for Linux in 2026",
	.walker = WALKER_IRQS_OFF,
	.waits = WAIT_OWN,
	.enter = targeted_enter,
	.exit = targeted_exit,
	.free = targeted_free,
	.wait = targeted_wait);
