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

static __noinline s64 wait(struct task *t, const u64 a[6], u32 bitset)
{
	bool shared = !(a[1] & FUTEX_PRIVATE_FLAG);
	u64 deadline;
	s64 result = read_deadline((u32)a[1], a[3], &deadline);

	if (result)
		return result;
	result = futex_wait(a[0], shared, (u32)a[2], bitset, deadline);
	if (result != -ERESTARTSYS || deadline == NO_DEADLINE)
		return result;
	t->restart = (struct task_restart){
		.fn = restart_wait, .deadline_ns = deadline, .args = { a[0], shared, (u32)a[2], bitset },
	};
	return -ERESTART_RESTARTBLOCK;
}

static __noinline s64 cmp_requeue(const u64 a[6], bool shared)
{
	u32 expected = (u32)a[5];

	return futex_requeue(a[0], a[4], shared, (s32)a[2], (s32)a[3], &expected);
}

static __noinline s64 no_such_command(u32 op, vaddr_t timeout)
{
	u64 deadline;

	return read_deadline(op, timeout, &deadline) ?: -ENOSYS;
}

// Nothing here needs a stack: a wake without waiters is most of the calls, and is to be cheap.
static s64 sys_futex(struct task *t, const u64 a[6])
{
	u32 op = (u32)a[1], cmd = op & ~(u32)FUTEX_FLAGS;
	bool shared = !(op & FUTEX_PRIVATE_FLAG);

	if (unlikely((op & FUTEX_CLOCK_REALTIME) && cmd != FUTEX_WAIT_BITSET))
		return no_such_command(op, a[3]);
	switch (cmd) {
	case FUTEX_WAIT:
		return wait(t, a, FUTEX_ANY);
	case FUTEX_WAIT_BITSET:
		return wait(t, a, (u32)a[5]);
	case FUTEX_WAKE:
		return futex_wake(a[0], shared, (s32)a[2], FUTEX_ANY);
	case FUTEX_WAKE_BITSET:
		return futex_wake(a[0], shared, (s32)a[2], (u32)a[5]);
	case FUTEX_REQUEUE:
		return futex_requeue(a[0], a[4], shared, (s32)a[2], (s32)a[3], NULL);
	case FUTEX_CMP_REQUEUE:
		return cmp_requeue(a, shared);
	case FUTEX_WAKE_OP:
		return futex_wake_op(a[0], a[4], shared, (s32)a[2], (s32)a[3], (u32)a[5]);
	default:
		return no_such_command(op, a[3]);	// the PI commands among them, as in a Linux without FUTEX_PI
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
