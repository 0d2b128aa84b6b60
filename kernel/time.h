// SPDX-License-Identifier: MIT
// Time: the clock, the tick, and tickless idle.
#pragma once
#include "kernel/types.h"
#include <arch/percpu.h>
#include <arch/time.h>		// cycles(), arch_cycles_to_ns() …

extern u32 tick_hz;		// hz= of the command line, 100 … 1000
DECLARE_PER_CPU(u64, ticks);	// ticks that this CPU has taken
DECLARE_PER_CPU(u64, interrupts);	// all interrupts that this CPU has taken

u64 now_ns(void);		// monotonic since boot, same on all CPUs up to the TSC's skew. Any context
// What the clock on the wall showed at now_ns() == 0, ns since 1970, UTC; to the second. 0: the machine has no such clock.
static inline u64 wall_ns_at_boot(void) { return arch_wall_ns_at_boot(); }
// Time that a watchdog has seen pass. A host may stop the machine, or one of its CPUs, for any time: a suspended
// laptop, a paused VM, a debugger. The clock then jumps although nothing hangs. So a watchdog does not subtract two
// readings of the clock: it looks again and again, and adds up the gaps between its looks, each counted as at most
// `most_ns`. A watchdog that looks more often than every `most_ns` counts all the time that passes; a pause counts as
// one gap.
struct seen {
	u64 looked;		// time of the last look, by now_ns()
	u64 ns;			// seen so far
};
#define SEEN_FROM_NOW ((struct seen){ .looked = now_ns() })
u64 seen_look(struct seen *s, u64 most_ns);	// look; returns the sum, ns. Any context; several CPUs may share one
static inline u64 tick_ns(void) { return NSEC_PER_SEC / tick_hz; }
void time_init_cpu(void);	// start this CPU's tick
// Called by arch for every timer interrupt; IRQs off, between irq_enter() and irq_exit(). `quiescent`: the interrupt
// came from user mode or code with preemption on. The idle loop, which runs at depth 1, is recognised inside.
void time_interrupt(bool quiescent);
// Functions that each tick of a CPU calls, and functions that a CPU calls before it stops its tick because it idles.
// Each is registered where it is written. They run in the timer's interrupt, or in the idle loop before RCU's idle
// entry, with IRQs off and in no particular order.
typedef void tick_handler_fn(void);
typedef void idle_handler_fn(void);
#define TICK_HANDLER(fn) REGISTER(tick_handlers, fn)
#define IDLE_HANDLER(fn) REGISTER(idle_handlers, fn)
void tick_stop_idle(void);	// idle loop, IRQs off: stop the tick or arm it for the next sleeper, if nothing needs it
void tick_restart(void);	// leaving idle, IRQs off
bool tick_is_due(unsigned cpu, u64 now);	// does it tick, or was its one-shot timer due by `now`? (a hint)
// A timer that is due and does not come is reported, with the backtrace of its CPU, and again after the same time.
struct tick_watch {
	u64 limit_ns;		// after so long
	u64 reports, backtraces;
	u32 cpu;		// the one last reported
};
extern struct tick_watch tick_watch;
u64 tickless_cpus(void);	// how many CPUs idle without tick now (a hint)

// A spin-wait with a watchdog: spin until cond; after SPIN_LIMIT_NS print which CPU waits for what (and for which CPU),
// with backtraces, and panic. Only time in which the waiter has run counts: a host that gives this machine little time
// gives the waiter as little as the CPU that it waits for.
#define SPIN_LIMIT_NS (60 * NSEC_PER_SEC)
#define SPIN_SEEN_NS (600 * NSEC_PER_USEC)	// counted between two looks, at most: so 100,000 looks at least
#define SPIN_LOOK 256		// turns from one look at the watchdog to the next
struct seen spin_look(struct seen waited, const char *what, int cpu);	// panics after SPIN_LIMIT_NS. Any context
DECLARE_PER_CPU(u64, spin_looks);	// looks of this CPU so far: they show that it runs while it spins
#define spin_until(cond, what, cpu) do { \
	if (cond) \
		break; \
	struct seen _waited = SEEN_FROM_NOW; \
	for (u32 _i = 1; !(cond); _i++) { \
		cpu_relax(); \
		if (_i % SPIN_LOOK == 0) \
			_waited = spin_look(_waited, (what), (int)(cpu)); \
	} \
} while (0)
