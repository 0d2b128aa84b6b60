// SPDX-License-Identifier: MIT
// The one CPU's clock and timer under a fuzzer, in place of arch/host/timer.c: time is counted, not measured, so that a
// run can be repeated and nobody waits. Each reading of the clock and each turn of a spin takes some time; where the
// CPU halts, time leaps to the timer's deadline (irq.c waits by os_futex_wait() and spins by os_yield(); fuzz.mk wraps
// both).
#include "kernel/panic.h"
#include "kernel/time.h"
#include <arch/time.h>
#include "arch/host/host.h"
#include "arch/host/irq.h"
#include "arch/host/os.h"

#define NEVER (~0ull)
#define LOOK_NS 20
#define SPIN_NS 2000

static u64 now, deadline = NEVER, period;

static void pass(u64 ns)
{
	now += ns;
	if (now < deadline)
		return;
	deadline = period ? now + period : NEVER;
	host_raise(0, HOST_TIMER);
}

u64 arch_ns(void)
{
	pass(LOOK_NS);
	return now;
}
u64 arch_wall_ns_at_boot(void) { return 0; }

u64 arch_cycles_hz(void) { return NSEC_PER_SEC; }
bool arch_cycles_are_instructions(void) { return false; }
u64 arch_cycles_to_ns(u64 c) { return c; }
const char *arch_clock_name(void) { return "counted"; }

static void arm(u64 ns, u64 each)
{
	period = each;
	deadline = now + ns;
	pass(0);
}

void arch_timer_periodic(void) { arm(tick_ns(), tick_ns()); }
void arch_timer_oneshot(u64 ns) { arm(ns, 0); }
void arch_timer_stop(void) { deadline = NEVER; }
void arch_udelay(u32 us) { pass(us * NSEC_PER_USEC); }
void host_timer_init(void) { }
u64 host_timers_run(u64 now_) { return NEVER; }	// for the deterministic scheduler, which a fuzzer does not use

void __wrap_os_yield(void);
void __wrap_os_yield(void) { pass(SPIN_NS); }

void __wrap_os_futex_wait(uint32_t *word, uint32_t expected);
void __wrap_os_futex_wait(uint32_t *word, uint32_t expected)
{
	if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != expected)
		return;
	if (deadline == NEVER)
		panic("the only CPU halts and nothing will wake it");
	pass(deadline > now ? deadline - now : 0);
}
