// SPDX-License-Identifier: MIT
// Contract: arch_yield_point() and arch_fence().
#pragma once

#define arch_yield_point() ((void)0)
// A LOCKed read-modify-write of the stack orders like MFENCE for write-back memory and is cheaper (SDM vol. 3, 9.2.2).
#define arch_fence() __asm__ volatile("lock; addl $0, -4(%%rsp)" ::: "memory", "cc")
#define cpu_relax() __asm__ volatile("pause" ::: "memory")
