// SPDX-License-Identifier: MIT
// Processor time of threads that run programs (sched_internal.h has the format of a thread's clock).
#include "kernel/sched_internal.h"
#include "kernel/time.h"

void thread_clock_start(void)
{
	irqflags_t flags = irq_save();

	if (current->clock >= 0)
		thread_clock_run(current, now_ns());
	irq_restore(flags);
}

// Another CPU's clock may be behind that of the CPU on which it was started: not less than 0.
u64 thread_ran_ns(const struct thread *t)
{
	s64 clock = READ_ONCE(t->clock), ran = clock < 0 ? (s64)now_ns() - ~clock : clock;

	return ran < 0 ? 0 : (u64)ran;
}
