// SPDX-License-Identifier: MIT
// Processor time of tasks and processes, ns: what their threads have run, in the kernel and in user mode together.
#pragma once
#include "kernel/types.h"

struct process;
struct task;

u64 task_cpu_ns(const struct task *t);
u64 process_cpu_ns(struct process *p);		// those that have ended included. May sleep
void cpu_task_ends(struct task *t);		// by itself, p->lock held: its process keeps its time
// A clock of Linux's number for the processor time of a task or a process (pthread_getcpuclockid()): only the caller's own
// process, and tasks of it. 0, or -EINVAL.
s64 cpu_clock_read(struct task *t, s32 clock, u64 *ns);
