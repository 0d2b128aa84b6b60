// SPDX-License-Identifier: MIT
// Contract: the cycle counter and this CPU's timer. A cycle is a nanosecond of CLOCK_MONOTONIC here.
#pragma once
#include "kernel/types.h"

u64 arch_ns(void);			// monotonic ns since boot, any context
static __always_inline u64 cycles(void) { return arch_ns(); }
static inline bool arch_cycles_are_instructions(void) { return false; }
u64 arch_cycles_hz(void);
u64 arch_cycles_to_ns(u64 c);
const char *arch_clock_name(void);	// for the banner
// This CPU's timer, IRQs off. Periodic at tick_hz, or one shot after ns (0: at once), or stopped.
void arch_timer_periodic(void);
void arch_timer_oneshot(u64 ns);
void arch_timer_stop(void);
void arch_udelay(u32 us);		// busy wait
