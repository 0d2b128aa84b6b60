// SPDX-License-Identifier: MIT
// What the suites of page frames share. Are as many frames free as before? Both may sleep.
#pragma once
#include "kernel/types.h"

#define STRESS_CPUS 16u		// with many more vCPUs than processors, time is lost to lock holders that do not run

u64 page_balance_start(void);		// free frames, once nothing is on its way back
bool page_balanced(u64 before);		// once all threads that have ended have returned their memory

paddr_t page_hole(void);		// the lowest address without a descriptor
paddr_t page_hole_end(void);		// … and the next one behind it that has one; 0: none has
