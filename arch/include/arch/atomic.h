// SPDX-License-Identifier: MIT
// Contract: what kernel/atomic.h rests on. Statements:
//	arch_yield_point()		before each access to shared memory: here a machine without interrupts takes them
//	arch_fence()			a full barrier
//	arch_fence_after_atomic()	the same where a seq_cst read-modify-write has just been
//	cpu_relax()			in a loop that waits for another CPU
#pragma once
#include <impl/atomic.h>
