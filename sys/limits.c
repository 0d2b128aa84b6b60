// SPDX-License-Identifier: MIT
// System calls about the limits of resources, and about what has been used of them.
#include "kernel/lib.h"
#include "kernel/time.h"
#include "mm/frame/page.h"
#include "mm/space.h"
#include "proc/cputime.h"
#include "sys/syscall.h"
#include <arch/uaccess.h>

#define NOFILE_MOST (1u << 20)		// Linux's default sysctl_nr_open

// Set a limit (NULL: leave it) and say what it was. The one user may raise it, too.
static s64 limit(struct process *p, u32 which, const struct rlimit *to, struct rlimit *old)
{
	if (which >= NR_RLIMITS || (to && to->soft > to->hard))
		return -EINVAL;
	if (to && which == RLIMIT_NOFILE && to->hard > NOFILE_MOST)
		return -EPERM;
	mutex_lock(&p->lock);
	*old = p->limits[which];
	if (to)
		p->limits[which] = *to;
	if (to && which == RLIMIT_STACK)
		WRITE_ONCE(p->space->stack_limit, to->soft);
	mutex_unlock(&p->lock);
	return 0;
}

// A number that names the caller's process: there is no other to be named.
static bool is_own(struct process *p, s32 pid)
{
	bool own = !pid || pid == (s32)p->pid;		// also when its first thread has ended

	if (own)
		return true;
	mutex_lock(&p->lock);
	own = process_task(p, (u32)pid);
	mutex_unlock(&p->lock);
	return own;
}

static s64 sys_prlimit64(struct task *t, const u64 a[6])
{
	struct rlimit to, old;
	s64 err;

	if (a[2] && copy_in(&to, a[2], sizeof(to)))
		return -EFAULT;
	if (!is_own(t->process, (s32)a[0]))
		return -ESRCH;
	err = limit(t->process, (u32)a[1], a[2] ? &to : NULL, &old);
	return err ?: a[3] ? copy_out(a[3], &old, sizeof(old)) : 0;
}
SYSCALL(302, prlimit64, sys_prlimit64);

static s64 sys_getrlimit(struct task *t, const u64 a[6])
{
	struct rlimit old;

	return limit(t->process, (u32)a[0], NULL, &old) ?: copy_out(a[1], &old, sizeof(old));
}
SYSCALL(97, getrlimit, sys_getrlimit);

static s64 sys_setrlimit(struct task *t, const u64 a[6])
{
	struct rlimit to, old;

	return copy_in(&to, a[1], sizeof(to)) ?: limit(t->process, (u32)a[0], &to, &old);
}
SYSCALL(160, setrlimit, sys_setrlimit);

struct rusage {			// as Linux's
	struct { s64 s, us; } user, system;
	s64 maxrss, ixrss, idrss, isrss, minflt, majflt, nswap, inblock, oublock, msgsnd, msgrcv, nsignals, nvcsw,
		nivcsw;
};
enum { RUSAGE_CHILDREN = -1, RUSAGE_SELF, RUSAGE_THREAD };

// What this kernel counts: the processor time, in the kernel and in user mode together; how often a thread has been
// switched to (of a process: its threads that have not ended); the pages that are mapped now, of which no maximum is
// kept. The other fields are 0.
static s64 sys_getrusage(struct task *t, const u64 a[6])
{
	struct rusage r = { 0 };
	s32 who = (s32)a[0];
	u64 ns = 0;

	if (who < RUSAGE_CHILDREN || who > RUSAGE_THREAD)
		return -EINVAL;
	if (who == RUSAGE_THREAD) {
		ns = task_cpu_ns(t);
		r.nvcsw = (s64)READ_ONCE(t->thread->switches);
	} else if (who == RUSAGE_SELF) {
		ns = process_cpu_ns(t->process);
		mutex_lock(&t->process->lock);
		list_for_each(it, &t->process->tasks)
			r.nvcsw += (s64)READ_ONCE(list_entry(it, struct task, link)->thread->switches);
		mutex_unlock(&t->process->lock);
	}
	if (who != RUSAGE_CHILDREN)
		r.maxrss = (s64)(READ_ONCE(t->process->space->mapped) * PAGE_SIZE / 1024);
	r.user.s = (s64)(ns / NSEC_PER_SEC);
	r.user.us = (s64)(ns % NSEC_PER_SEC / NSEC_PER_USEC);
	return copy_out(a[1], &r, sizeof(r));
}
SYSCALL(98, getrusage, sys_getrusage);

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"	// the program reads every byte
struct sysinfo {		// as Linux's
	s64 uptime;
	u64 loads[3], totalram, freeram, sharedram, bufferram, totalswap, freeswap;
	u16 procs, pad[3];
	u64 totalhigh, freehigh;
	u32 mem_unit, end;
};
#pragma GCC diagnostic pop
_Static_assert(sizeof(struct sysinfo) == 112, "Linux's struct sysinfo");

// No average of the load is kept: 0.
static s64 sys_sysinfo(struct task *t, const u64 a[6])
{
	struct sysinfo s = {
		.uptime = (s64)((now_ns() + NSEC_PER_SEC - 1) / NSEC_PER_SEC), .mem_unit = 1,
		.totalram = page_ram_bytes(), .freeram = page_free_count() * PAGE_SIZE, .procs = (u16)thread_count(),
	};

	return copy_out(a[0], &s, sizeof(s));
}
SYSCALL(99, sysinfo, sys_sysinfo);
