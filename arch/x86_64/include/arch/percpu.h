// SPDX-License-Identifier: MIT
// Contract: per-CPU variables. A variable's address in the image is a template; GS base holds the distance from the
// template to this CPU's copy, so that %gs:var is the copy in one instruction, whatever happens between two of them.
#pragma once
#include "kernel/atomic.h"
#include "kernel/types.h"

#define DEFINE_PER_CPU(type, name) __attribute__((section("percpu"))) __typeof__(type) name
#define DECLARE_PER_CPU(type, name) extern __attribute__((section("percpu"))) __typeof__(type) name

extern uintptr_t percpu_offset[NR_CPUS];	// distance of each CPU's copy; filled before the CPU starts
DECLARE_PER_CPU(uintptr_t, this_cpu_offset);
DECLARE_PER_CPU(u32, cpu_number);

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

// The copy's address. Preemption off, or the thread is pinned, or the value may be stale.
#define this_cpu_ptr(p) ((__typeof__(p))((uintptr_t)(p) + this_cpu_read(this_cpu_offset)))
#define per_cpu_ptr(p, cpu) ((__typeof__(p))((uintptr_t)(p) + percpu_offset[cpu]))
#define per_cpu(v, cpu) (*per_cpu_ptr(&(v), (cpu)))
static __always_inline unsigned cpu_id(void) { return this_cpu_read(cpu_number); }

// Boot: allocate and fill the copies of CPUs 1 … n-1 from the untouched template. False: out of memory.
bool percpu_alloc(unsigned n);
