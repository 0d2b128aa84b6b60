// SPDX-License-Identifier: MIT
// A task is a thread of a program: a kernel thread that runs user mode in a loop (task.c).
#pragma once
#include "kernel/list.h"
#include "kernel/thread.h"
#include "proc/process.h"
#include "proc/sched.h"
#include "proc/signal.h"
#include <arch/user.h>

// Bits of user.work.
enum {
	WORK_SIGNAL = 1,		// signals may be pending
	WORK_EXIT = USER_WORK_EXIT,	// its process ends
	WORK_SCHED = 4,			// sched_apply()
};

#define TASK_NAME 16

struct task;
// How a call goes on that has returned -ERESTART_RESTARTBLOCK.
struct task_restart {
	s64 (*fn)(struct task *t);
	u64 deadline_ns, args[4];
};

struct task {
	struct user_context user;
	struct process *process;
	struct thread *thread;
	struct list link;		// process.tasks; its lock
	u32 tid;
	int exit_code;
	char name[TASK_NAME];		// prctl(PR_SET_NAME)
	vaddr_t clear_tid;		// set_tid_address, CLONE_CHILD_CLEARTID: 0 goes there when it ends, and a futex wake
	vaddr_t robust_list;		// set_robust_list
	struct task_restart restart;
	struct task_signals signals;
	struct task_sched sched;
};

// Of the calling thread, which runs a program.
static inline struct task *current_task(void) { return container_of(current->user, struct task, user); }

// A new task of p, not yet running; its registers are the caller's to set. NULL: no memory. Then task_start(), or
// task_discard().
// parent: whose name and signal mask it inherits, or NULL.
struct task *task_create(struct process *p, const struct task *parent);
int task_start(struct task *t);		// -ENOMEM: not started; task_discard() is still due
void task_discard(struct task *t);
// Have it look at its work bits soon: it leaves user mode, or a wait that asks task_interrupted(). The caller keeps it
// alive: process.lock is held or it is of a process whose tasks cannot end meanwhile. Any context but NMI.
void task_kick(struct task *t, u32 work);
// Should a wait of the current task end early? For the condition of wait_event(): a full barrier lies between the waiter's
// state and the look, which pairs with the one in task_kick().
bool task_interrupted(void);
// End the calling task when it next returns to user mode. The last task's end is the process's.
void task_exit(struct task *t, int code);
