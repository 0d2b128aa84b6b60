// SPDX-License-Identifier: MIT
// The longest stretch with interrupts off.
#include "kernel/irqsoff.h"
#include "kernel/cpumask.h"
#include <arch/percpu.h>
#include <arch/time.h>

struct irqsoff {
	u64 since;	// cycles when they went off; 0: on, or not seen
	u64 longest;
};
static DEFINE_PER_CPU(struct irqsoff, irqsoff);

#if CHECK
void irqsoff_begin(void)
{
	if (!this_cpu_read(irqsoff.since))
		this_cpu_write(irqsoff.since, cycles());
}

void irqsoff_end(void)
{
	u64 since = this_cpu_read(irqsoff.since), now;

	if (!since)
		return;
	now = cycles();
	if (now > since && now - since > this_cpu_read(irqsoff.longest))
		this_cpu_write(irqsoff.longest, now - since);
	this_cpu_write(irqsoff.since, 0);
}
#endif

void irqsoff_reset(void)
{
	for_each_cpu(cpu)
		WRITE_ONCE(per_cpu(irqsoff, cpu).longest, 0);
}

u64 irqsoff_longest(void)
{
	u64 longest = 0;

	for_each_cpu(cpu)
		longest = MAX(longest, READ_ONCE(per_cpu(irqsoff, cpu).longest));
	return longest;
}
