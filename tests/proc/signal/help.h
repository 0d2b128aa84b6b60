// SPDX-License-Identifier: MIT
// A process whose tasks never run: signals are sent to it, and what would be delivered is taken by the test.
#pragma once
#include "lab/test.h"
#include "proc/signal.h"
#include "proc/task.h"

#define SCENE_TASKS 3

struct scene {
	struct process process;
	struct task tasks[SCENE_TASKS];
};

struct scene *scene_begin(void);	// NULL: the test has failed for want of memory
void scene_end(struct scene *s);	// nothing may be left that is counted
static inline bool kicked(const struct scene *s, unsigned i) { return s->tasks[i].user.work & WORK_SIGNAL; }
// The signal that the task would deliver next, or 0.
u32 next_signal(struct scene *s, unsigned i);
int send(struct scene *s, u32 signo);			// to the process, as kill() does
int send_to(struct scene *s, unsigned i, u32 signo);	// to the task, as tgkill() does
int send_value(struct scene *s, u32 signo, u64 value);	// to the process, as sigqueue() does
void set_handler(struct scene *s, u32 signo, vaddr_t handler);
