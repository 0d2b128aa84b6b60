// SPDX-License-Identifier: MIT
// mode=crash: what a panic shows. Every CPU computes, one of them touches memory that is not mapped; the run must end
// with registers, a backtrace with function names of each CPU, and the failing status.
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "kernel/thread.h"
#include "mm/frame/page.h"

static u32 computing;

static int crash_bystander(void *unused)
{
	fetch_add(&computing, 1);
	for (;;)
		cpu_relax();
	return 0;
}

static __noinline u64 crash_here(const u64 *nowhere) { return READ_ONCE(*nowhere) + 1; }

static int crash(void)
{
	unsigned self;

	preempt_disable();
	self = cpu_id();
	preempt_enable_no_resched();
	for_each_cpu(cpu)
		if (cpu != self && !thread_create("bystander", crash_bystander, NULL, cpu, PRIO_LOW))
			return EXIT_INCONCLUSIVE;
	while (READ_ONCE(computing) < nr_cpus - 1)
		thread_yield();
	synchronize_rcu();	// something that trace= shows
	return (int)crash_here(page_to_virt(page_map) + 64 * level_size(PT_LEVELS - 1));	// far beyond any RAM
}
MODE(crash, crash);
