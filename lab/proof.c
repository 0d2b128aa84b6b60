// SPDX-License-Identifier: MIT
// Is what back-ends report true? See proof.h.
#include "lab/proof.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/oracle.h"

#if CHECK

struct proof_calls {
	u64 taken[NR_CPUS];	// calls that each CPU had taken when the flush began
};
static DEFINE_PER_CPU(struct proof_calls, proof_calls);

static u64 calls_taken(unsigned cpu) { return READ_ONCE(per_cpu(counters, cpu).xcalls_taken); }

// Of every CPU: the back-end may report one that was no target.
void proof_begin(void)
{
	for_each_cpu(cpu)
		this_cpu_ptr(&proof_calls)->taken[cpu] = calls_taken(cpu);
}

void proof_end(const struct flush *f, const struct cpumask *proved)
{
	if (MUTANT(proof_unseen))	// a back-end's report is believed
		return;
	for_each_cpu_in(cpu, proved) {
		// Counted before the call is answered, whose answer the back-end has read.
		if (f->space->backend->reports && calls_taken(cpu) != this_cpu_ptr(&proof_calls)->taken[cpu])
			continue;
		oracle_report(&(const struct violation){ .kind = VIOLATION_UNPROVED, .policy = f->space->freer->name,
			.flush = f->space->backend->name, .seen_by = "flush", .table = f->space->root_pa,
			.level = PT_LEVELS, .walker_cpu = cpu, .va = f->start });
	}
}
#endif
