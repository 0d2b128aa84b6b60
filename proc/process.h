// SPDX-License-Identifier: MIT
// A process: a space, and the tasks that run in it.
#pragma once
#include "kernel/list.h"
#include "kernel/mutex.h"
#include "kernel/types.h"
#include "proc/signal.h"

struct space;
struct task;

struct rlimit { u64 soft, hard; };	// as Linux's struct rlimit64
enum { RLIMIT_STACK = 3, RLIMIT_NOFILE = 7, RLIMIT_MEMLOCK = 8, RLIMIT_AS = 9, NR_RLIMITS = 16 };
#define RLIM_INFINITY (~0ull)

struct process {
	struct space *space;
	u64 refs;
	u32 pid;
	struct list all_link;		// all processes: process.c's lock
	struct mutex lock;		// tasks, brk, limits
	struct list tasks;		// that have been started and have not ended
	u32 nr_tasks;
	bool ending;			// no task is started any more
	int status;			// as wait() tells it: exit code << 8, or the signal that killed it
	struct completion ended;	// no task is left, and the space is given up
	const char *name;		// its file's
	const void *file;		// the ELF file, for symbols; stays
	u64 file_size;
	u64 bias;			// where it was loaded, less where it says
	vaddr_t brk_start, brk;
	u32 lock_future;		// mlockall(MCL_FUTURE): flags of regions to come (mm/space.h); lock
	bool membarrier;		// has asked for MEMBARRIER_PRIVATE_EXPEDITED; only ever set
	u32 closed;			// bit n: file descriptor n, of 0 to 2, has been closed (sys/console.c)
	struct rlimit limits[NR_RLIMITS];
	u64 started_ns;
	u64 ended_cpu_ns;		// of tasks that have ended (cputime.h); lock
	struct process_signals signals;
};

struct process *process_create(const char *name);	// with an empty space; NULL: no memory. One reference
void process_leave(struct task *t);	// by the task: it has ended. The last one ends the process
void process_give_up_space(struct process *p);	// no task is left
void process_get(struct process *p);
void process_put(struct process *p);
// Begin to end it with that status (the first caller's counts): all tasks end. May sleep; not with p->lock held.
void process_end(struct process *p, int status);
// Its task of that number, or NULL; p->lock is held.
struct task *process_task(struct process *p, u32 tid);
u32 process_new_id(void);		// for a pid or a tid
u64 process_count(void);		// that exist
// A fault for which there is no memory: the largest process is ended by SIGKILL and says so. May sleep; no process's lock
// is held.
void process_out_of_memory(void);
