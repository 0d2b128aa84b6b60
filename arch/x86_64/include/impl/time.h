// SPDX-License-Identifier: MIT
// The cycle counter is the TSC. (Latency measurements bring their own fences.)
#pragma once

static __always_inline u64 cycles(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}
