// SPDX-License-Identifier: MIT
// Contract: per-CPU variables. A variable's address in the image is a template; the CPU's thread-local word holds the
// distance to its copy. None of these accesses is a yield point, so on the own CPU each is as indivisible as one
// instruction; the __atomic builtins are for the other CPUs that look.
#pragma once
#include "kernel/atomic.h"
#include "kernel/types.h"

#define DEFINE_PER_CPU(type, name) __attribute__((section("percpu"))) __typeof__(type) name
#define DECLARE_PER_CPU(type, name) extern __attribute__((section("percpu"))) __typeof__(type) name

extern uintptr_t percpu_offset[NR_CPUS];	// distance of each CPU's copy; filled before the CPU starts
DECLARE_PER_CPU(uintptr_t, this_cpu_offset);
DECLARE_PER_CPU(u32, cpu_number);

#define this_cpu_read(v) __atomic_load_n(host_this(v), __ATOMIC_RELAXED)
#define this_cpu_write(v, x) __atomic_store_n(host_this(v), (x), __ATOMIC_RELAXED)
#define this_cpu_add(v, n) do { \
	__typeof__(v) *_p = host_this(v); \
	__atomic_store_n(_p, __atomic_load_n(_p, __ATOMIC_RELAXED) + (n), __ATOMIC_RELAXED); \
} while (0)
#define this_cpu_inc(v) this_cpu_add(v, 1)
#define this_cpu_dec(v) this_cpu_add(v, -1)

// The copy's address. Preemption off, or the thread is pinned, or the value may be stale.
#define this_cpu_ptr(p) ((__typeof__(p))((uintptr_t)(p) + host_offset()))
#define per_cpu_ptr(p, cpu) ((__typeof__(p))((uintptr_t)(p) + percpu_offset[cpu]))
#define per_cpu(v, cpu) (*per_cpu_ptr(&(v), (cpu)))
static __always_inline unsigned cpu_id(void) { return this_cpu_read(cpu_number); }

// Boot: allocate and fill the copies of CPUs 1 … n-1 from the untouched template. False: out of memory.
bool percpu_alloc(unsigned n);
