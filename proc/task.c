// SPDX-License-Identifier: MIT
// A task from its creation to its end, and the loop in between: user mode, and what ended it.
#include "proc/task.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "mm/frame/slab.h"
#include "mm/space.h"
#include "proc/fault.h"
#include "proc/robust.h"
#include "sys/syscall.h"

struct task *task_create(struct process *p, const struct task *parent)
{
	struct task *t = kzalloc(sizeof(*t));

	if (!t)
		return NULL;
	process_get(p);
	t->process = p;
	t->tid = parent ? process_new_id() : p->pid;
	list_init(&t->link);
	ksnprintf(t->name, sizeof(t->name), "%s", parent ? parent->name : p->name);
	signals_init_task(t, parent);
	sched_inherit(t, parent);
	return t;
}

void task_discard(struct task *t)
{
	arch_user_free(&t->user);
	process_put(t->process);
	kfree(t);
}

// False: the task ends.
static __noinline bool do_work(struct task *t, bool called)
{
	u32 work = READ_ONCE(t->user.work);

	if (work & WORK_SCHED)
		sched_apply(t);
	if (work & WORK_SIGNAL)
		signal_deliver(t, called);
	return !(READ_ONCE(t->user.work) & WORK_EXIT);
}

static void run(struct task *t)
{
	enum user_exit why;

	do {
		why = arch_user_run(&t->user);
		if (likely(why == USER_CALL))
			syscall_run(t);
		else if (why == USER_FAULT)
			task_fault(t, &t->user.fault);
	} while (likely(!READ_ONCE(t->user.work)) || do_work(t, why == USER_CALL));
}

static int task_main(void *arg)
{
	struct task *t = arg;

	current->user = &t->user;
	thread_clock_start();
	space_attach(t->process->space);
	sched_apply(t);			// also waits until task_start() has set t->thread
	run(t);
	futex_task_ends(t);
	current->user = NULL;		// from here on the scheduler saves nothing of it
	space_detach();
	process_leave(t);
	thread_put(current);		// its creator's reference: from here on nobody finds the task
	task_discard(t);
	return 0;
}

int task_start(struct task *t)
{
	struct process *p = t->process;
	int err = -EAGAIN;

	mutex_lock(&p->lock);
	if (!p->ending) {
		// On the list first: it may end before thread_create() has returned. It waits for the lock to leave it.
		t->thread = thread_create(t->process->name, task_main, t, CPU_ANY, PRIO_NORMAL);
		err = t->thread ? 0 : -ENOMEM;
		if (!err) {
			list_push_back(&p->tasks, &t->link);
			p->nr_tasks++;
			if (p->signals.stopped)		// it changes under p->lock, too: whoever sets it later kicks t
				task_kick(t, WORK_SIGNAL);
		}
	}
	mutex_unlock(&p->lock);
	return err;
}

void task_kick(struct task *t, u32 work)
{
	fetch_or(&t->user.work, work);	// full barrier: pairs with task_interrupted(), and with the scheduler's, thread_kick()
	if (t->thread)			// otherwise it looks before it first runs
		thread_kick(t->thread);
}

bool task_interrupted(void)
{
	if (!current->user)
		return false;
	smp_mb();	// the caller's state is SLEEPING before the look; pairs with task_kick()
	return READ_ONCE(current->user->work) & (WORK_SIGNAL | WORK_EXIT);
}

void task_exit(struct task *t, int code)
{
	t->exit_code = code;
	fetch_or(&t->user.work, WORK_EXIT);
}
