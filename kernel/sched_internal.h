// SPDX-License-Identifier: MIT
// Inside the scheduler: what sched.c shares with thread.c, time.c and the tests. Everybody else includes sched.h or
// thread.h.
#pragma once
#include "kernel/thread.h"

struct runq {
	// Under the lock, and with them `cpu` and `run_link` of every thread that belongs to this CPU:
	struct spinlock lock;
	struct list queue[NR_PRIOS];	// runnable but not running, in order of service
	struct thread *curr;		// chosen last; read without the lock as a hint
	u32 ready;			// bit p: queue[p] has a thread. The same hint
	u32 load;			// threads that run or are queued, idle aside. The same hint
	bool kicked;			// a reschedule IPI is on its way: one is enough. The same hint

	// This CPU's own, IRQs off:
	struct thread *idle;
	struct thread *prev;		// between arch_thread_switch() and finish_switch()
	struct list sleepers;		// soonest first
	bool rotate;			// the tick ended curr's turn
} __cacheline;
DECLARE_PER_CPU(struct runq, runq);

void sched_start_thread(struct thread *t, unsigned cpu);	// a new thread's first time in a run queue
void sched_migrate(unsigned cpu);		// the current thread goes on there
_Noreturn void sched_exit(void);		// the current thread is dead: switch away for good
unsigned sched_place(const struct cpumask *allowed);	// least loaded online CPU of the mask; NR_CPUS: none
u64 sched_next_wake(void);			// when this CPU's first sleeper is due (IRQs off); ~0: none sleeps
bool thread_is_idle(void);			// is the current thread its CPU's idle thread?

// A thread's clock is one word, so that others read it in one piece: the ns that it has run; while it runs, the complement
// of what its CPU's clock showed when its own would have been 0. IRQs off; by the CPU that runs the thread.
static inline void thread_clock_stop(struct thread *t, u64 now)
{
	if (t->clock < 0)
		WRITE_ONCE(t->clock, (s64)now - ~t->clock);
}
static inline void thread_clock_run(struct thread *t, u64 now) { WRITE_ONCE(t->clock, ~((s64)now - t->clock)); }
