// SPDX-License-Identifier: MIT
// System calls: Linux's numbers for x86-64, semantics and error numbers. A call is registered where it is written:
//
//	static s64 sys_munmap(struct task *t, const u64 a[6])
//	{
//		u64 start = a[0], len = a[1];
//		...
//	}
//	SYSCALL(11, munmap, sys_munmap);
//
// It runs in thread context of the task that called, IRQs on, and returns the result or a negative error number. Arguments
// are the program's: each is looked at once, and memory goes through copy_in() and copy_out(). It holds no lock over those
// that a page fault takes, or the end of a process: copy_in() and copy_out() may have to free memory.
#pragma once
#include "kernel/errno.h"
#include "kernel/types.h"
#include "proc/task.h"

typedef s64 syscall_fn(struct task *t, const u64 a[6]);

struct syscall {
	u32 nr;
	const char *name;
	syscall_fn *fn;
};
#define NR_SYSCALLS 512
#define SYSCALL(nr_, name_, fn_) \
	static const struct syscall syscall_##name_ = { .nr = (nr_), .name = #name_, .fn = (fn_) }; \
	REGISTER(syscalls, syscall_##name_)

// What a call returns that a signal has interrupted and that begins anew when there is no handler to be run, or one with
// SA_RESTART; otherwise it fails with EINTR. Never seen by a program.
#define ERESTARTSYS 512
// The same, but only where no handler is run.
#define ERESTARTNOHAND 514
// The same, and it is made again as restart_syscall, which calls task.restart: for calls whose arguments say how long to
// wait, not until when.
#define ERESTART_RESTARTBLOCK 516
#define NR_RESTART_SYSCALL 219

void syscalls_init(void);		// before the first program starts
void syscall_run(struct task *t);	// after USER_CALL
