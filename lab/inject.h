// SPDX-License-Identifier: MIT
// Allocation failures on purpose (checking builds): the n-th allocation from now on by the current thread fails.
#pragma once
#include "kernel/types.h"

void inject_alloc_failure(u64 nth);	// 1: the next one; 0: off. Only allocations of the calling thread count
void inject_alloc_failures_from(u64 nth);	// the n-th and all that follow, until inject_alloc_failure(0)
bool inject_should_fail(void);		// asked by the allocators, once per allocation; false in release builds
bool inject_fired(void);		// did the armed failure happen?
