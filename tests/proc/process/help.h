// SPDX-License-Identifier: MIT
// Processes whose tasks run scripts, in a space with what bare.h names.
#pragma once
#include "lab/test.h"
#include "proc/process.h"
#include "proc/task.h"
#include "tests/mm/help.h"
#include "tests/proc/bare.h"

enum {
	SYS_RT_SIGRETURN = 15, SYS_PAUSE = 34, SYS_NANOSLEEP = 35, SYS_CLONE = 56, SYS_EXIT = 60, SYS_FUTEX = 202,
	SYS_SETPRIORITY = 141, SYS_EXIT_GROUP = 231,
};
#define CLONE_THREAD_FLAGS 0x10f00	// VM, FS, FILES, SIGHAND, THREAD

#define SCRIPTED_TASKS 8
struct scripted {
	struct process *p;
	struct space *s;	// a count of our own, so that the test can look afterwards
	u64 threads;		// that existed before
	u32 tasks;		// started by scripted_task()
};
// The script is loaded, no task runs. Under that policy and back-end; NULL: the default. False: the test has failed.
bool scripted_begin(struct scripted *x, const struct instruction *script, unsigned n, const struct table_policy *policy,
		    const struct flush_backend *backend);
// A task that begins with that instruction. Each has a stack of its own, up to SCRIPTED_TASKS.
bool scripted_task(struct scripted *x, unsigned first);
// A handler that begins with that instruction, which ends by RETURN().
void scripted_handler(struct scripted *x, u32 signo, unsigned handler, unsigned restorer);
u32 scripted_count(struct scripted *x, vaddr_t va);	// 4 bytes of its memory
void scripted_tell(struct scripted *x, vaddr_t va, u64 v);
// Waits until it has ended by itself; its status. The space stays, for scripted_count(), until scripted_free().
int scripted_wait(struct scripted *x);
void scripted_free(struct scripted *x);		// when the last task's thread is gone, too
