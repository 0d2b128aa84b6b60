// SPDX-License-Identifier: MIT
// This CPU's timer: the local APIC's, by TSC deadline where the CPU has that, otherwise by its own counter.
#include "arch/x86_64/timer.h"
#include "arch/x86_64/apic.h"
#include "arch/x86_64/clock.h"
#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/icount.h"
#include "arch/x86_64/io.h"
#include "arch/x86_64/traps.h"
#include "arch/x86_64/xen.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include <arch/machine.h>
#include <arch/percpu.h>

#define MSR_TSC_DEADLINE 0x6e0u
#define DIVIDE_BY_16 3
#define CALIBRATE_NS (10 * NSEC_PER_MSEC)

static bool deadline_mode;
static u64 counts_per_second;			// of the APIC's counter
static char clock_name[32] = "none";

// In deadline mode: when the next periodic tick is due; 0: not periodic.
static DEFINE_PER_CPU(u64, next_tick);

const char *arch_clock_name(void) { return clock_name; }

static u64 read_counter(void) { return 0xffffffff - apic_read(APIC_TIMER_NOW); }

static void calibrate_counter(void)
{
	const struct clock_counter counter = { .name = "apic", .read = read_counter, .mask = 0xffffffff };
	struct clock_interval in;

	apic_write(APIC_LVT_TIMER, APIC_MASKED | APIC_TIMER_ONESHOT | VEC_TIMER);
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_16);
	apic_write(APIC_TIMER_COUNT, 0xffffffff);
	if (!clock_measure(&counter, 1, clock_ns_to_cycles(CALIBRATE_NS), &in))
		panic("the local APIC's timer does not count");
	apic_write(APIC_TIMER_COUNT, 0);
	counts_per_second = in.ticks * NSEC_PER_SEC / arch_cycles_to_ns(in.cycles);
	log_debug("timer: local APIC counts %llu per second", (unsigned long long)counts_per_second);
}

static void timer_handler(struct trap_frame *f)
{
	u64 next = this_cpu_read(next_tick);

	apic_eoi();
	if (next) {
		u64 period = clock_ns_to_cycles(tick_ns()), now = cycles();

		next += period;
		if ((s64)(next - now) <= 0)	// ticks missed while the host ran something else are not made up for
			next = now + period;
		this_cpu_write(next_tick, next);
		wrmsr(MSR_TSC_DEADLINE, next);
	}
	time_interrupt(trap_was_quiescent(f));
	icount_tick();
}

void timer_init(void)
{
	deadline_mode = cpu_has_tsc_deadline();
	if (xen_present())
		counts_per_second = XEN_APIC_HZ / 16;
	else if (!deadline_mode)
		calibrate_counter();
	ksnprintf(clock_name, sizeof(clock_name), "%s+%s", deadline_mode ? "tsc-deadline" : "apic", clock_reference());
	arch_set_irq_handler(VEC_TIMER, timer_handler);
	timer_init_cpu();
}

void timer_init_cpu(void)
{
	apic_write(APIC_LVT_TIMER, VEC_TIMER | (deadline_mode ? APIC_TIMER_DEADLINE : APIC_TIMER_ONESHOT));
	if (!deadline_mode)
		apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_16);
	// In xAPIC mode the LVT is memory, and WRMSR may overtake the write to it (SDM vol. 3, 11.5.4.1).
	__asm__ volatile("mfence" ::: "memory");
	arch_timer_stop();
}

static void start_counter(u32 mode, u64 ns)
{
	u64 seconds = ns / NSEC_PER_SEC;
	u64 count = seconds > 1000 ? ~0ull :
		    seconds * counts_per_second + ns % NSEC_PER_SEC * counts_per_second / NSEC_PER_SEC;

	// Stopped first: otherwise the counter would for an instant have the new mode and the old count. A periodic
	// timer whose period is the rest of a short wait, some nanoseconds, fires faster than an emulator can serve it:
	// QEMU's main loop then never gets on, and keeps the lock that the next write here needs.
	apic_write(APIC_TIMER_COUNT, 0);
	apic_write(APIC_LVT_TIMER, mode | VEC_TIMER);
	// 0 would stop it
	apic_write(APIC_TIMER_COUNT, (u32)(count < 1 ? 1 : count > 0xffffffff ? 0xffffffff : count));
}

void arch_timer_periodic(void)
{
	if (deadline_mode) {
		u64 next = cycles() + clock_ns_to_cycles(tick_ns());

		this_cpu_write(next_tick, next);
		wrmsr(MSR_TSC_DEADLINE, next);
	} else {
		start_counter(APIC_TIMER_PERIODIC, tick_ns());
	}
}

// A wait longer than the counter can count ends early: the caller looks at the clock and arms the timer again.
void arch_timer_oneshot(u64 ns)
{
	if (deadline_mode) {
		this_cpu_write(next_tick, 0);
		wrmsr(MSR_TSC_DEADLINE, cycles() + clock_ns_to_cycles(MIN(ns, 1000 * NSEC_PER_SEC)));
	} else {
		start_counter(APIC_TIMER_ONESHOT, ns);
	}
}

void arch_timer_stop(void)
{
	this_cpu_write(next_tick, 0);
	if (deadline_mode)
		wrmsr(MSR_TSC_DEADLINE, 0);
	else
		apic_write(APIC_TIMER_COUNT, 0);
}
