// SPDX-License-Identifier: MIT
// Event counters: one line each here yields the field, the printer and the difference. Per CPU; counting is one
// instruction, any context.
#pragma once
#include <arch/percpu.h>
#include "kernel/types.h"

#define COUNTERS(X) \
	X(ipi_flush)		/* CPUs that shootdowns targeted: IPIs, unless a counter below says otherwise */ \
	X(ipi_sync)		/* sync IPIs sent */ \
	X(ipi_walker)		/* shootdown IPIs sent only for a walker's sake */ \
	X(ipi_resched)		/* reschedule IPIs sent */ \
	X(resched_taken)	/* … taken; several may be taken as one */ \
	X(ipi_xcall)		/* IPIs sent for cross-CPU calls of any kind */ \
	X(xcalls)		/* cross-CPU requests queued: several may share one IPI */ \
	X(xcalls_taken)		/* … run by the CPU that they were for (checking builds) */ \
	X(irq_left)		/* interrupts that firmware or boot loader had left requested or in service */ \
	X(irq_stray)		/* … came on a vector that nobody uses */ \
	X(flush_local)		/* local invalidations asked for */ \
	X(flush_full)		/* … of them full flushes */ \
	X(lazy_deferred)	/* flushes left to the other CPUs' sweeps */ \
	X(lazy_refused)		/* … not left to them: no memory, or too much held already */ \
	X(lazy_sweeps)		/* … the sweeps */ \
	X(lazy_calls)		/* … CPUs that were called because they had not swept in time */ \
	X(lazy_settled)		/* … flushed early because a caller could not wait for the sweeps */ \
	X(flush_lazy_skipped)	/* lazy CPUs not interrupted */ \
	X(flush_nmi)		/* NMIs sent to flush */ \
	X(flush_stale_skipped)	/* remote flushes that a newer generation made needless */ \
	X(flush_pv_flagged)	/* shootdowns left to the hypervisor: the CPU was preempted */ \
	X(flush_hv_calls)	/* flush hypercalls to Hyper-V, repetitions of one counted once */ \
	X(flush_hv_lists)	/* … of them with a list of ranges */ \
	X(flush_hv_extended)	/* … with a set of processors beyond the first 64 */ \
	X(flush_hv_fallbacks)	/* … refused, and replaced by IPIs */ \
	X(flush_xen_calls)	/* flush hypercalls to Xen */ \
	X(flush_xen_fallbacks)	/* … refused, and replaced by IPIs */ \
	X(thefts)		/* times that the thief preempted a CPU */ \
	X(theft_flushes)	/* … and flushed for it, as asked by the flag */ \
	X(cr3_writes)		/* loads of the page-table root */ \
	X(walks)		/* walk_pin calls, per page */ \
	X(walks_fast)		/* … ended on the fast path */ \
	X(walks_slow)		/* … took the locked slow path */ \
	X(walks_remote)		/* … of a space that is not loaded here */ \
	X(walks_union)		/* … ended under the union of two policies, during a switch */ \
	X(walk_restarts)	/* re-check failed */ \
	X(frees_l1)		/* tables freed, by level: 1 holds 4 KiB leaves */ \
	X(frees_l2) \
	X(frees_l3) \
	X(frees_l4) \
	X(frees_during_walk)	/* … while some CPU was inside a walk */ \
	X(walkers_awaited)	/* CPUs interrupted because they walked the space whose tables were to be freed */ \
	X(walkers_proved)	/* … of them in vain: the flush had proved that no walk from before was left (targeted) */ \
	X(table_fallbacks)	/* policy could allocate no batch */ \
	X(free_polled)		/* frees, and waits before a reuse, that found walks under way and polled for their end */ \
	X(free_deferred)	/* … for too long: the tables were left for a later look */ \
	X(faults)		/* demand faults served */ \
	X(tables_allocated) \
	X(tables_unlinked) \
	X(tables_freed) \
	X(pending_waits)	/* unmappers that waited for memory to be freed */ \
	X(pending_hurries)	/* … hurried grace periods, without waiting */ \
	X(tables_kept)		/* unlinked and not on the way to FREE: put back, or deposited, or laid aside */ \
	X(tables_emptied)	/* emptied and still linked: their policy keeps tables */ \
	X(emptied_during_walk)	/* … while some CPU was inside a walk */ \
	X(rcu_qs)		/* quiescent states reported up the tree */ \
	X(rcu_waits)		/* threads that began to wait for a grace period, expedited or not */ \
	X(rcu_callbacks)	/* callbacks invoked */ \
	X(swmmu_fills)		/* entries that the software MMU cached */ \
	X(swmmu_checks)		/* tables and pages that it checked when they were freed */ \
	X(swmmu_dead_ends)	/* its walks that a stale pointer led into a freed table or a reserved frame */

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
