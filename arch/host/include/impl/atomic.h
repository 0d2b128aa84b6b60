// SPDX-License-Identifier: MIT
// Atomics: where interrupts are taken.
#pragma once
#include "arch/host/irq.h"

// Every access to shared memory is a place where this CPU may take an interrupt; there is no other preemption here.
#define arch_yield_point() do { \
	if (unlikely(__atomic_load_n(&host_this(host_irq)->pending, __ATOMIC_RELAXED))) \
		host_poll(); \
} while (0)
#ifdef __SANITIZE_THREAD__
#define arch_fence() host_fence()	// ThreadSanitizer knows no fences: a seq_cst read-modify-write on a dummy
#else
#define arch_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif
#define arch_fence_after_atomic() arch_fence()
#define cpu_relax() host_relax()
