// SPDX-License-Identifier: MIT
// Contract: a branch that is switched while the system runs, and costs nothing while it is off. All places where it
// stands, those of lab/trace.h, are switched together.
#pragma once
#include "kernel/types.h"

static __always_inline bool arch_branch_on(void);
void trace_write(u64 event, u64 arg);
// For use in such a branch: trace_write(event, arg), of lab/trace.c.
static __always_inline void arch_branch_call(u64 event, u64 arg);
// Switch all of them, on all CPUs. On return every CPU executes the new code. One caller at a time. Thread context,
// preemption on. Waits for a CPU that the thief has preempted, and all other CPUs wait meanwhile: so the thief must not
// have preempted a CPU that another CPU has to release.
void arch_branch_turn(bool on);

#include <impl/branch.h>
