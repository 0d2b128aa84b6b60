// SPDX-License-Identifier: MIT
// A program's fault: memory is brought in, or the fault becomes a signal.
#pragma once

struct task;
struct user_fault;

void task_fault(struct task *t, struct user_fault *f);	// by the task itself; may sleep
