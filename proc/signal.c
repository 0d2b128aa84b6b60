// SPDX-License-Identifier: MIT
// Signals: actions, masks, and how a signal finds its task. Delivery is signal_deliver.c.
#include "proc/signal.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/mutant.h"
#include "proc/task.h"

#define UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))
#define STOPPING (SIGNAL_BIT(SIGSTOP) | SIGNAL_BIT(SIGTSTP) | SIGNAL_BIT(SIGTTIN) | SIGNAL_BIT(SIGTTOU))
#define SIGSTACK_MIN 2048	// Linux's MINSIGSTKSZ; the frame may need more (AT_MINSIGSTKSZ)
// Flags that are kept and told; Linux clears those that it does not know.
#define SA_KNOWN (0x3u | SA_SIGINFO | 0x800u | SA_RESTORER | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND)

void signals_init_process(struct process *p)
{
	struct process_signals *s = &p->signals;

	*s = (struct process_signals){ 0 };
	spin_init(&s->lock, "signals", RANK_SIGNALS);
	signal_queue_init(&s->pending);
	waitq_init(&s->go_on);
}

void signals_init_task(struct task *t, const struct task *parent)
{
	struct task_signals *s = &t->signals;

	*s = (struct task_signals){ .fault_entry.embedded = true };
	signal_queue_init(&s->pending);
	list_init(&s->fault_entry.link);
	s->blocked = parent ? parent->signals.blocked : 0;
	s->stack.flags = parent ? USER_SS_DISABLE : 0;	// as Linux has it: a new program's is none, too, by its size
}

// The task's WORK_SIGNAL, after its mask or what is pending has changed. By the task itself; the lock is held.
static void recalculate(struct task *t)
{
	const struct process_signals *ps = &t->process->signals;
	const struct task_signals *s = &t->signals;
	u64 due = (s->pending.set | ps->pending.set) & ~(s->blocked & ~s->awaited);

	bool wanted = due || ps->stopped || s->returned;

	if (wanted == !!(READ_ONCE(t->user.work) & WORK_SIGNAL))
		return;
	if (wanted)
		fetch_or(&t->user.work, (u32)WORK_SIGNAL);
	else
		fetch_and(&t->user.work, ~(u32)WORK_SIGNAL);
}

static bool wants(const struct task *t, u32 signo)
{
	return !(t->signals.blocked & ~t->signals.awaited & SIGNAL_BIT(signo));
}

// A task that takes what was sent to its process; NULL: all that would are about to look. Both locks are held.
static struct task *choose(struct process *p, u32 signo)
{
	list_for_each(l, &p->tasks) {
		struct task *t = list_entry(l, struct task, link);

		if (wants(t, signo) && !(READ_ONCE(t->user.work) & WORK_SIGNAL))
			return t;
	}
	return NULL;
}

// Of the process's pending signals those that `from` no longer takes: kick others for them. Both locks are held.
static void pass_on(struct task *from, u64 signals)
{
	struct process *p = from->process;

	signals &= p->signals.pending.set;
	if (MUTANT(signal_no_pass_on))	// they wait for a task that never comes by
		return;
	list_for_each(l, &p->tasks) {
		struct task *t = list_entry(l, struct task, link);
		u64 taken = signals & ~(t->signals.blocked & ~t->signals.awaited);

		if (t == from || !taken)
			continue;
		task_kick(t, WORK_SIGNAL);
		signals &= ~taken;
	}
}

// The same, by the task itself; no lock is held.
static void orphan(struct task *t, u64 signals)
{
	struct process *p = t->process;

	if (likely(!signals))
		return;
	mutex_lock(&p->lock);
	spin_lock(&p->signals.lock);
	pass_on(t, signals);
	spin_unlock(&p->signals.lock);
	mutex_unlock(&p->lock);
}

void signals_end_task(struct task *t)
{
	struct process_signals *ps = &t->process->signals;

	spin_lock(&ps->lock);
	signal_queue_drop(&t->signals.pending, ~0ull, &ps->queued);
	pass_on(t, ~t->signals.blocked);
	spin_unlock(&ps->lock);
}

void signals_end_process(struct process *p)
{
	spin_lock(&p->signals.lock);
	signal_queue_drop(&p->signals.pending, ~0ull, &p->signals.queued);
	spin_unlock(&p->signals.lock);
}

bool signal_is_ignored_by_default(u32 signo)
{
	return signo == SIGCHLD || signo == SIGCONT || signo == SIGURG || signo == SIGWINCH;
}

static bool ignores(const struct process *p, u32 signo)
{
	vaddr_t handler = p->signals.actions[signo - 1].handler;

	return handler == SIG_IGN || (handler == SIG_DFL && signal_is_ignored_by_default(signo));
}

// An ignored signal is dropped at once unless it is blocked: the action may change before it is not.
static bool dropped(const struct task *t, u32 signo)
{
	return ignores(t->process, signo) && !(t->signals.blocked & SIGNAL_BIT(signo));
}

static void drop_everywhere(struct process *p, u64 signals)
{
	struct process_signals *ps = &p->signals;

	signal_queue_drop(&ps->pending, signals, &ps->queued);
	list_for_each(l, &p->tasks)
		signal_queue_drop(&list_entry(l, struct task, link)->signals.pending, signals, &ps->queued);
}

// What sending alone does, whoever blocks or ignores the signal. Both locks are held.
static void stop_or_go_on(struct process *p, u32 signo)
{
	if (SIGNAL_BIT(signo) & STOPPING)
		drop_everywhere(p, SIGNAL_BIT(SIGCONT));
	if (signo != SIGCONT && signo != SIGKILL)
		return;
	drop_everywhere(p, STOPPING);
	p->signals.continued++;
	WRITE_ONCE(p->signals.stopped, false);
	waitq_wake_all(&p->signals.go_on);
}

int signal_send(struct process *p, const struct user_siginfo *info)
{
	struct process_signals *ps = &p->signals;
	u32 signo = (u32)info->signo;
	struct task *t;
	int error = 0;

	mutex_lock(&p->lock);
	spin_lock(&ps->lock);
	stop_or_go_on(p, signo);
	// Whose mask counts for an ignored signal: Linux takes the first thread's.
	t = list_empty(&p->tasks) ? NULL : list_first(&p->tasks, struct task, link);
	if (t && !dropped(t, signo)) {
		error = signal_queue_add(&ps->pending, info, &ps->queued);
		t = error ? NULL : choose(p, signo);
		if (t)
			task_kick(t, WORK_SIGNAL);
	}
	spin_unlock(&ps->lock);
	mutex_unlock(&p->lock);
	return error;
}

int signal_send_task(struct task *t, const struct user_siginfo *info)
{
	struct process_signals *ps = &t->process->signals;
	u32 signo = (u32)info->signo;
	int error = 0;

	spin_lock(&ps->lock);
	stop_or_go_on(t->process, signo);
	if (!dropped(t, signo)) {
		error = signal_queue_add(&t->signals.pending, info, &ps->queued);
		if (!error && wants(t, signo))
			task_kick(t, WORK_SIGNAL);
	}
	spin_unlock(&ps->lock);
	return error;
}

// A signal that the task must take now. If it has asked not to, its default action is due. The lock is held.
static void force(struct task *t, const struct user_siginfo *info)
{
	struct process_signals *ps = &t->process->signals;
	struct task_signals *s = &t->signals;
	struct signal_action *a = &ps->actions[info->signo - 1];
	u64 bit = SIGNAL_BIT(info->signo);

	if (a->handler == SIG_IGN || (s->blocked & bit)) {
		a->handler = SIG_DFL;
		s->blocked &= ~bit;
	}
	if (!(s->pending.set & bit) && list_empty(&s->fault_entry.link)) {
		s->fault_entry.info = *info;
		signal_queue_add_entry(&s->pending, &s->fault_entry);
	} else {
		signal_queue_add(&s->pending, info, &ps->queued);
	}
	recalculate(t);
}

void signal_fault(struct task *t, const struct user_fault *f)
{
	struct user_siginfo info = { .signo = f->signal ?: SIGSEGV, .code = f->code };

	info.fault.addr = f->addr;
	if (!f->signal) {
		info.code = f->code ?: SEGV_MAPERR;
		t->signals.touched = f->addr;
	}
	t->signals.fault = *f;
	t->signals.why = f->from_call ? "registers that cannot be returned to" : NULL;
	spin_lock(&t->process->signals.lock);
	force(t, &info);
	spin_unlock(&t->process->signals.lock);
}

void signal_force_segv(struct task *t, const char *why)
{
	t->signals.why = why;
	spin_lock(&t->process->signals.lock);
	force(t, &(struct user_siginfo){ .signo = SIGSEGV, .code = SI_KERNEL });
	spin_unlock(&t->process->signals.lock);
}

void signal_set_blocked(struct task *t, u64 mask)
{
	struct process_signals *ps = &t->process->signals;
	u64 orphans;

	mask &= ~UNBLOCKABLE;
	spin_lock(&ps->lock);
	orphans = ps->pending.set & mask & ~t->signals.blocked;
	t->signals.blocked = mask;
	recalculate(t);
	spin_unlock(&ps->lock);
	orphan(t, orphans);
}

int signal_set_stack(struct task *t, const struct user_sigstack *stack, vaddr_t sp)
{
	struct user_sigstack *k = &t->signals.stack;
	u32 mode = (u32)stack->flags & ~USER_SS_AUTODISARM;

	if (user_on_sigstack(k, sp))
		return -EPERM;
	if (mode != USER_SS_DISABLE && mode != USER_SS_ONSTACK && mode != 0)
		return -EINVAL;
	if (mode != USER_SS_DISABLE && stack->size < SIGSTACK_MIN)
		return -ENOMEM;
	*k = *stack;
	if (mode == USER_SS_DISABLE)
		k->sp = k->size = 0;
	return 0;
}

u32 signal_take(struct task *t, u64 set, struct user_siginfo *info)
{
	struct process_signals *ps = &t->process->signals;
	u32 signo;

	spin_lock(&ps->lock);
	signo = signal_queue_first(&t->signals.pending, ~set);
	if (signo) {
		signal_queue_take(&t->signals.pending, signo, info, &ps->queued);
	} else {
		signo = signal_queue_first(&ps->pending, ~set);
		if (signo)
			signal_queue_take(&ps->pending, signo, info, &ps->queued);
	}
	recalculate(t);
	spin_unlock(&ps->lock);
	return signo;
}

void signal_await(struct task *t, u64 set)
{
	struct process_signals *ps = &t->process->signals;
	u64 orphans;

	spin_lock(&ps->lock);
	orphans = ps->pending.set & t->signals.awaited & t->signals.blocked & ~set;
	t->signals.awaited = set;
	recalculate(t);
	spin_unlock(&ps->lock);
	orphan(t, orphans);
}

u64 signal_pending(struct task *t)
{
	struct process_signals *ps = &t->process->signals;
	u64 set;

	spin_lock(&ps->lock);
	set = t->signals.pending.set | ps->pending.set;
	spin_unlock(&ps->lock);
	return set;
}

int signal_set_action(struct process *p, u32 signo, const struct signal_action *action, struct signal_action *old)
{
	if (!signo || signo > NR_SIGNALS || (action && (SIGNAL_BIT(signo) & UNBLOCKABLE)))
		return -EINVAL;
	mutex_lock(&p->lock);
	spin_lock(&p->signals.lock);
	if (old)
		*old = p->signals.actions[signo - 1];
	if (action) {
		struct signal_action *a = &p->signals.actions[signo - 1];

		*a = *action;
		a->flags &= SA_KNOWN;
		a->mask &= ~UNBLOCKABLE;
		if (ignores(p, signo))		// POSIX: what is pending is discarded, blocked or not
			drop_everywhere(p, SIGNAL_BIT(signo));
	}
	spin_unlock(&p->signals.lock);
	mutex_unlock(&p->lock);
	return 0;
}
