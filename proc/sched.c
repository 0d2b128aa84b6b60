// SPDX-License-Identifier: MIT
// Where a task runs and how urgently.
#include "proc/sched.h"
#include "proc/task.h"

void sched_inherit(struct task *t, const struct task *parent)
{
	if (!parent)
		return;
	mutex_lock(&parent->process->lock);
	t->sched = parent->sched;
	mutex_unlock(&parent->process->lock);
}

// Linux's nice values are shares of time; ours are three fixed priorities, of which a lower one waits for a higher one. The
// kernel's service threads are above all three.
static enum thread_prio prio_of(s32 nice)
{
	return nice < 0 ? PRIO_HIGH : nice > 0 ? PRIO_LOW : PRIO_NORMAL;
}

void sched_apply(struct task *t)
{
	struct task_sched s;

	mutex_lock(&t->process->lock);
	fetch_and(&t->user.work, ~(u32)WORK_SCHED);	// what is asked from here on sets it again
	s = t->sched;
	mutex_unlock(&t->process->lock);
	thread_set_prio(prio_of(s.nice));
	if (!cpumask_empty(&s.affinity))
		thread_set_affinity(&s.affinity);
}

static void ask(struct task *t)
{
	if (t != current_task())
		task_kick(t, WORK_SCHED);
}

void sched_ask_affinity(struct task *t, const struct cpumask *mask)
{
	t->sched.affinity = *mask;
	ask(t);
}

void sched_ask_nice(struct task *t, s32 nice)
{
	t->sched.nice = MIN(MAX(nice, NICE_MIN), NICE_MAX);
	ask(t);
}
