// SPDX-License-Identifier: MIT
// The system calls of futexes: their arguments and flags. What they do is in proc/futex.c and proc/robust.c.
#include "kernel/thread.h"
#include "kernel/time.h"
#include "proc/futex.h"
#include "proc/robust.h"
#include "sys/syscall.h"
#include "sys/timespec.h"
#include <arch/uaccess.h>

enum {
	FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_REQUEUE = 3, FUTEX_CMP_REQUEUE = 4, FUTEX_WAKE_OP = 5, FUTEX_LOCK_PI = 6,
	FUTEX_WAIT_BITSET = 9, FUTEX_WAKE_BITSET = 10, FUTEX_WAIT_REQUEUE_PI = 11, FUTEX_LOCK_PI2 = 13,
	FUTEX_PRIVATE_FLAG = 128, FUTEX_CLOCK_REALTIME = 256, FUTEX_FLAGS = FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME,
};

// For which commands is the fourth argument a time? (The PI ones fail, but only after a bad time.)
static bool has_timeout(u32 cmd)
{
	return cmd == FUTEX_WAIT || cmd == FUTEX_WAIT_BITSET || cmd == FUTEX_LOCK_PI || cmd == FUTEX_LOCK_PI2 ||
	       cmd == FUTEX_WAIT_REQUEUE_PI;
}

// When the wait ends, by now_ns(). FUTEX_WAIT names a length, the others a time of one of the two clocks.
static s64 read_deadline(u32 op, vaddr_t timeout, u64 *deadline_ns)
{
	u64 ns;
	s64 err;

	*deadline_ns = NO_DEADLINE;
	if (!timeout || !has_timeout(op & ~(u32)FUTEX_FLAGS))
		return 0;
	err = timespec_in(timeout, &ns);
	if (err)
		return err;
	if ((op & ~(u32)FUTEX_FLAGS) == FUTEX_WAIT)
		*deadline_ns = deadline_after(ns);
	else if (op & FUTEX_CLOCK_REALTIME)
		*deadline_ns = deadline_at_wall(ns);
	else
		*deadline_ns = ns;
	return 0;
}

// Interrupted: the call is made again if no handler runs. A length of time must not begin anew, so then the call goes on
// with the deadline as it was.
static s64 restart_wait(struct task *t)
{
	const struct task_restart *r = &t->restart;
	s64 result = futex_wait(r->args[0], r->args[1], (u32)r->args[2], (u32)r->args[3], r->deadline_ns);

	return result == -ERESTARTSYS ? -ERESTART_RESTARTBLOCK : result;
}

static s64 wait(struct task *t, vaddr_t va, bool shared, u32 expected, u32 bitset, u64 deadline_ns)
{
	s64 result = futex_wait(va, shared, expected, bitset, deadline_ns);

	if (result != -ERESTARTSYS || deadline_ns == NO_DEADLINE)
		return result;
	t->restart = (struct task_restart){
		.fn = restart_wait, .deadline_ns = deadline_ns, .args = { va, shared, expected, bitset },
	};
	return -ERESTART_RESTARTBLOCK;
}

static s64 sys_futex(struct task *t, const u64 a[6])
{
	u32 op = (u32)a[1], val = (u32)a[2], val2 = (u32)a[3], val3 = (u32)a[5], cmd = op & ~(u32)FUTEX_FLAGS;
	vaddr_t va = a[0], va2 = a[4];
	bool shared = !(op & FUTEX_PRIVATE_FLAG);
	u64 deadline;
	s64 err = read_deadline(op, a[3], &deadline);

	if (err)
		return err;
	if ((op & FUTEX_CLOCK_REALTIME) && cmd != FUTEX_WAIT_BITSET)
		return -ENOSYS;
	switch (cmd) {
	case FUTEX_WAIT:
		return wait(t, va, shared, val, FUTEX_ANY, deadline);
	case FUTEX_WAIT_BITSET:
		return wait(t, va, shared, val, val3, deadline);
	case FUTEX_WAKE:
		return futex_wake(va, shared, (s32)val, FUTEX_ANY);
	case FUTEX_WAKE_BITSET:
		return futex_wake(va, shared, (s32)val, val3);
	case FUTEX_REQUEUE:
		return futex_requeue(va, va2, shared, (s32)val, (s32)val2, NULL);
	case FUTEX_CMP_REQUEUE:
		return futex_requeue(va, va2, shared, (s32)val, (s32)val2, &val3);
	case FUTEX_WAKE_OP:
		return futex_wake_op(va, va2, shared, (s32)val, (s32)val2, val3);
	default:
		return -ENOSYS;		// the PI commands among them, as in a Linux without FUTEX_PI
	}
}
SYSCALL(202, futex, sys_futex);

static s64 sys_set_robust_list(struct task *t, const u64 a[6])
{
	if (a[1] != ROBUST_HEAD_SIZE)
		return -EINVAL;
	t->robust_list = a[0];
	return 0;
}
SYSCALL(273, set_robust_list, sys_set_robust_list);

// Another task's list is only to be read by whoever may trace it. The number 0 names the caller.
static s64 robust_list_of(struct task *t, s32 tid, vaddr_t *list)
{
	struct task *other;

	*list = t->robust_list;
	if (!tid || (u32)tid == t->tid)
		return 0;
	mutex_lock(&t->process->lock);
	other = process_task(t->process, (u32)tid);
	if (other)
		*list = READ_ONCE(other->robust_list);
	mutex_unlock(&t->process->lock);
	return other ? 0 : -ESRCH;
}

static s64 sys_get_robust_list(struct task *t, const u64 a[6])
{
	const u64 size = ROBUST_HEAD_SIZE;
	vaddr_t list;
	s64 err = robust_list_of(t, (s32)a[0], &list);

	return err ?: copy_out(a[2], &size, sizeof(size)) ?: copy_out(a[1], &list, sizeof(list));
}
SYSCALL(274, get_robust_list, sys_get_robust_list);

static s64 sys_set_tid_address(struct task *t, const u64 a[6])
{
	t->clear_tid = a[0];
	return t->tid;
}
SYSCALL(218, set_tid_address, sys_set_tid_address);
