// SPDX-License-Identifier: MIT
// mlock() and its relatives. There is no swap, so what a lock is worth here: its pages are brought in now, and
// madvise(MADV_DONTNEED) refuses them. A program counts as privileged: RLIMIT_MEMLOCK does not bind it.
#include "sys/memory.h"

enum { MLOCK_ONFAULT = 1, MCL_CURRENT = 1, MCL_FUTURE = 2, MCL_ONFAULT = 4 };
#define LOCKS (REGION_LOCKED | REGION_ON_FAULT)

// [*start, *end): whole pages around [start, start + len). 1: there are none; or an error.
static int whole_pages(vaddr_t *start, vaddr_t *end, u64 len)
{
	len = ALIGN_UP(len + (*start & (PAGE_SIZE - 1)), PAGE_SIZE);
	*start = ALIGN_DOWN(*start, PAGE_SIZE);
	*end = *start + len;
	if (*end < *start)
		return -EINVAL;
	if (*end == *start)
		return 1;
	return *start >= USER_LIMIT || *end > USER_LIMIT ? -ENOMEM : 0;
}

static s64 set_locks(struct task *t, vaddr_t start, vaddr_t end, unsigned set)
{
	s64 err = WHILE_BUSY(space_set_flags(t->process->space, start, end - start, set, LOCKS & ~set));

	return err == -ENOENT ? -ENOMEM : err;
}

static s64 lock_range(struct task *t, vaddr_t start, u64 len, unsigned set)
{
	vaddr_t end;
	s64 err = whole_pages(&start, &end, len);

	if (err)
		return MIN(err, 0);
	err = set_locks(t, start, end, set);
	if (err || set & REGION_ON_FAULT)
		return err;
	for (struct region_info r; start < end; start = r.end) {
		if (!space_query(t->process->space, start, &r) || !r.kind.prot)
			return -ENOMEM;
		if (r.end > end)
			r.end = end;
		err = space_populate(t->process->space, start, r.end - start, r.kind.prot & PROT_W ? PROT_W : PROT_R);
		if (err)
			return err == -ENOMEM ? -EAGAIN : -ENOMEM;
	}
	return 0;
}

static s64 sys_mlock(struct task *t, const u64 a[6]) { return lock_range(t, a[0], a[1], REGION_LOCKED); }
SYSCALL(149, mlock, sys_mlock);

static s64 sys_mlock2(struct task *t, const u64 a[6])
{
	if (a[2] & ~(u64)MLOCK_ONFAULT & 0xffffffff)
		return -EINVAL;
	return lock_range(t, a[0], a[1], a[2] & MLOCK_ONFAULT ? LOCKS : REGION_LOCKED);
}
SYSCALL(325, mlock2, sys_mlock2);

static s64 sys_munlock(struct task *t, const u64 a[6])
{
	vaddr_t start = a[0], end;
	int err = whole_pages(&start, &end, a[1]);

	return err ? MIN(err, 0) : set_locks(t, start, end, 0);
}
SYSCALL(150, munlock, sys_munlock);

static void set_future(struct task *t, unsigned flags)
{
	mutex_lock(&t->process->lock);
	WRITE_ONCE(t->process->lock_future, flags);
	mutex_unlock(&t->process->lock);
}

static void lock_all(struct space *s, unsigned set)
{
	struct region_info r = { .end = 0 };

	space_set_flags_everywhere(s, set, LOCKS & ~set);
	while (!thread_dying() && space_query(s, r.end, &r))
		bring_in_locked(s, r.start, r.end - r.start, r.kind.prot, r.kind.flags);
}

static s64 sys_mlockall(struct task *t, const u64 a[6])
{
	s32 flags = (s32)a[0];
	unsigned set = REGION_LOCKED | (flags & MCL_ONFAULT ? REGION_ON_FAULT : 0);

	if (!flags || flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) || flags == MCL_ONFAULT)
		return -EINVAL;
	set_future(t, flags & MCL_FUTURE ? set : 0);
	if (flags & MCL_CURRENT)
		lock_all(t->process->space, set);
	return 0;
}
SYSCALL(151, mlockall, sys_mlockall);

static s64 sys_munlockall(struct task *t, const u64 a[6])
{
	set_future(t, 0);
	space_set_flags_everywhere(t->process->space, 0, LOCKS);
	return 0;
}
SYSCALL(152, munlockall, sys_munlockall);
