// SPDX-License-Identifier: MIT
// System calls about the caller's own signals: actions, masks, waits, the alternate stack.
#include "kernel/mutex.h"
#include "kernel/time.h"
#include "proc/signal.h"
#include "sys/syscall.h"
#include <arch/uaccess.h>

#define SIGSET_SIZE 8
enum { SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK };

static s64 sys_rt_sigaction(struct task *t, const u64 a[6])
{
	vaddr_t action_at = a[1], old_at = a[2];
	struct signal_action action, old;
	int error;

	if (a[3] != SIGSET_SIZE)
		return -EINVAL;
	if (action_at && copy_in(&action, action_at, sizeof(action)))
		return -EFAULT;
	error = signal_set_action(t->process, (u32)a[0], action_at ? &action : NULL, &old);
	if (error)
		return error;
	return old_at ? copy_out(old_at, &old, sizeof(old)) : 0;
}
SYSCALL(13, rt_sigaction, sys_rt_sigaction);

static s64 sys_rt_sigprocmask(struct task *t, const u64 a[6])
{
	vaddr_t set_at = a[1], old_at = a[2];
	u64 set, old = t->signals.blocked;

	if (a[3] != SIGSET_SIZE)
		return -EINVAL;
	if (set_at) {
		if (copy_in(&set, set_at, sizeof(set)))
			return -EFAULT;
		if ((u32)a[0] > SIG_SETMASK)
			return -EINVAL;
		if ((u32)a[0] == SIG_BLOCK)
			set |= old;
		else if ((u32)a[0] == SIG_UNBLOCK)
			set = old & ~set;
		signal_set_blocked(t, set);
	}
	return old_at ? copy_out(old_at, &old, sizeof(old)) : 0;
}
SYSCALL(14, rt_sigprocmask, sys_rt_sigprocmask);

static s64 sys_rt_sigpending(struct task *t, const u64 a[6])
{
	u64 set = signal_pending(t) & t->signals.blocked;

	if (a[1] > SIGSET_SIZE)
		return -EINVAL;
	return copy_out(a[0], &set, a[1]);
}
SYSCALL(127, rt_sigpending, sys_rt_sigpending);

// Nobody wakes this queue: task_kick() wakes the thread.
static void wait_for_signal(void)
{
	struct waitq q = WAITQ_INIT(q);

	wait_event(&q, task_interrupted());
}

static s64 sys_pause(struct task *t, const u64 a[6])
{
	wait_for_signal();
	return -ERESTARTNOHAND;
}
SYSCALL(34, pause, sys_pause);

static s64 sys_rt_sigsuspend(struct task *t, const u64 a[6])
{
	u64 set, old = t->signals.blocked;

	if (a[1] != SIGSET_SIZE)
		return -EINVAL;
	if (copy_in(&set, a[0], sizeof(set)))
		return -EFAULT;
	signal_set_blocked(t, set);
	wait_for_signal();
	t->signals.saved = old;
	t->signals.restore_saved = true;
	return -ERESTARTNOHAND;
}
SYSCALL(130, rt_sigsuspend, sys_rt_sigsuspend);

static s64 await(struct task *t, u64 set, u64 deadline, struct user_siginfo *info)
{
	struct waitq q = WAITQ_INIT(q);
	bool late;
	u32 signo;

	signal_await(t, set);
	late = wait_event_until(&q, task_interrupted(), deadline);
	signo = signal_take(t, set, info);
	signal_await(t, 0);
	if (signo)
		return signo;
	return late ? -EAGAIN : -EINTR;
}

static int deadline_in(vaddr_t at, u64 *deadline)
{
	struct { s64 seconds, ns; } timeout;

	if (copy_in(&timeout, at, sizeof(timeout)))
		return -EFAULT;
	if (timeout.seconds < 0 || timeout.ns < 0 || timeout.ns >= (s64)NSEC_PER_SEC)
		return -EINVAL;
	*deadline = now_ns();
	if ((u64)timeout.seconds >= (NO_DEADLINE - *deadline) / NSEC_PER_SEC - 1)
		*deadline = NO_DEADLINE;
	else
		*deadline += (u64)timeout.seconds * NSEC_PER_SEC + (u64)timeout.ns;
	return 0;
}

static s64 sys_rt_sigtimedwait(struct task *t, const u64 a[6])
{
	vaddr_t info_at = a[1], timeout_at = a[2];
	u64 set, deadline = NO_DEADLINE;
	struct user_siginfo info;
	s64 signo;
	int error;

	if (a[3] != SIGSET_SIZE)
		return -EINVAL;
	if (copy_in(&set, a[0], sizeof(set)))
		return -EFAULT;
	error = timeout_at ? deadline_in(timeout_at, &deadline) : 0;
	if (error)
		return error;
	set &= ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
	signo = signal_take(t, set, &info);
	if (!signo)
		signo = now_ns() < deadline ? await(t, set, deadline, &info) : -EAGAIN;
	if (signo < 0)
		return signo;
	return info_at && copy_out(info_at, &info, sizeof(info)) ? -EFAULT : signo;
}
SYSCALL(128, rt_sigtimedwait, sys_rt_sigtimedwait);

// The result is what the frame has in the register. signal_deliver() must not take it for a call's, hence `returned`,
// and comes by for sure.
static s64 sys_rt_sigreturn(struct task *t, const u64 a[6])
{
	vaddr_t sp = arch_user_sp(&t->user);
	u64 mask = t->signals.blocked;
	struct user_sigstack stack = t->signals.stack;
	int error = arch_user_pop_signal(&t->user, &mask, &stack);

	t->signals.returned = true;
	signal_set_blocked(t, mask);
	signal_set_stack(t, &stack, sp);	// what is wrong with it is the program's affair, as in Linux
	if (error)
		signal_force_segv(t, "a signal's frame that cannot be returned to");
	return arch_user_result(&t->user);
}
SYSCALL(15, rt_sigreturn, sys_rt_sigreturn);

static s64 sys_sigaltstack(struct task *t, const u64 a[6])
{
	vaddr_t new_at = a[0], old_at = a[1], sp = arch_user_sp(&t->user);
	struct user_sigstack new, old = t->signals.stack;
	int error;

	if (new_at && copy_in(&new, new_at, sizeof(new)))
		return -EFAULT;
	old.flags &= (s32)USER_SS_AUTODISARM;
	old.flags |= !old.size ? USER_SS_DISABLE : user_on_sigstack(&t->signals.stack, sp) ? USER_SS_ONSTACK : 0;
	error = new_at ? signal_set_stack(t, &new, sp) : 0;
	if (error)
		return error;
	return old_at ? copy_out(old_at, &old, sizeof(old)) : 0;
}
SYSCALL(131, sigaltstack, sys_sigaltstack);
