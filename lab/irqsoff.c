// SPDX-License-Identifier: MIT
// The stretches with interrupts off: the longest, and all of a CPU's as a distribution.
#include "lab/irqsoff.h"
#include "kernel/cpumask.h"
#include "lab/hist.h"
#include "lab/stall.h"
#include <arch/percpu.h>
#include <arch/time.h>

struct irqsoff {
	u64 since;	// cycles when they went off; 0: on, or not seen
	u64 longest;
	struct hist *hist;	// where all go; NULL: nowhere. Set and read on this CPU
};
static DEFINE_PER_CPU(struct irqsoff, irqsoff);

#if CHECK
void irqsoff_begin(void)
{
	u64 now;

	if (this_cpu_read(irqsoff.since))
		return;
	this_cpu_write(irqsoff.since, 1);	// from here on the thief adds the time that it steals
	now = cycles();
	STALL(irqsoff_begun, NULL, 0, 0);	// the clock was read, and is not yet noted
	this_cpu_add(irqsoff.since, now);
}

void irqsoff_end(void)
{
	struct hist *hist;
	u64 since, now;

	if (!this_cpu_read(irqsoff.since))
		return;
	now = cycles();		// before `since`, to which the thief may add in between: too short rather than too long
	since = this_cpu_read(irqsoff.since);
	if (now > since && now - since > this_cpu_read(irqsoff.longest))
		this_cpu_write(irqsoff.longest, now - since);
	hist = this_cpu_read(irqsoff.hist);
	if (unlikely(hist) && now > since)
		hist_add(hist, now - since);
	this_cpu_write(irqsoff.since, 0);
}

void irqsoff_forgive(u64 stolen)
{
	if (this_cpu_read(irqsoff.since))
		this_cpu_add(irqsoff.since, stolen);
}
#endif

void irqsoff_record(struct hist *h) { this_cpu_write(irqsoff.hist, h); }

void irqsoff_reset(void)
{
	for_each_cpu(cpu)
		WRITE_ONCE(per_cpu(irqsoff, cpu).longest, 0);
}

u64 irqsoff_longest_here(void) { return this_cpu_read(irqsoff.longest); }

u64 irqsoff_longest(void)
{
	u64 longest = 0;

	for_each_cpu(cpu)
		longest = MAX(longest, READ_ONCE(per_cpu(irqsoff, cpu).longest));
	return longest;
}
