// SPDX-License-Identifier: MIT
// What each CPU needs before it runs programs.
#pragma once
#include "kernel/types.h"

struct user_context;

void user_init_cpu(void);	// SYSCALL leads to its entry, SYSENTER nowhere
// Has this CPU the context's FPU and base registers? Another thread may have run here since `cpu` was set. IRQs off.
bool user_held_here(const struct user_context *c);
