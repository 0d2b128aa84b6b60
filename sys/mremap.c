// SPDX-License-Identifier: MIT
// mremap(). Errors are checked in Linux's order.
#include "sys/memory.h"

enum { MREMAP_MAYMOVE = 1, MREMAP_FIXED = 2, MREMAP_DONTUNMAP = 4 };

static int check(const struct remap *q, u64 flags)
{
	if (flags & ~(u64)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) || q->from & (PAGE_SIZE - 1) || !q->to_len ||
	    q->to_len > USER_LIMIT)
		return -EINVAL;
	if (!(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)))
		return 0;
	if (!(flags & MREMAP_MAYMOVE) || (q->leave && q->from_len != q->to_len))
		return -EINVAL;
	if (!q->fixed)
		return 0;
	if (q->to > USER_LIMIT - q->to_len || q->to & (PAGE_SIZE - 1))
		return -EINVAL;
	if (q->from < q->to + q->to_len && q->to < q->from + q->from_len)
		return -EINVAL;
	return q->to < MMAP_LOWEST ? -EPERM : 0;
}

// What the space alone does not know: where the range ends for a program, and how much it may have.
static int check_range(struct task *t, const struct remap *q)
{
	struct region_info r;

	if (q->from >= USER_LIMIT || !space_query(t->process->space, q->from, &r) || r.start > q->from)
		return -EFAULT;
	if (q->from_len > USER_LIMIT - q->from)
		return q->fixed || q->to_len > q->from_len ? -EFAULT : -EINVAL;
	return q->to_len > q->from_len && !may_expand(t, q->to_len - q->from_len) ? -ENOMEM : 0;
}

static s64 sys_mremap(struct task *t, const u64 a[6])
{
	struct space *s = t->process->space;
	const struct remap q = {
		.from = a[0], .from_len = ALIGN_UP(a[1], PAGE_SIZE), .to_len = ALIGN_UP(a[2], PAGE_SIZE),
		.may_move = a[3] & MREMAP_MAYMOVE, .fixed = a[3] & MREMAP_FIXED, .leave = a[3] & MREMAP_DONTUNMAP,
		.to = a[3] & MREMAP_FIXED ? a[4] : 0, .low = MMAP_LOWEST, .high = MMAP_HIGHEST,
		.limit = USER_LIMIT,
	};
	struct region_info r;
	s64 result = check(&q, a[3]) ?: check_range(t, &q);

	if (result)
		return result;
	result = WHILE_BUSY(space_remap(s, &q));
	if (result > 0 && q.to_len > q.from_len && space_query(s, (vaddr_t)result, &r))
		bring_in_locked(s, (vaddr_t)result + q.from_len, q.to_len - q.from_len, r.kind.prot, r.kind.flags);
	return result;
}
SYSCALL(25, mremap, sys_mremap);
