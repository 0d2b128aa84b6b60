// SPDX-License-Identifier: MIT
// The offset between two CPUs' counters, bounded by causality: a call is made at t0 by the caller's counter, sees t1 on
// the other CPU's, and is back at t2. So t1 - t2 <= offset <= t1 - t0. The tightest of many bounds are taken.
#include "tests/lab/trace/clock.h"
#include "kernel/cpumask.h"
#include "kernel/time.h"
#include "kernel/xcall.h"

#define ROUNDS 200

static void read_clock(void *at) { *(u64 *)at = cycles(); }

struct clock_bounds trace_clock_bounds(unsigned cpu)
{
	struct clock_bounds b = { .cpu = cpu, .least = INT64_MIN, .most = INT64_MAX };

	for (int i = 0; i < ROUNDS; i++) {
		u64 t0 = cycles(), t1, t2;

		xcall_one(cpu, read_clock, &t1);
		t2 = cycles();
		b.least = MAX(b.least, (s64)(t1 - t2));
		b.most = MIN(b.most, (s64)(t1 - t0));
	}
	return b;
}

bool trace_clocks_agree(struct clock_bounds *worst)
{
	*worst = (struct clock_bounds){ .cpu = cpu_id() };
	for_each_cpu(cpu) {
		struct clock_bounds b;

		if (cpu == cpu_id())
			continue;
		b = trace_clock_bounds(cpu);
		if (b.most - b.least > worst->most - worst->least)
			*worst = b;
		if (b.least > 0 || b.most < 0) {
			*worst = b;
			return false;
		}
	}
	return true;
}
