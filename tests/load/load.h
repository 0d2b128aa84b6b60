// SPDX-License-Identifier: MIT
// The load of mm/: walkers against unmappers on all CPUs, in several spaces, with a bounded amount of work. Every page
// carries a stamp that says to which space and address it belongs, and since when (load/stamp.c), so each pin and each
// user access can be judged. For the suites, mode=torture and mode=compare.
#pragma once
#include "lab/counter.h"
#include "mm/flush/flush.h"
#include "mm/policy/policy.h"

struct mm_load_result {
	// Difference over the run, frees that were deferred included. If the policy keeps tables, also what the ends of
	// the spaces free.
	struct counters counted;
	bool keeps, spaces_ended;
	u64 violations;			// the oracle's; 0 in release builds, which have none
	u64 pins, user_reads;		// judged
	u64 operations;			// of the unmappers
	u64 inside;			// … whose CPU had that space loaded: it has to flush itself, too
	u64 no_memory;			// … that could not map again
	u64 starved;			// … that were refused memory on purpose
	u64 interrupt_walks, nmi_walks;	// walks in interrupts and NMIs
	u64 delays;			// at any stall point, at random
	u64 reshaped;			// 2 MiB collapsed, split, or moved away and back
	u64 thefts;			// times that the thief preempted a CPU
	u64 ns;
	u64 convicted_ns;		// when the first violation was noticed, from the start; 0: there was none
	u64 chances;			// walks in which walker 0 saw the table unlinked that it was about to read
	unsigned walkers, unmappers, spaces;
	// Judgements, each 0 unless something is broken:
	u64 bad_pins;			// the pinned page is another's, or was unmapped before the walk began
	u64 lost_writes;		// somebody else wrote to a page while it was pinned
	u64 bad_reads;			// user memory showed another's page, or an older one: a stale translation
	u64 stuck;			// tables that nobody frees: unlinked, and not FREE after the workers' end
	u64 errors;			// an operation failed that must not
};

// The same seed makes the same choices in each thread, under any pair. A safe pair runs at least `ms`; any pair runs
// until there is evidence: tables of levels 1 to 3 freed, frees during walks (if the policy keeps tables: tables emptied
// during walks), nine of ten walks fast, walks in interrupts and NMIs, operations from inside the space and from outside and, if the pair is unsafe, a violation. It
// gives up after a bounded amount of work (load/load.c), never after a time. Returns 0 or -ENOMEM. Preemptible context;
// one run at a time.
int run_mm_load(const struct table_policy *policy, const struct flush_backend *flush, u64 seed, unsigned ms,
		struct mm_load_result *result);
bool mm_load_evidence(const struct mm_load_result *r);	// enough for a verdict, violations aside
bool mm_load_clean(const struct mm_load_result *r);	// no violation and all judgements 0
void mm_load_print(const struct mm_load_result *r);	// klog INFO
