// SPDX-License-Identifier: MIT
// What each CPU needs before it runs programs.
#pragma once
#include "kernel/types.h"

struct user_context;

void user_init_cpu(void);	// SYSCALL leads to its entry, SYSENTER nowhere
// Has this CPU the context's FPU and base registers? Another thread may have run here since `cpu` was set. IRQs off.
bool user_held_here(const struct user_context *c);
// For the thread itself, which is in the kernel: its FPU area is what counts from now on, whatever the CPU has.
void user_reload(struct user_context *c);
