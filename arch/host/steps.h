// SPDX-License-Identifier: MIT
// The deterministic scheduler (steps.c): one CPU at a time on one pthread, the interleaving drawn from a seed, the clock
// made of steps. On if the program's arguments have sched=random or sched=pct.
#pragma once
#include "kernel/types.h"

extern bool steps_on;		// constant once the arguments are read

// An argument of the program. *wrong: what is valid instead, or NULL. False: not one of ours.
bool steps_argument(const char *arg, const char **wrong);
void steps_init(void);		// arguments are read: the calling pthread runs CPU 0
void steps_add_cpu(unsigned cpu, void (*fn)(void));	// it begins with fn(), some time after this

void steps_point(bool relaxing);	// a yield point: time advances; another CPU may run, and should if `relaxing`
void steps_halt(void);		// the calling CPU has nothing pending: it halts until steps_wake()
void steps_wake(unsigned cpu);	// something is pending there
u64 steps_ns(void);		// the virtual clock
void steps_timer(u64 deadline);	// a timer is armed: host_timers_run() is due then
void steps_pause(u64 ns);		// the host stops the machine for so long: only the clock advances
void steps_report(void);	// print how many steps there were, and the hash of all decisions
