// SPDX-License-Identifier: MIT
// Event counters: one line each here yields the field, the printer and the difference. Per CPU; counting is one
// instruction, any context.
#pragma once
#include <arch/percpu.h>
#include "kernel/types.h"

#define COUNTERS(X) \
	X(ipi_flush)		/* shootdown IPIs sent */ \
	X(ipi_sync)		/* sync IPIs sent */ \
	X(ipi_walker)		/* shootdown IPIs sent only for a walker's sake */ \
	X(ipi_resched)		/* reschedule IPIs sent */ \
	X(ipi_xcall)		/* IPIs sent for cross-CPU calls of any kind */ \
	X(xcalls)		/* cross-CPU requests queued: several may share one IPI */ \
	X(flush_local)		/* local invalidations asked for */ \
	X(flush_full)		/* … of them full flushes */ \
	X(flush_lazy_skipped)	/* lazy CPUs not interrupted */ \
	X(flush_stale_skipped)	/* remote flushes that a newer generation made needless */ \
	X(cr3_writes)		/* loads of the page-table root */ \
	X(walks)		/* walk_pin calls, per page */ \
	X(walks_fast)		/* … ended on the fast path */ \
	X(walks_slow)		/* … took the locked slow path */ \
	X(walks_remote)		/* … of a space that is not loaded here */ \
	X(walk_restarts)	/* re-check failed */ \
	X(frees_l1)		/* tables freed, by level: 1 holds 4 KiB leaves */ \
	X(frees_l2) \
	X(frees_l3) \
	X(frees_l4) \
	X(frees_during_walk)	/* … while some CPU was inside a walk */ \
	X(table_fallbacks)	/* policy could allocate no batch */ \
	X(faults)		/* demand faults served */ \
	X(tables_allocated) \
	X(tables_unlinked) \
	X(tables_freed) \
	X(rcu_qs)		/* quiescent states reported up the tree */ \
	X(rcu_callbacks)	/* callbacks invoked */

struct counters {
#define X(name) u64 name;
	COUNTERS(X)
#undef X
};
DECLARE_PER_CPU(struct counters, counters);
#define count(name) this_cpu_inc(counters.name)
#define count_add(name, n) this_cpu_add(counters.name, (n))

void counters_snapshot(struct counters *sum);					// sum over all CPUs
void counters_sub(struct counters *d, const struct counters *a, const struct counters *b);	// d = a - b
void counters_print(const struct counters *c);					// non-zero ones, klog INFO
