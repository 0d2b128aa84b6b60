// SPDX-License-Identifier: MIT
// What the suites of RCU share: moving between CPUs, and readers that hold a grace period up for as long as the test
// needs.
#pragma once
#include "kernel/rcu/internal.h"
#include "kernel/time.h"
#include "lab/test.h"

static inline unsigned last_cpu(void) { return nr_cpus - 1; }
void move_to(unsigned cpu);	// pins this thread; to 0, where the grace-period thread runs, to leave the others alone
void move_anywhere(void);
void spin_ns(u64 ns);
bool rcu_quiet(void);	// no callback is queued, and no grace period is under way or asked for
void rcu_make_quiet(void);	// waits for that; nor does any CPU want to be told of the end of one

// What has disturbed a CPU since `before`. A CPU that is left alone takes at most one tick: one that was due when it
// stopped its tick.
struct disturbance {
	u64 switches, interrupts, ticks;	// interrupts: without the ticks
};
struct disturbance disturbance_of(unsigned cpu);
bool undisturbed_since(unsigned cpu, const struct disturbance *before);
static inline bool settled(unsigned cpu) { return cpu_rests(cpu, ~0ull); }	// idle and tickless

enum reader_kind { READ_PREEMPT_OFF, READ_IRQS_OFF, READ_INTERRUPT, READ_NMI, NR_READERS };
extern const char *const reader_name[];

extern struct reader {
	enum reader_kind kind;
	u64 ns;			// how long
	bool (*over)(void);	// ns == 0: until this holds,
	u32 leave;		// … or, without it, until this is set
	u32 inside, done;
} reader;
// Start one reader of that kind on that CPU; returns once it is inside. The thread, or NULL, is for end_reader().
struct thread *start_reader(enum reader_kind kind, unsigned cpu, u64 ns);
struct thread *start_reader_until(enum reader_kind kind, unsigned cpu, bool (*over)(void));
void end_reader(struct thread *t);

void count_run(struct rcu_head *head);	// a callback: counts
extern u32 ran;
