// SPDX-License-Identifier: MIT
// Per-CPU variables: the CPU's thread-local word holds the distance to its copy. None of these accesses is a yield
// point, so on the own CPU each is as indivisible as one instruction; the __atomic builtins are for the other CPUs that
// look.
#pragma once

#define this_cpu_read(v) __atomic_load_n(host_this(v), __ATOMIC_RELAXED)
#define this_cpu_write(v, x) __atomic_store_n(host_this(v), (x), __ATOMIC_RELAXED)
#define this_cpu_add(v, n) do { \
	__typeof__(v) *_p = host_this(v); \
	__atomic_store_n(_p, __atomic_load_n(_p, __ATOMIC_RELAXED) + (n), __ATOMIC_RELAXED); \
} while (0)
#define this_cpu_inc(v) this_cpu_add(v, 1)
#define this_cpu_dec(v) this_cpu_add(v, -1)

#define this_cpu_ptr(p) ((__typeof__(p))((uintptr_t)(p) + host_offset()))
