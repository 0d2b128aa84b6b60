// SPDX-License-Identifier: MIT
// Shared memory is touched through these names only: thin wrappers of the compiler's __atomic builtins.
// Each is also a yield point (arch_yield_point, empty on hardware), where the host build may take an "interrupt".
//
// Order: READ_ONCE/WRITE_ONCE relaxed; load_acquire/store_release as named; xchg, cmpxchg and the
// fetch_* family are seq_cst, thus full barriers on both sides on x86; *_relaxed have no order.
#pragma once
#include "kernel/types.h"
#include <arch/atomic.h>	// arch_yield_point(), arch_fence()

#define READ_ONCE(x) ({ arch_yield_point(); __atomic_load_n(&(x), __ATOMIC_RELAXED); })
#define WRITE_ONCE(x, v) ({ arch_yield_point(); __atomic_store_n(&(x), (v), __ATOMIC_RELAXED); })
#define load_acquire(p) ({ arch_yield_point(); __atomic_load_n((p), __ATOMIC_ACQUIRE); })
#define store_release(p, v) ({ arch_yield_point(); __atomic_store_n((p), (v), __ATOMIC_RELEASE); })
#define xchg(p, v) ({ arch_yield_point(); __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST); })
#define fetch_add(p, v) ({ arch_yield_point(); __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST); })
#define fetch_sub(p, v) ({ arch_yield_point(); __atomic_fetch_sub((p), (v), __ATOMIC_SEQ_CST); })
#define fetch_or(p, v) ({ arch_yield_point(); __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST); })
#define fetch_and(p, v) ({ arch_yield_point(); __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST); })
#define fetch_add_relaxed(p, v) ({ arch_yield_point(); __atomic_fetch_add((p), (v), __ATOMIC_RELAXED); })

// Replace *p by `new` if it is `old`, in one try; true: done. The value found on failure is lost: read *p again.
#define cmpxchg(p, old, new) ({ \
	typeof(*(p)) _old = (old); \
	arch_yield_point(); \
	__atomic_compare_exchange_n((p), &_old, (new), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); })
// The same; on failure *old becomes the value that was found.
#define cmpxchg_update(p, old, new) ({ \
	arch_yield_point(); \
	__atomic_compare_exchange_n((p), (old), (new), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); })

#define barrier() __atomic_signal_fence(__ATOMIC_SEQ_CST)	// compiler only
#define smp_mb() arch_fence()				// full barrier; say what it pairs with
#define smp_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
