// SPDX-License-Identifier: MIT
// Atomics: interrupts come by themselves; LOCKed operations are full barriers.
#pragma once

#define arch_yield_point() ((void)0)
// A LOCKed read-modify-write of the stack orders like MFENCE for write-back memory and is cheaper (SDM vol. 3, 9.2.2).
#define arch_fence() __asm__ volatile("lock; addl $0, -4(%%rsp)" ::: "memory", "cc")
#define arch_fence_after_atomic() __asm__ volatile("" ::: "memory")	// LOCKed: that was one
#define cpu_relax() __asm__ volatile("pause" ::: "memory")
