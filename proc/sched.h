// SPDX-License-Identifier: MIT
// Where a task runs and how urgently. A thread's affinity and priority are its own to change (kernel/thread.h), so what
// another task asks of it is written down here, and it does that itself before it next runs user mode: WORK_SCHED. (No
// wait ends early for that: until its thread is there again, the task needs no CPU.)
#pragma once
#include "kernel/cpumask.h"
#include "kernel/types.h"

struct task;

enum { NICE_MIN = -20, NICE_MAX = 19 };

struct task_sched {		// process.lock
	struct cpumask affinity;	// online CPUs; empty: all
	s32 nice;
};

// Before t is started: it is to begin as its parent is (NULL: all CPUs, nice 0). Takes the parent's process.lock.
void sched_inherit(struct task *t, const struct task *parent);
void sched_apply(struct task *t);		// by the task itself: when it begins, and after WORK_SCHED
// process.lock is held. If t is not the calling task, it follows when it next runs user mode; the calling task calls
// sched_apply() when it has released the lock.
void sched_ask_affinity(struct task *t, const struct cpumask *mask);	// not empty, online CPUs only
void sched_ask_nice(struct task *t, s32 nice);
