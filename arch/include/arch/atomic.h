// SPDX-License-Identifier: MIT
// Contract: what kernel/atomic.h is built on. Statements:
//	arch_yield_point()		before each access to shared memory: here the host build takes its interrupts
//	arch_fence()			a full barrier
//	arch_fence_after_atomic()	the same, directly after a seq_cst read-modify-write
//	cpu_relax()			in a loop that waits for another CPU
#pragma once
#include <impl/atomic.h>
