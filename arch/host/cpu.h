// SPDX-License-Identifier: MIT
// Which CPU is this? A CPU is a pthread; its thread-local word is the distance from the per-CPU template to its copy.
//
// Kernel threads migrate between pthreads in arch_thread_switch(), so a thread-local *address* that the compiler keeps
// across a call would be another CPU's. The word is therefore always read in one instruction, relative to the thread pointer.
#pragma once
#include "kernel/types.h"

extern __thread uintptr_t host_cpu_offset;	// 0: not a CPU (the timer thread, or before main)

static __always_inline uintptr_t host_offset(void)
{
	uintptr_t offset;

	__asm__ volatile("movq %%fs:host_cpu_offset@tpoff, %0" : "=r"(offset));
	return offset;
}
#define host_this(v) ((__typeof__(v) *)((uintptr_t)&(v) + host_offset()))
