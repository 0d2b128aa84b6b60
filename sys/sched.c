// SPDX-License-Identifier: MIT
// System calls about the scheduler: which CPUs, how urgently, and giving way.
#include "proc/sched.h"
#include "sys/syscall.h"
#include <arch/uaccess.h>

static s64 sys_sched_yield(struct task *t, const u64 a[6])
{
	thread_yield();
	return 0;
}
SYSCALL(24, sched_yield, sys_sched_yield);

// Of the caller's process; 0: the caller. process.lock is held.
static struct task *find(struct task *t, s32 tid)
{
	return tid ? process_task(t->process, (u32)tid) : t;
}

// The CPUs of the program's mask that are online.
static int mask_in(struct cpumask *mask, vaddr_t from, u32 len)
{
	cpumask_zero(mask);
	if (copy_in(mask, from, MIN((size_t)len, sizeof(*mask))))
		return -EFAULT;
	for (unsigned i = 0; i < CPUMASK_WORDS; i++)
		mask->w[i] &= READ_ONCE(cpus_online.w[i]);
	return 0;
}

static s64 sys_sched_setaffinity(struct task *t, const u64 a[6])
{
	struct cpumask mask;
	struct task *of;
	s64 result = 0;

	if (mask_in(&mask, a[2], (u32)a[1]))
		return -EFAULT;
	mutex_lock(&t->process->lock);
	of = find(t, (s32)a[0]);
	if (!of)
		result = -ESRCH;
	else if (cpumask_empty(&mask))
		result = -EINVAL;
	else
		sched_ask_affinity(of, &mask);
	mutex_unlock(&t->process->lock);
	if (!result)
		sched_apply(t);
	return result;
}
SYSCALL(203, sched_setaffinity, sys_sched_setaffinity);

// As Linux does, whose masks are as long as its CPUs need.
static s64 sys_sched_getaffinity(struct task *t, const u64 a[6])
{
	u32 len = (u32)a[1], size = ALIGN_UP(nr_cpus, 64) / 8;
	struct cpumask mask;
	struct task *of;

	if ((u64)len * 8 < nr_cpus || len % sizeof(u64))
		return -EINVAL;
	mutex_lock(&t->process->lock);
	of = find(t, (s32)a[0]);
	if (of)
		mask = cpumask_empty(&of->sched.affinity) ? cpus_online : of->sched.affinity;
	mutex_unlock(&t->process->lock);
	if (!of)
		return -ESRCH;
	size = MIN(size, len);
	return copy_out(a[2], &mask, size) ?: (s64)size;
}
SYSCALL(204, sched_getaffinity, sys_sched_getaffinity);

// There is one node.
static s64 sys_getcpu(struct task *t, const u64 a[6])
{
	u32 cpu = READ_ONCE(t->thread->cpu), node = 0;

	if ((a[0] && copy_out(a[0], &cpu, sizeof(cpu))) || (a[1] && copy_out(a[1], &node, sizeof(node))))
		return -EFAULT;
	return 0;
}
SYSCALL(309, getcpu, sys_getcpu);

// Whom a priority is set of: a task, the process group (the process is alone in its own), all tasks of a user (of whom
// there is one).
enum { PRIO_PROCESS, PRIO_PGRP, PRIO_USER };

static bool is_meant(struct task *t, const struct task *it, u32 which, s32 who)
{
	switch (which) {
	case PRIO_PROCESS: return who ? it->tid == (u32)who : it == t;
	case PRIO_PGRP: return !who || (u32)who == it->process->pid;
	default: return !who;
	}
}

static s64 sys_setpriority(struct task *t, const u64 a[6])
{
	s64 result = -ESRCH;

	if ((u32)a[0] > PRIO_USER)
		return -EINVAL;
	mutex_lock(&t->process->lock);
	list_for_each(link, &t->process->tasks) {
		struct task *it = list_entry(link, struct task, link);

		if (!is_meant(t, it, (u32)a[0], (s32)a[1]))
			continue;
		sched_ask_nice(it, (s32)a[2]);
		result = 0;
	}
	mutex_unlock(&t->process->lock);
	if (!result)
		sched_apply(t);
	return result;
}
SYSCALL(141, setpriority, sys_setpriority);

// The most urgent of them, as 20 less its nice value: never negative.
static s64 sys_getpriority(struct task *t, const u64 a[6])
{
	s64 result = -ESRCH;

	if ((u32)a[0] > PRIO_USER)
		return -EINVAL;
	mutex_lock(&t->process->lock);
	list_for_each(link, &t->process->tasks) {
		struct task *it = list_entry(link, struct task, link);

		if (is_meant(t, it, (u32)a[0], (s32)a[1]))
			result = MAX(result, 20 - (s64)it->sched.nice);
	}
	mutex_unlock(&t->process->lock);
	return result;
}
SYSCALL(140, getpriority, sys_getpriority);
