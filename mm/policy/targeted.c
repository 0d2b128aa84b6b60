// SPDX-License-Identifier: MIT
// table_free=targeted: a walker says which space it walks, and the freeing side interrupts just the CPUs that walk
// this one (proposed for Linux in 2026: targeted sync IPIs). The protocol is that of walked.h. What the flush has proved is
// not asked, except to count how often it would have been enough.
#include "kernel/xcall.h"
#include "lab/counter.h"
#include "mm/policy/walked.h"
#include "mm/table.h"
#include "mm/walk_body.h"

static DEFINE_PER_CPU(struct walked_slots, targeted_slots);

static const struct table_policy targeted_policy;

static __always_inline void targeted_enter(struct walk_state *w)
{
	walked_publish(this_cpu_ptr(&targeted_slots), w->space);
}

static __always_inline void targeted_exit(struct walk_state *w) { walked_withdraw(this_cpu_ptr(&targeted_slots)); }

static void targeted_wait(struct space *space)
{
	struct cpumask walkers;

	if (walked_find(&targeted_slots, space, NULL, &walkers))
		sync_ipi(&walkers);
}

// A walker that is found on a CPU that the flush has proved has begun since, and cannot reach the tables.
static void count_redundant(const struct cpumask *walkers, const struct cpumask *proved)
{
	for_each_cpu_in(cpu, walkers) {
		count(walkers_awaited);
		if (proved && cpumask_test(proved, cpu))
			count(walkers_proved);
	}
}

static void targeted_free(struct space *space, struct list *tables, const struct cpumask *proved)
{
	struct cpumask walkers;

	if (walked_find(&targeted_slots, space, NULL, &walkers)) {
		count_redundant(&walkers, proved);
		sync_ipi(&walkers);
	}
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
