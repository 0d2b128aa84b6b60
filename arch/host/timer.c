// SPDX-License-Identifier: MIT
// The CPUs' timers: deadlines in a table, and one pthread that waits for the earliest and raises HOST_TIMER.
//
//   CPU that arms                          timer thread
//   -------------                          ------------
//   deadline = d                           wake_at = earliest deadline
//   full barrier                     <-->  full barrier
//   d < wake_at? alarm++, wake futex       read the deadlines again: none earlier? sleep while alarm is unchanged
//
// When a CPU has armed anew, an interrupt for its old deadline is pending already or never comes, as on hardware:
//
//   deadline = d                           raising = 1
//   full barrier                     <-->  deadline unchanged? take it by cmpxchg, raise HOST_TIMER
//   wait while raising                     raising = 0
#include "kernel/cpumask.h"
#include "kernel/time.h"
#include <arch/machine.h>
#include "arch/host/host.h"
#include "arch/host/irq.h"
#include "arch/host/os.h"
#include "arch/host/steps.h"

#define NEVER (~0ull)

// Of each CPU. The timer thread changes a deadline by cmpxchg, so that the CPU's own store is never lost.
static struct timer {
	u64 deadline, period;
	u32 raising;
} __cacheline timers[NR_CPUS];
static u64 wake_at;
static u32 alarm;

u64 arch_ns(void) { return steps_on ? steps_ns() : os_ns(); }
#define VIRTUAL_BOOT_NS (1000000000 * NSEC_PER_SEC)	// virtual time has its own date: a run is repeated with it
u64 arch_wall_ns_at_boot(void) { return steps_on ? VIRTUAL_BOOT_NS : os_started_ns(); }
u64 arch_cycles_hz(void) { return NSEC_PER_SEC; }
bool arch_cycles_are_instructions(void) { return false; }
u64 arch_cycles_to_ns(u64 c) { return c; }
const char *arch_clock_name(void) { return steps_on ? "steps" : "clock_monotonic"; }

static void arm(u64 deadline, u64 period)
{
	struct timer *t = &timers[cpu_id()];

	__atomic_store_n(&t->period, period, __ATOMIC_RELAXED);
	__atomic_store_n(&t->deadline, deadline, __ATOMIC_SEQ_CST);
	if (steps_on) {
		steps_timer(deadline);
		return;
	}
	arch_fence();
	while (__atomic_load_n(&t->raising, __ATOMIC_ACQUIRE))
		os_yield();
	if (deadline < __atomic_load_n(&wake_at, __ATOMIC_SEQ_CST)) {
		__atomic_fetch_add(&alarm, 1, __ATOMIC_SEQ_CST);
		os_futex_wake(&alarm);
	}
}

void arch_timer_periodic(void) { arm(arch_ns() + tick_ns(), tick_ns()); }
void arch_timer_oneshot(u64 ns) { arm(arch_ns() + ns, 0); }
void arch_timer_stop(void) { arm(NEVER, 0); }

void arch_udelay(u32 us)
{
	u64 end = arch_ns() + us * NSEC_PER_USEC;

	while (arch_ns() < end)
		cpu_relax();
}

u64 host_timers_run(u64 now)
{
	u64 earliest = NEVER;

	for (unsigned cpu = 0; cpu < NR_CPUS; cpu++) {
		struct timer *t = &timers[cpu];
		u64 d = __atomic_load_n(&t->deadline, __ATOMIC_SEQ_CST);

		if (d <= now) {
			u64 period = __atomic_load_n(&t->period, __ATOMIC_RELAXED);
			u64 next = !period ? NEVER : d + period > now ? d + period : now + period;

			__atomic_store_n(&t->raising, 1, __ATOMIC_SEQ_CST);
			if (__atomic_compare_exchange_n(&t->deadline, &d, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
				host_raise(cpu, HOST_TIMER);
				d = next;
			}	// otherwise the CPU has armed it anew, and d is the new deadline
			__atomic_store_n(&t->raising, 0, __ATOMIC_RELEASE);
		}
		if (d < earliest)
			earliest = d;
	}
	return earliest;
}

static void timer_thread(void *arg)
{
	for (;;) {
		u32 seen = __atomic_load_n(&alarm, __ATOMIC_SEQ_CST);
		u64 next = host_timers_run(os_ns());

		__atomic_store_n(&wake_at, next, __ATOMIC_SEQ_CST);
		arch_fence();
		if (host_timers_run(os_ns()) < next)
			continue;
		if (next == NEVER)
			os_futex_wait(&alarm, seen);
		else
			os_futex_wait_until(&alarm, seen, next);
	}
}

void host_timer_init(void)
{
	for (unsigned cpu = 0; cpu < NR_CPUS; cpu++)
		timers[cpu].deadline = NEVER;
	if (!steps_on)
		os_thread(timer_thread, NULL);
}
