// SPDX-License-Identifier: MIT
// Contract: one branch that is switched while the system runs. Here it is a flag.
#pragma once
#include "kernel/types.h"

extern u32 host_branch;

static __always_inline bool arch_branch_on(void) { return unlikely(__atomic_load_n(&host_branch, __ATOMIC_RELAXED)); }
void arch_branch_switch(bool on);
