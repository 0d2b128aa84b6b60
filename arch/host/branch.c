// SPDX-License-Identifier: MIT
// A process does not rewrite its code: the branch tests a flag.
#include "kernel/atomic.h"
#include <arch/branch.h>

u32 host_branch;

void arch_branch_turn(bool on) { store_release(&host_branch, (u32)on); }
