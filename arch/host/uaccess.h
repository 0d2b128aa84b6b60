// SPDX-License-Identifier: MIT
// One access to user memory, as a processor makes it: by the kernel (uaccess.c), or by a program (user.c).
#pragma once
#include "kernel/types.h"

// The n bytes at va, which may cross into the next page. Aligned pieces of 8 or 4 bytes are indivisible. False: *fault
// says where, and nothing was touched. Interrupts either way.
bool access_user(vaddr_t va, void *data, size_t n, bool write, vaddr_t *fault);
// *old becomes what was there; stored only if that was `expected`. va is a multiple of 4.
bool access_cmpxchg32(vaddr_t va, u32 expected, u32 v, u32 *old);
