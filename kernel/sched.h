// SPDX-License-Identifier: MIT
// The scheduler: who gives up the CPU, and when it looks again. Threads themselves are in thread.h.
#pragma once
#include "kernel/types.h"

struct thread;

bool thread_wake(struct thread *t);	// SLEEPING -> RUNNING; false if it was not asleep. Not from NMI
// Have it come by the scheduler or the end of an interrupt soon, wherever it is: asleep, it is woken; otherwise its CPU is
// interrupted. It then sees what the caller has stored before a full barrier. The caller keeps it alive. Not from NMI.
void thread_kick(struct thread *t);
void schedule(void);			// give up the CPU; preemption depth 0 (or from the idle loop)
// The same by a caller that has marked itself SLEEPING: its CPU wakes it when the deadline (of now_ns()) has passed. It may
// return earlier.
void schedule_until(u64 deadline_ns);
#define NO_DEADLINE (~0ull)
bool deadline_passed(u64 deadline_ns);
void preempt_resched(void);		// slow half of preempt_enable: schedule if irqs are on and depth is 0
bool cpu_is_idle(unsigned cpu);		// executing its idle thread (a hint)

// By the boot path and the interrupts.
void sched_init_cpu(void);		// each CPU: the current flow of control becomes its idle thread
_Noreturn void idle_loop(void);		// each CPU ends its boot here
void sched_tick(void);			// from the tick: time slice, sleepers
void ipi_reschedule(void);		// handler of IPI_RESCHED, between irq_enter/exit
void irq_preempt(void);		// last thing before returning to an interrupted context: switch if need_resched and depth 0
