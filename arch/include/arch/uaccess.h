// SPDX-License-Identifier: MIT
// Contract: the kernel's access to user memory.
#pragma once
#include "kernel/types.h"

// Access user memory of the loaded space from the kernel: 0, or -EFAULT when the page is not there even after
// space_fault(). IRQs on for those that may fault in; the _nofault forms never call space_fault (any context but NMI).
int arch_user_read64(vaddr_t va, u64 *out);
int arch_user_write64(vaddr_t va, u64 v);
int arch_user_read64_nofault(vaddr_t va, u64 *out);
int arch_user_write64_nofault(vaddr_t va, u64 v);
