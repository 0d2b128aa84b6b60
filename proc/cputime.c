// SPDX-License-Identifier: MIT
// Processor time of tasks and processes.
#include "proc/cputime.h"
#include "kernel/errno.h"
#include "proc/task.h"

// A task may run before its creator has written down which thread it is.
u64 task_cpu_ns(const struct task *t)
{
	const struct thread *thread = READ_ONCE(t->thread);

	return thread ? thread_ran_ns(thread) : 0;
}

u64 process_cpu_ns(struct process *p)
{
	u64 ns;

	mutex_lock(&p->lock);
	ns = p->ended_cpu_ns;
	list_for_each(it, &p->tasks)
		ns += task_cpu_ns(list_entry(it, struct task, link));
	mutex_unlock(&p->lock);
	return ns;
}

void cpu_task_ends(struct task *t) { t->process->ended_cpu_ns += task_cpu_ns(t); }

// Bits 3 and up of the number: the complement of a tid or pid, 0 for the caller's. Bit 2: of a task. Bits 0 and 1: which of
// its times; 2 is the whole.
s64 cpu_clock_read(struct task *t, s32 clock, u64 *ns)
{
	struct process *p = t->process;
	u32 id = ~(u32)(clock >> 3);
	struct task *of;

	if ((clock & 3) != 2)
		return -EINVAL;
	if (!(clock & 4)) {
		if (id && id != p->pid)
			return -EINVAL;
		*ns = process_cpu_ns(p);
		return 0;
	}
	mutex_lock(&p->lock);
	of = id ? process_task(p, id) : t;
	if (of)
		*ns = task_cpu_ns(of);
	mutex_unlock(&p->lock);
	return of ? 0 : -EINVAL;
}
