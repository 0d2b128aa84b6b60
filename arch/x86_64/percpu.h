// SPDX-License-Identifier: MIT
// What each CPU has besides its per-CPU variables.
#pragma once
#include "kernel/types.h"

u64 ist_stack_top(unsigned cpu, unsigned i);	// of its i-th IST stack (NR_IST, stack.h)
