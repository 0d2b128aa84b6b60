// SPDX-License-Identifier: MIT
// See memory.h.
#include "sys/memory.h"
#include "kernel/time.h"

// A sleep, not a yield: whoever has the pin may be of a lower priority.
bool try_later(void)
{
	if (thread_dying())
		return false;
	thread_sleep_ns(tick_ns());
	return true;
}

// Counted anew, region by region: few programs have a limit.
bool may_expand(struct task *t, u64 len)
{
	u64 limit = READ_ONCE(t->process->limits[RLIMIT_AS].soft), sum = len;
	struct region_info r = { .end = 0 };

	if (limit == RLIM_INFINITY)
		return true;
	while (space_query(t->process->space, r.end, &r))
		sum += r.end - r.start;
	return sum <= limit;
}

u8 future_flags(struct task *t) { return (u8)READ_ONCE(t->process->lock_future); }

void bring_in_quietly(struct space *s, vaddr_t va, u64 len, unsigned prot)
{
	if (prot)
		(void)space_populate(s, va, len, prot & PROT_W ? PROT_W : PROT_R);
}

void bring_in_locked(struct space *s, vaddr_t va, u64 len, unsigned prot, u8 flags)
{
	if ((flags & (REGION_LOCKED | REGION_ON_FAULT)) == REGION_LOCKED)
		bring_in_quietly(s, va, len, prot);
}
