// SPDX-License-Identifier: MIT
// Contract: one branch that is switched while the system runs, and costs nothing while it is off. There is one, for
// lab/trace.h.
#pragma once
#include "kernel/types.h"

static __always_inline bool arch_branch_on(void);
void trace_write(u64 event, u64 arg);
// In such a branch: trace_write(event, arg), of lab/trace.c.
static __always_inline void arch_branch_call(u64 event, u64 arg);
// All of them, on all CPUs. On return every CPU executes the new code. One caller at a time. Thread context, preemption
// on; waits for a CPU that is robbed of its processor by the thief, and all others wait with it: no
// theft may be under way that another CPU has to end.
void arch_branch_turn(bool on);

#include <impl/branch.h>
