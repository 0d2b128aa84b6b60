// SPDX-License-Identifier: MIT
// tlb_flush=pv: a preempted vCPU is not waited for. It is marked in its steal-time record (kernel/steal.h), and the
// record's owner (the hypervisor, or the thief in its place) flushes its TLB before it runs its next instruction. The
// others get the shootdown IPI. (KVM_FEATURE_PV_TLB_FLUSH, Linux 4.16.)
//
//   flusher                                          the record's owner, for CPU c
//   -------                                          -----------------------------
//   change the entries (xchg)                        preempted = PREEMPTED (release)
//   gen++, read space->cpus (tlb.h)                        … c does not run …
//   cmpxchg preempted: PREEMPTED ->           <-A->  old = xchg(preempted, 0)
//           PREEMPTED|FLUSH_TLB                      old & FLUSH_TLB: flush all
//   done with c: no IPI                              c runs
//
// A: both are atomic on one byte, so one comes first, and both are full barriers. If the flusher's comes first, the
// owner sees the flag, and what c caches after its flush are the entries as they are now. If the owner's comes first,
// the flusher's exchange finds no PREEMPTED and fails, and c gets an IPI. If another flusher has set the flag already,
// the flusher exchanges that value with itself: this succeeds only while the owner's xchg, and so its flush, is yet to
// come, and our change of the entries is before it.
//
// c's generation (cpu_tlb.gen) stays behind, because c itself runs nothing. That errs to the safe side everywhere: a
// later flush finds gen + 1 != f->gen and flushes all instead of a range, and a return from lazy use flushes once more.
// A CPU that holds the space lazily keeps the root, though tables are freed: the flush has dropped all that it had
// cached, and a speculative walk from the root can no longer reach a table that is unlinked. (Before the root itself is
// freed, tlb_evict() makes the CPU leave it, by an IPI.) The same holds in the middle of tlb_join(): before the root is
// loaded nothing of the space is cached, and after that it is flushed.
//
// What completion does not prove: that a walk with interrupts off, in the middle of which c was preempted, has ended. Of
// the CPUs that got an IPI it is proved, and reported.
// With table_free=ipi that is the bug of 2012 (docs/stolen-time.md).
#include "kernel/steal.h"
#include "lab/counter.h"
#include "lab/swmmu.h"
#include "lab/trace.h"
#include "mm/tlb.h"

static void flush_pv(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	struct cpumask running;

	cpumask_copy(&running, targets);
	for_each_cpu_in(cpu, targets) {
		if (steal_flush_later(cpu)) {
			cpumask_clear(&running, cpu);
			count(flush_pv_flagged);
			trace(EV_PV_FLAGGED, cpu);
			if (steal_owner() == STEAL_KVM)	// how KVM honours the flag cannot be seen from here
				swmmu_vouch(cpu);
		}
	}
	flush_by_ipi(f, &running, proved);
}

static const struct flush_backend pv_backend = {
	.name = "pv",
	.missing = steal_missing,
	.proves_irqs_off_walks_ended = false,
	.reports = true,
	.spares_robbed = true,
	.flush = flush_pv,
};
REGISTER(backends, pv_backend);
