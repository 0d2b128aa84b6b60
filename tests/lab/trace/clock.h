// SPDX-License-Identifier: MIT
// Do the CPUs' cycle counters agree?
#pragma once
#include "kernel/types.h"

// By how many cycles a CPU's counter is ahead of the caller's: at least, and at most.
struct clock_bounds {
	unsigned cpu;
	s64 least, most;
};
struct clock_bounds trace_clock_bounds(unsigned cpu);
// Could the offset be 0 for all CPUs? `worst`: the widest bounds, or those that exclude it.
bool trace_clocks_agree(struct clock_bounds *worst);
