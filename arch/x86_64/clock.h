// SPDX-License-Identifier: MIT
// The clock (TSC): set-up. What the kernel uses of it is in arch/time.h.
#pragma once
#include "kernel/types.h"

void clock_init(void);			// boot CPU, after acpi_init(): calibrate the TSC
void clock_check_cpu(u64 earlier);	// another CPU: `earlier` is the boot CPU's TSC before this CPU started
const char *clock_reference(void);	// what the TSC's frequency comes from
u64 clock_ns_to_cycles(u64 ns);

// A counter that the TSC is compared with.
struct clock_counter {
	const char *name;
	u64 (*read)(void);	// counts up
	u64 mask;		// and wraps here
	u64 period_fs;		// femtoseconds per tick; 0: unknown
};
struct clock_interval {
	u64 cycles, ticks;
};
// How many TSC cycles pass while the counter makes so many ticks? Over at least min_ticks and min_cycles; the
// most plausible of several attempts. False: the counter stands still.
bool clock_measure(const struct clock_counter *c, u64 min_ticks, u64 min_cycles, struct clock_interval *out);
