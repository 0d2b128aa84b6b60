// SPDX-License-Identifier: MIT
// Signals on the way back to user mode: handlers, default actions, and what becomes of the system call that was
// interrupted.
//
// As Linux does it, one frame is pushed for each pending signal, so the handler of the last one runs first and each
// of the others is what its successor returns to.
//
// SIGSTOP really stops the process, until SIGCONT or SIGKILL is sent. SIGTSTP, SIGTTIN and SIGTTOU do nothing by
// default, which is what Linux does in a process group that no job control looks after; there is none here.
#include "kernel/log.h"
#include "proc/crash.h"
#include "proc/signal.h"
#include "proc/task.h"
#include "sys/syscall.h"

struct delivery {
	struct user_siginfo info;
	struct signal_action action;	// when it was taken
	u32 continued;			// likewise
};

static bool dying(const struct task *t) { return READ_ONCE(t->user.work) & WORK_EXIT; }

// Take what is due, with its action; false: nothing is, and WORK_SIGNAL is clear unless the process is stopped.
static bool take(struct task *t, struct delivery *d)
{
	struct process_signals *ps = &t->process->signals;
	u32 signo = signal_take(t, ~t->signals.blocked, &d->info);
	struct signal_action *a;

	if (!signo)
		return false;
	spin_lock(&ps->lock);
	a = &ps->actions[signo - 1];
	d->action = *a;
	d->continued = ps->continued;
	if ((a->flags & SA_RESETHAND) && a->handler != SIG_IGN)
		a->handler = SIG_DFL;
	spin_unlock(&ps->lock);
	return true;
}

// All tasks wait when they next come by, unless SIGCONT has been sent since the signal was taken.
static void stop_process(struct process *p, u32 continued)
{
	bool stop;

	mutex_lock(&p->lock);
	spin_lock(&p->signals.lock);
	stop = p->signals.continued == continued;
	if (stop) {
		WRITE_ONCE(p->signals.stopped, true);
		list_for_each(l, &p->tasks)
			task_kick(list_entry(l, struct task, link), WORK_SIGNAL);
	}
	spin_unlock(&p->signals.lock);
	mutex_unlock(&p->lock);
	if (stop)
		log_info("%s: stopped by SIGSTOP", p->name);
}

static void wait_while_stopped(struct task *t)
{
	struct process_signals *ps = &t->process->signals;

	if (READ_ONCE(ps->stopped))
		wait_event(&ps->go_on, !READ_ONCE(ps->stopped) || dying(t));
}

static void end_process(struct task *t, const struct user_siginfo *info, u32 unhandled)
{
	struct process *p = t->process;
	bool first;

	spin_lock(&p->signals.lock);
	first = !p->signals.reported && !READ_ONCE(p->ending);
	p->signals.reported = true;
	spin_unlock(&p->signals.lock);
	if (first)
		crash_print(t, info, unhandled);
	process_end(p, info->signo);
}

static void default_action(struct task *t, const struct delivery *d)
{
	u32 signo = (u32)d->info.signo;

	if (signal_is_ignored_by_default(signo) || signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU)
		return;
	if (signo == SIGSTOP)
		stop_process(t->process, d->continued);
	else
		end_process(t, &d->info, 0);
}

#define NR_RESTART_SYSCALL 219

// A call that was interrupted: it is made again, or fails with EINTR. `flags`: of the handler that runs first.
static void settle_call(struct task *t, bool handler, u64 flags)
{
	struct user_context *c = &t->user;
	s64 result = arch_user_result(c);

	if (result != -ERESTARTSYS && result != -ERESTARTNOHAND && result != -ERESTART_RESTARTBLOCK)
		return;
	if (handler && !(result == -ERESTARTSYS && (flags & SA_RESTART)))
		arch_user_set_result(c, -EINTR);
	else if (result == -ERESTART_RESTARTBLOCK)
		arch_user_restart_as(c, NR_RESTART_SYSCALL);
	else
		arch_user_restart(c);
}

static bool push(struct task *t, const struct delivery *d)
{
	struct task_signals *s = &t->signals;
	struct user_signal frame = {
		.info = d->info, .handler = d->action.handler, .restorer = d->action.restorer,
		.mask = s->restore_saved ? s->saved : s->blocked,
		.use_stack = d->action.flags & SA_ONSTACK, .stack = s->stack,
		.fault = s->fault, .touched = s->touched,
	};

	if (!(d->action.flags & SA_RESTORER))	// there is no other way back on x86-64
		return false;
	return !arch_user_push_signal(&t->user, &frame);
}

static void run_handler(struct task *t, const struct delivery *d)
{
	struct task_signals *s = &t->signals;
	u64 blocked = s->blocked | d->action.mask;

	if (!push(t, d)) {
		// A handler of SIGSEGV that cannot run for want of a stack: there is no other way to tell the program.
		if (d->info.signo == SIGSEGV)
			end_process(t, &d->info, SIGSEGV);
		else
			signal_force_segv(t, "no room on the stack for a signal's frame");
		return;
	}
	s->restore_saved = false;	// sigreturn restores it
	if (!(d->action.flags & SA_NODEFER))
		blocked |= SIGNAL_BIT(d->info.signo);
	signal_set_blocked(t, blocked);
	if ((u32)s->stack.flags & USER_SS_AUTODISARM)
		s->stack = (struct user_sigstack){ .flags = USER_SS_DISABLE };
}

void signal_deliver(struct task *t, bool called)
{
	struct task_signals *s = &t->signals;
	struct delivery d;

	called &= !s->returned;
	s->returned = false;
	for (;;) {
		wait_while_stopped(t);
		if (dying(t))
			return;
		if (!take(t, &d)) {
			if (READ_ONCE(t->process->signals.stopped))
				continue;
			break;
		}
		if (d.action.handler == SIG_IGN)
			continue;
		if (d.action.handler == SIG_DFL) {
			default_action(t, &d);
			continue;
		}
		if (called)
			settle_call(t, true, d.action.flags);
		called = false;
		run_handler(t, &d);
	}
	if (called)
		settle_call(t, false, 0);
	if (s->restore_saved) {
		s->restore_saved = false;
		signal_set_blocked(t, s->saved);
	}
}
