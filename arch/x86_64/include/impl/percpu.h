// SPDX-License-Identifier: MIT
// Per-CPU variables: GS base holds the distance from the template to this CPU's copy, so that %gs:var is the copy in
// one instruction, whatever happens between two of them.
#pragma once

#define __gs(v) (*(volatile __seg_gs __typeof__(v) *)(uintptr_t)&(v))
#define this_cpu_read(v) ((__typeof__(v))__gs(v))
#define this_cpu_write(v, x) ((void)(__gs(v) = (x)))
// One instruction each: safe against interrupts and migration.
#define __gs_op(op, v, n) do { \
	if (sizeof(v) == 8) \
		__asm__ volatile(op "q %1, %%gs:%0" : "+m"(v) : "er"((u64)(n)) : "memory", "cc"); \
	else \
		__asm__ volatile(op "l %1, %%gs:%0" : "+m"(*(u32 *)&(v)) : "ir"((u32)(n)) : "memory", "cc"); \
} while (0)
#define this_cpu_add(v, n) __gs_op("add", v, n)
#define this_cpu_inc(v) this_cpu_add(v, 1)
#define this_cpu_dec(v) __gs_op("sub", v, 1)

#define this_cpu_ptr(p) ((__typeof__(p))((uintptr_t)(p) + this_cpu_read(this_cpu_offset)))
