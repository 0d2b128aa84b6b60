// SPDX-License-Identifier: MIT
// Contract: per-CPU variables. A variable's address in the image is a template, from which each CPU's copy is a
// constant distance away. Each operation on the own copy is indivisible for this CPU: safe against interrupts and
// migration.
//	this_cpu_read(v), this_cpu_write(v, x), this_cpu_add(v, n), this_cpu_inc(v), this_cpu_dec(v)
//	this_cpu_ptr(p)		the copy's address. Unless preemption is off or the thread is pinned, it may be stale
#pragma once
#include "kernel/atomic.h"
#include "kernel/types.h"

#define DEFINE_PER_CPU(type, name) __attribute__((section("percpu"))) __typeof__(type) name
#define DECLARE_PER_CPU(type, name) extern __attribute__((section("percpu"))) __typeof__(type) name

extern uintptr_t percpu_offset[NR_CPUS];	// distance of each CPU's copy; filled before the CPU starts
DECLARE_PER_CPU(uintptr_t, this_cpu_offset);
DECLARE_PER_CPU(u32, cpu_number);

#include <impl/percpu.h>

#define per_cpu_ptr(p, cpu) ((__typeof__(p))((uintptr_t)(p) + percpu_offset[cpu]))
#define per_cpu(v, cpu) (*per_cpu_ptr(&(v), (cpu)))
static __always_inline unsigned cpu_id(void) { return this_cpu_read(cpu_number); }

// Boot: allocate and fill the copies of CPUs 1 … n-1 from the untouched template. False: out of memory.
bool percpu_alloc(unsigned n);
