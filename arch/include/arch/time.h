// SPDX-License-Identifier: MIT
// Contract: the cycle counter and this CPU's timer.
#pragma once
#include "kernel/types.h"

static __always_inline u64 cycles(void);	// not ordered against other instructions
bool arch_cycles_are_instructions(void);	// an emulator counts the instructions that all CPUs execute together
u64 arch_cycles_hz(void);		// after calibration
u64 arch_cycles_to_ns(u64 c);
u64 arch_ns(void);			// monotonic ns since boot, any context
u64 arch_wall_ns_at_boot(void);		// real time at arch_ns() == 0, ns since 1970 UTC; 0: unknown
const char *arch_clock_name(void);	// for the banner: "tsc-deadline", "apic+pit", …
// This CPU's timer, IRQs off. Periodic at tick_hz, or one shot after ns (0: at once), or stopped.
void arch_timer_periodic(void);
void arch_timer_oneshot(u64 ns);
void arch_timer_stop(void);
void arch_udelay(u32 us);		// busy wait

#include <impl/time.h>
