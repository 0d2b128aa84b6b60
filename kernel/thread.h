// SPDX-License-Identifier: MIT
// Kernel threads: per-CPU run queues, fixed priorities, round-robin by tick inside one priority, preemption at
// interrupt exit and preempt_enable() (sched.h).
#pragma once
#include "kernel/cpumask.h"
#include "kernel/list.h"
#include "kernel/mutex.h"
#include "kernel/sched.h"
#include <arch/thread.h>	// struct arch_context

struct space;
struct user_context;

// PRIO_SERVICE is for threads that all others wait for in the end (grace periods, deferred flushes). What runs programs is
// below it: their threads may spin for ever.
enum thread_prio { PRIO_LOW, PRIO_NORMAL, PRIO_HIGH, PRIO_SERVICE, NR_PRIOS };
enum thread_state { THREAD_RUNNING, THREAD_SLEEPING, THREAD_DEAD };	// RUNNING: on a CPU or in a run queue

struct thread {
	struct arch_context ctx;	// saved stack pointer
	void *stack;			// lowest address of the stack, above its guard page
	struct list run_link;		// run queue lock
	struct list sleep_link;		// sleepers of one CPU
	struct list all_link;		// all threads
	u64 wake_at;			// ns, while in a sleepers list
	u32 state;			// enum thread_state, atomically
	u32 on_cpu;			// 1 while a CPU executes it or has not yet left its stack
	u8 prio;
	u16 cpu;			// where it runs or last ran
	struct cpumask affinity;
	struct space *space;		// user half that it runs in, or NULL (its CPU keeps the last one: lazy mode)
	struct user_context *user;	// its registers in user mode (arch/user.h), or NULL: it runs no program
	int (*fn)(void *);
	void *arg;
	int result;
	struct completion exited;
	u32 refs;
	u64 switches;			// times it was switched to
	s64 clock;			// of a thread with user registers: thread_ran_ns()
	const char *name;
};

#define current this_cpu_read(current_thread)
DECLARE_PER_CPU(struct thread *, current_thread);
DECLARE_PER_CPU(u64, context_switches);

#define CPU_ANY NR_CPUS
// Create a thread and make it runnable: pinned to `cpu`, or CPU_ANY. NULL: no memory. Never sleeps; IRQs either way.
struct thread *thread_create(const char *name, int (*fn)(void *), void *arg, unsigned cpu, enum thread_prio prio);
int thread_join(struct thread *t);			// waits, returns fn's result, drops the creator's reference
_Noreturn void thread_exit(int result);
void thread_yield(void);
void thread_sleep_ns(u64 ns);				// at least so long; tick resolution
int thread_set_affinity(const struct cpumask *mask);	// of current; migrates at once if need be. -EINVAL: empty
void thread_set_prio(enum thread_prio prio);	// of current
void thread_pin_here(void);	// current stays on the CPU that it runs on
void thread_put(struct thread *t);			// drop a reference; the last one frees. Any context but NMI

// Run fn(arg) in one thread on each CPU of the mask, all released together; returns the first non-zero result.
int threads_run_on(const struct cpumask *mask, int (*fn)(void *), void *arg);

// Processor time, in the kernel and in user mode, of a thread that runs programs: ns. Counted from the first
// thread_clock_start() on, which the thread itself calls when it has got its user registers. The caller of thread_ran_ns() keeps t alive.
u64 thread_ran_ns(const struct thread *t);
void thread_clock_start(void);

// Does the current thread run a program that is to end? Whatever takes long, or waits for others, then returns early: no
// program sees the result. False for other threads.
bool thread_dying(void);

void threads_print(void);		// one log line each
u64 thread_count(void);			// that exist, idle threads not counted
u32 threads_ending(void);		// that have ended and are not yet freed; after thread_join() one soon is
void sched_init(void);			// boot CPU, before other CPUs start
