// SPDX-License-Identifier: MIT
// Each CPU says which space it walks, so that the freeing side can wait for just those that walk this one. For policies
// whose walkers keep interrupts off; each has slots of its own.
//
//	walker                                    freeing side
//	------                                    ------------
//	interrupts off                            clear the entries; flush
//	slot[nesting] = space                     full barrier
//	full barrier                    <-A->     read the slots
//	read the root's entry, …                  sync IPI to the CPUs found
//	slot[nesting] = NULL (release)
//
// A: store buffering, forbidden by the two full barriers: either the freeing side finds the walker's slot, or the
// walker finds the cleared entry. A CPU that is found answers the sync IPI with interrupts on, so its walk, and every
// walk nested in it, has ended. One slot per nesting level: a walk in an NMI must not take the slot of the walk that it
// has interrupted.
#pragma once
#include "kernel/cpumask.h"
#include "kernel/preempt.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "mm/space.h"

#define WALKED_NESTINGS 2	// task or interrupt (interrupts are off in a walk), NMI. (A machine check walks nothing: it is fatal)
struct walked_slots {
	const struct space *walked[WALKED_NESTINGS];
} __cacheline;

static __always_inline const struct space **walked_own(struct walked_slots *own)
{
	unsigned nesting = in_nmi();

	if (MUTANT(targeted_one_slot))	// a walk in an NMI takes the slot of the one that it has interrupted
		nesting = 0;
	return &own->walked[nesting];
}

// Before the walk's first read. Interrupts off.
static __always_inline void walked_publish(struct walked_slots *own, const struct space *space)
{
	if (!MUTANT(targeted_no_publish))	// the Dekker race: no slot is seen before the walk's reads
		WRITE_ONCE(*walked_own(own), space);
	smp_mb();	// A: published before the first entry is read; pairs with walked_find()
	STALL(walked_published, space, 0, 0);	// interrupts off, slot published
}

static __always_inline void walked_withdraw(struct walked_slots *own)
{
	store_release(walked_own(own), NULL);	// after the walk's reads
}

// Does any CPU's slot (`slots`: a per-CPU variable) name the space? `found`: the CPUs that do; not written if there is
// none. Those in `but` (NULL: none) are not looked at. Any context. The caller waits for them by sync_ipi(). That leaves
// out the CPU that it runs on by then: a walk that was found there has ended, because we run there with interrupts on.
bool walked_find(const struct walked_slots *slots, const struct space *space, const struct cpumask *but,
		 struct cpumask *found);
