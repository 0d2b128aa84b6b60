// SPDX-License-Identifier: MIT
// The tick, and its absence. A CPU that idles with nothing to do stops its timer, or arms it for its first sleeper.
//
// The tick is stopped only after one of its interrupts found this CPU idle: a CPU that goes in and out of idle faster
// than the tick never touches its timer.
#include "kernel/time.h"
#include "kernel/cmdline.h"
#include "kernel/cpumask.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "kernel/rcu/rcu.h"
#include "kernel/sched_internal.h"
#include "lab/lockcheck.h"
#include <arch/machine.h>

u32 tick_hz = 250;
DEFINE_PER_CPU(u64, ticks);
DEFINE_PER_CPU(u64, spin_looks);

enum tick { TICK_PERIODIC, TICK_ONESHOT, TICK_OFF };
static DEFINE_PER_CPU(u32, tick_state);		// enum tick
static DEFINE_PER_CPU(u64, oneshot_at);		// TICK_ONESHOT: when it comes
static DEFINE_PER_CPU(bool, idling);		// between tick_stop_idle() and tick_restart()
static DEFINE_PER_CPU(bool, ticked_idle);	// a tick has come since

static const char *set_hz(const char *value)
{
	u64 hz;

	if (!parse_u64(value, &hz) || hz < 100 || hz > 1000)
		return "not a number from 100 to 1000";
	tick_hz = (u32)hz;
	return NULL;
}
CMDLINE_KEY(hz, "100 to 1000 (timer ticks per second and CPU; default 250)", set_hz);

u64 now_ns(void)
{
	return arch_ns();
}

// Each gap is added by one CPU, the one that wins the exchange. (If another CPU's clock is ahead, there is no gap.)
u64 seen_look(struct seen *s, u64 most_ns)
{
	u64 now = now_ns(), looked = READ_ONCE(s->looked), gap;

	if (now <= looked || !cmpxchg(&s->looked, looked, now))
		return READ_ONCE(s->ns);
	gap = MIN(now - looked, most_ns);
	return fetch_add(&s->ns, gap) + gap;
}

void time_init_cpu(void)
{
	this_cpu_write(tick_state, TICK_PERIODIC);
	arch_timer_periodic();
}

void time_interrupt(bool quiescent)
{
	bool from_idle = this_cpu_read(idling) && this_cpu_read(preempt_count) == PREEMPT_ONE + HARDIRQ_ONE;

	this_cpu_inc(ticks);
	if (this_cpu_read(tick_state) == TICK_ONESHOT)
		WRITE_ONCE(*this_cpu_ptr(&tick_state), TICK_OFF);
	if (from_idle)
		this_cpu_write(ticked_idle, true);
	FOR_EACH_REGISTERED(tick_handlers, tick_handler_fn, handler)
		(*handler)();
	rcu_tick(quiescent || from_idle);
	sched_tick();
	log_tick();
}

static void before_idling(void)
{
	FOR_EACH_REGISTERED(idle_handlers, idle_handler_fn, handler)
		(*handler)();
}

static void tick_set(enum tick state)
{
	WRITE_ONCE(*this_cpu_ptr(&tick_state), state);	// other CPUs read it
}

void tick_restart(void)
{
	this_cpu_write(idling, false);
	this_cpu_write(ticked_idle, false);
	if (this_cpu_read(tick_state) == TICK_PERIODIC)
		return;
	tick_set(TICK_PERIODIC);
	arch_timer_periodic();
}

void tick_stop_idle(void)
{
	u64 wake = sched_next_wake(), now = now_ns();

	if (rcu_needs_tick(cpu_id()) || log_needs_tick()) {
		tick_restart();
		this_cpu_write(idling, true);
		return;
	}
	this_cpu_write(idling, true);
	if (this_cpu_read(tick_state) == TICK_PERIODIC && !this_cpu_read(ticked_idle))
		return;
	if (wake == ~0ull) {
		if (this_cpu_read(tick_state) == TICK_OFF)
			return;
		before_idling();
		tick_set(TICK_OFF);
		arch_timer_stop();
	} else if (this_cpu_read(tick_state) != TICK_ONESHOT || this_cpu_read(oneshot_at) != wake) {
		before_idling();
		WRITE_ONCE(*this_cpu_ptr(&oneshot_at), wake);
		tick_set(TICK_ONESHOT);
		arch_timer_oneshot(wake > now ? wake - now : 0);
	}
}

bool tick_is_due(unsigned cpu, u64 now)
{
	u32 state = READ_ONCE(per_cpu(tick_state, cpu));

	return state == TICK_PERIODIC || (state == TICK_ONESHOT && READ_ONCE(per_cpu(oneshot_at, cpu)) <= now);
}

u64 tickless_cpus(void)
{
	u64 n = 0;

	for_each_cpu(cpu)
		n += READ_ONCE(per_cpu(tick_state, cpu)) != TICK_PERIODIC;
	return n;
}

// The lock checker's lists say who holds what; panic() adds every CPU's backtrace.
static _Noreturn void spin_stuck(const char *what, int cpu, u64 waited_ns)
{
	unsigned long long seconds = waited_ns / NSEC_PER_SEC;

	locks_print_held(cpu_id());
	if (cpu >= 0 && cpu < (int)nr_cpus && (unsigned)cpu != cpu_id())
		locks_print_held((unsigned)cpu);
	if (cpu >= 0)
		panic("CPU %u has waited %llu s for CPU %d: %s", cpu_id(), seconds, cpu, what);
	panic("CPU %u has waited %llu s: %s", cpu_id(), seconds, what);
}

// By value: the address of a local variable would cost each function that waits a stack canary.
struct seen spin_look(struct seen waited, const char *what, int cpu)
{
	u64 ns = seen_look(&waited, SPIN_SEEN_NS);

	this_cpu_inc(spin_looks);
	if (ns > SPIN_LIMIT_NS)
		spin_stuck(what, cpu, ns);
	return waited;
}
