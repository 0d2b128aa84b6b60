// SPDX-License-Identifier: MIT
// System calls that send signals. A process sends to itself and its own threads only: to it there is no other.
#include "kernel/lib.h"
#include "proc/signal.h"
#include "sys/syscall.h"
#include <arch/uaccess.h>

// Linux checks the number only once it has found whom to send to. 0 is sent to nobody.
static bool valid(s32 signo) { return signo >= 0 && signo <= NR_SIGNALS; }

// Any of its threads' numbers names a process.
static bool is_own(struct task *t, s32 pid)
{
	struct process *p = t->process;
	bool found = pid == (s32)p->pid;

	if (!found && pid > 0) {
		mutex_lock(&p->lock);
		found = process_task(p, (u32)pid);
		mutex_unlock(&p->lock);
	}
	return found;
}

static s64 send_to_process(struct task *t, s32 pid, s32 signo, const struct user_siginfo *info)
{
	if (!is_own(t, pid))
		return -ESRCH;
	if (!valid(signo))
		return -EINVAL;
	return signo ? signal_send(t->process, info) : 0;
}

// The first thread's number stays its own after its end, as long as the process lives; what is sent there is lost.
static s64 send_to_task(struct task *t, s32 tid, s32 signo, const struct user_siginfo *info)
{
	struct process *p = t->process;
	struct task *to;
	s64 result = 0;

	mutex_lock(&p->lock);
	to = process_task(p, (u32)tid);
	if (!to && tid != (s32)p->pid)
		result = -ESRCH;
	else if (!valid(signo))
		result = -EINVAL;
	else if (to && signo)
		result = signal_send_task(to, info);
	mutex_unlock(&p->lock);
	return result;
}

// From uid 0: there are no others.
static struct user_siginfo info_from(const struct task *t, s32 signo, s32 code)
{
	struct user_siginfo info = { .signo = signo, .code = code };

	info.from.pid = (s32)t->process->pid;
	return info;
}

// 0 and the negative number are the process's own group, of which it is the only member. -1 is all others: there are
// none.
static s64 sys_kill(struct task *t, const u64 a[6])
{
	s32 pid = (s32)a[0], signo = (s32)a[1], self = (s32)t->process->pid;
	struct user_siginfo info = info_from(t, signo, SI_USER);

	return send_to_process(t, pid == 0 || pid == -self ? self : pid, signo, &info);
}
SYSCALL(62, kill, sys_kill);

static s64 sys_tgkill(struct task *t, const u64 a[6])
{
	s32 pid = (s32)a[0], tid = (s32)a[1], signo = (s32)a[2];
	struct user_siginfo info = info_from(t, signo, SI_TKILL);

	if (pid <= 0 || tid <= 0)
		return -EINVAL;
	return pid == (s32)t->process->pid ? send_to_task(t, tid, signo, &info) : -ESRCH;
}
SYSCALL(234, tgkill, sys_tgkill);

static s64 sys_tkill(struct task *t, const u64 a[6])
{
	s32 tid = (s32)a[0], signo = (s32)a[1];
	struct user_siginfo info = info_from(t, signo, SI_TKILL);

	return tid > 0 ? send_to_task(t, tid, signo, &info) : -EINVAL;
}
SYSCALL(200, tkill, sys_tkill);

// The part of siginfo that Linux keeps; the rest is zero. Where the code is none of Linux's own, it must have been.
#define KEPT 48
enum { LOWEST_CODE = -7, SI_ASYNCNL = -60 };

static int info_in(struct user_siginfo *info, vaddr_t at, s32 signo)
{
	static const u8 zeroes[sizeof(*info) - KEPT];
	u8 *rest = (u8 *)info + KEPT;

	if (copy_in(info, at, sizeof(*info)))
		return -EFAULT;
	if (info->code < LOWEST_CODE && info->code != SI_ASYNCNL && memcmp(rest, zeroes, sizeof(zeroes)))
		return -E2BIG;
	memset(rest, 0, sizeof(zeroes));
	info->signo = signo;
	return 0;
}

// Only to itself may a process pretend that the kernel or kill() sends.
static bool forged(const struct user_siginfo *info) { return info->code >= SI_USER || info->code == SI_TKILL; }

static s64 sys_rt_sigqueueinfo(struct task *t, const u64 a[6])
{
	s32 pid = (s32)a[0], signo = (s32)a[1];
	struct user_siginfo info;
	int error = info_in(&info, a[2], signo);

	if (error)
		return error;
	if (forged(&info) && pid != (s32)t->tid)
		return -EPERM;
	return send_to_process(t, pid, signo, &info);
}
SYSCALL(129, rt_sigqueueinfo, sys_rt_sigqueueinfo);

static s64 sys_rt_tgsigqueueinfo(struct task *t, const u64 a[6])
{
	s32 pid = (s32)a[0], tid = (s32)a[1], signo = (s32)a[2];
	struct user_siginfo info;
	int error = info_in(&info, a[3], signo);

	if (error)
		return error;
	if (pid <= 0 || tid <= 0)
		return -EINVAL;
	if (forged(&info) && tid != (s32)t->tid)
		return -EPERM;
	return pid == (s32)t->process->pid ? send_to_task(t, tid, signo, &info) : -ESRCH;
}
SYSCALL(297, rt_tgsigqueueinfo, sys_rt_tgsigqueueinfo);
