// SPDX-License-Identifier: MIT
// What else each CPU has of its own.
#pragma once
#include "kernel/types.h"

u64 ist_stack_top(unsigned cpu, unsigned i);	// of its i-th IST stack (NR_IST, stack.h)
