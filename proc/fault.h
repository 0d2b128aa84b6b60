// SPDX-License-Identifier: MIT
// A program's fault: memory is brought in, or the fault becomes a signal.
#pragma once
#include "kernel/types.h"

struct task;
struct user_fault;

void task_fault(struct task *t, struct user_fault *f);	// by the task itself; may sleep
// The same for the kernel's access to the current program's memory, when there is none for the page: the largest process is
// ended. True: try again. False: the current process is ending itself, or the thread runs no program. May sleep.
bool task_memory_freed(void);
