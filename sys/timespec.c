// SPDX-License-Identifier: MIT
// Times of programs, in and out.
#include "sys/timespec.h"
#include "kernel/errno.h"
#include "kernel/time.h"
#include <arch/uaccess.h>

s64 timespec_in(vaddr_t from, u64 *ns)
{
	struct user_timespec t;

	if (copy_in(&t, from, sizeof(t)))
		return -EFAULT;
	if (t.sec < 0 || (u64)t.nsec >= NSEC_PER_SEC)
		return -EINVAL;
	*ns = (u64)t.sec < NO_DEADLINE / NSEC_PER_SEC ? (u64)t.sec * NSEC_PER_SEC + (u64)t.nsec : NO_DEADLINE;
	return 0;
}

s64 timespec_out(vaddr_t to, u64 ns)
{
	struct user_timespec t = { .sec = (s64)(ns / NSEC_PER_SEC), .nsec = (s64)(ns % NSEC_PER_SEC) };

	return copy_out(to, &t, sizeof(t));
}

u64 deadline_after(u64 ns)
{
	u64 now = now_ns();

	return ns < NO_DEADLINE - now ? now + ns : NO_DEADLINE;
}

u64 deadline_at_wall(u64 ns)
{
	u64 boot = wall_ns_at_boot();

	return ns == NO_DEADLINE ? ns : ns > boot ? ns - boot : 0;
}
