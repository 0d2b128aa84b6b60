// SPDX-License-Identifier: MIT
// tlb_flush=example: what check_onefile.py adds to a copy of the tree as mm/flush/example.c. One target after another gets
// the shootdown IPI; a target that has answered had interrupts on.
#include "mm/flush/flush.h"

static void flush_example(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	struct cpumask one = { 0 };

	flush_by_ipi(f, &one, proved);		// this CPU, which is no target
	for_each_cpu_in(cpu, targets) {
		cpumask_set(&one, cpu);
		flush_by_ipi(f, &one, proved);
		cpumask_clear(&one, cpu);
	}
}

static const struct flush_backend example_backend = {
	.name = "example",
	.proves_irqs_off_walks_ended = true,
	.reports = true,
	.flush = flush_example,
};
REGISTER(backends, example_backend);
