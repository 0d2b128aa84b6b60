// SPDX-License-Identifier: MIT
// The branch is a flag; acquire and release stand for the serialisation that switching the branch is on a CPU.
#pragma once

extern u32 host_branch;

static __always_inline bool arch_branch_on(void) { return unlikely(__atomic_load_n(&host_branch, __ATOMIC_ACQUIRE)); }
static __always_inline void arch_branch_call(u64 event, u64 arg) { trace_write(event, arg); }
