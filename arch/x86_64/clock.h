// SPDX-License-Identifier: MIT
// The clock (TSC) and the local APIC's timer: set-up. The rest is in arch/time.h.
#pragma once
#include "kernel/types.h"

void clock_init(void);		// boot CPU, after acpi_init(): calibrate the TSC
void clock_check_cpu(u64 earlier);	// other CPUs: `earlier` was read from the boot CPU's TSC before this CPU started
void timer_init(void);		// boot CPU, after clock_init() and apic_init()
void timer_init_cpu(void);	// each CPU
const char *clock_reference(void);	// what the TSC was calibrated by

// How often does a counter tick per second, or how many TSC cycles pass while it counts? Both are sampled close together, over
// a window of at least min_ticks and min_cycles. False: the counter stands still.
struct clock_counter {
	const char *name;
	u64 (*read)(void);	// counts up, wraps at mask
	u64 mask;
	u64 period_fs;		// 0: unknown
};
struct clock_interval {
	u64 cycles, ticks;
};
bool clock_measure(const struct clock_counter *c, u64 min_ticks, u64 min_cycles, struct clock_interval *out);
