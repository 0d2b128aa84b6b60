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
u32 scene_next(struct scene *s, unsigned i);
int scene_send(struct scene *s, u32 signo);			// to the process, as kill() does
int scene_send_to(struct scene *s, unsigned i, u32 signo);	// to the task, as tgkill() does
int scene_send_value(struct scene *s, u32 signo, u64 value);	// to the process, as sigqueue() does
void scene_set_handler(struct scene *s, u32 signo, vaddr_t handler);
