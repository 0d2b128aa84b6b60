// SPDX-License-Identifier: MIT
// A set of pending signals, of a task or of a process. A standard signal is in it once; real-time signals queue up. The
// lock is the process's (signals.lock).
#pragma once
#include "kernel/list.h"
#include <arch/user.h>

#define SIGRTMIN 32
#define SIGNAL_BIT(signo) (1ull << ((signo) - 1))
// Signals of one process that may be queued; a real-time signal beyond that is refused with EAGAIN.
#define SIGNALS_QUEUED_MAX 1024

struct signal_entry {
	struct list link;
	struct user_siginfo info;
	bool embedded;		// part of a struct task: not to be freed
};

struct signal_queue {
	u64 set;		// bit n - 1: signal n
	struct list entries;	// oldest first. A signal that found no memory is in `set` only
};

void signal_queue_init(struct signal_queue *q);
// `count`: of all entries of the process. -EAGAIN: a real-time signal whose data would be lost.
int signal_queue_add(struct signal_queue *q, const struct user_siginfo *info, u32 *count);
void signal_queue_add_entry(struct signal_queue *q, struct signal_entry *e);	// e->info.signo is not in the set
// The number of the signal that is due first, of those that are not blocked; 0: none. Linux's order: SIGKILL, then
// what the program itself has caused, then the lowest number.
u32 signal_queue_first(const struct signal_queue *q, u64 blocked);
// Take the oldest of that number, which is in the set.
void signal_queue_take(struct signal_queue *q, u32 signo, struct user_siginfo *info, u32 *count);
void signal_queue_drop(struct signal_queue *q, u64 signals, u32 *count);	// forget all of those
