// SPDX-License-Identifier: MIT
// madvise() and mincore(). An advice that would change nothing here is accepted only if nothing is what it promises: there
// is no swap, no file behind a mapping, no core dump. What must be remembered for a fork, or would make large pages by
// itself, is refused with EINVAL, as by a Linux that is configured without it.
#include "kernel/lib.h"
#include "sys/memory.h"
#include <arch/uaccess.h>

enum advice {
	ADV_NORMAL, ADV_RANDOM, ADV_SEQUENTIAL, ADV_WILLNEED, ADV_DONTNEED, ADV_FREE = 8, ADV_DONTDUMP = 16, ADV_DODUMP = 17,
	ADV_COLD = 20, ADV_PAGEOUT, ADV_POPULATE_READ, ADV_POPULATE_WRITE, ADV_DONTNEED_LOCKED, ADV_COLLAPSE,
};

struct part {			// of the range, in one region
	struct space *s;
	vaddr_t start, end;
	const struct region_kind *kind;
};
typedef s64 part_fn(const struct part *p);

static s64 hint(const struct part *p) { return 0; }
static s64 hint_unlocked(const struct part *p) { return p->kind->flags & REGION_LOCKED ? -EINVAL : 0; }

// The tables that this empties are freed, too.
static s64 discard(const struct part *p) { return WHILE_BUSY(space_discard(p->s, p->start, p->end - p->start)); }

static s64 discard_unlocked(const struct part *p)
{
	return p->kind->flags & REGION_LOCKED ? -EINVAL : discard(p);
}

// Linux frees when memory is short, or never; a program must expect both. Here it is at once.
static s64 free_unlocked(const struct part *p)
{
	return p->kind->object ? -EINVAL : discard_unlocked(p);
}

// Linux's answers to what collapse may say.
static s64 collapse_error(int err)
{
	if (err == -EEXIST)
		return 0;
	return err == -EBUSY ? -EAGAIN : err == -ENOENT ? -EINVAL : err;
}

// Each 2 MiB that lies in the part, pages that are not there yet included, until there is no memory for one.
static s64 collapse(const struct part *p)
{
	s64 result = 0;

	for (vaddr_t va = ALIGN_UP(p->start, level_size(2)); va + level_size(2) <= p->end; va += level_size(2)) {
		int err = p->kind->object || !p->kind->prot ? -EINVAL : 0;

		if (!err && space_populate(p->s, va, level_size(2), PROT_R))
			err = -ENOMEM;
		if (!err)
			err = space_collapse(p->s, va);
		result = collapse_error(err) ?: result;
		if (err == -ENOMEM || thread_dying())
			break;		// as on Linux: it would fail again and again
	}
	return result;
}

static part_fn *const advices[] = {
	[ADV_NORMAL] = hint, [ADV_RANDOM] = hint, [ADV_SEQUENTIAL] = hint, [ADV_WILLNEED] = hint,
	[ADV_DONTNEED] = discard_unlocked, [ADV_FREE] = free_unlocked, [ADV_DONTDUMP] = hint, [ADV_DODUMP] = hint,
	[ADV_COLD] = hint_unlocked, [ADV_PAGEOUT] = hint_unlocked, [ADV_DONTNEED_LOCKED] = discard,
	[ADV_COLLAPSE] = collapse,
};

// Holes are passed over, and reported at the end.
static s64 each_part(struct space *s, vaddr_t va, vaddr_t end, part_fn *fn)
{
	struct region_info r;
	s64 hole = 0;

	while (va < end) {
		struct part p = { .s = s, .kind = &r.kind };
		s64 err;

		if (!space_query(s, va, &r) || r.start >= end)
			return -ENOMEM;
		if (r.start > va)
			hole = -ENOMEM;
		p.start = MAX(r.start, va);
		p.end = MIN(r.end, end);
		err = fn(&p);
		if (err)
			return err;
		va = p.end;
	}
	return hole;
}

static s64 populate(struct space *s, vaddr_t va, vaddr_t end, unsigned access)
{
	int err = va < USER_LIMIT ? space_populate(s, va, MIN(end, USER_LIMIT) - va, access) : -EFAULT;

	switch (err) {
	case -EACCES:
		return -EINVAL;
	case -ENXIO:
		return -EFAULT;
	case 0:
		return end > USER_LIMIT ? -ENOMEM : 0;
	default:
		return -ENOMEM;		// a hole, too
	}
}

static s64 sys_madvise(struct task *t, const u64 a[6])
{
	vaddr_t start = a[0], end = start + ALIGN_UP(a[1], PAGE_SIZE);
	struct space *s = t->process->space;
	s32 advice = (s32)a[2];
	bool populates = advice == ADV_POPULATE_READ || advice == ADV_POPULATE_WRITE;

	if (!populates && (advice < 0 || advice >= (s32)ARRAY_SIZE(advices) || !advices[advice]))
		return -EINVAL;
	if (start & (PAGE_SIZE - 1) || (a[1] && !ALIGN_UP(a[1], PAGE_SIZE)) || end < start)
		return -EINVAL;
	if (end == start)
		return 0;
	if (populates)
		return populate(s, start, end, advice == ADV_POPULATE_WRITE ? PROT_W : PROT_R);
	return each_part(s, start, end, advices[advice]);
}
SYSCALL(28, madvise, sys_madvise);

// ---- mincore() ------------------------------------------------------------------------------------------------------

#define MINCORE_CHUNK 256	// pages that one look at the space covers

static s64 sys_mincore(struct task *t, const u64 a[6])
{
	vaddr_t start = a[0], vec = a[2];
	u64 pages = (a[1] >> PAGE_SHIFT) + !!(a[1] & (PAGE_SIZE - 1));
	u8 found[MINCORE_CHUNK];

	if (start & (PAGE_SIZE - 1))
		return -EINVAL;
	if (start > USER_LIMIT || a[1] > USER_LIMIT - start)
		return -ENOMEM;
	if (vec > USER_LIMIT || pages > USER_LIMIT - vec)
		return -EFAULT;
	while (pages) {
		u64 n = MIN(pages, (u64)MINCORE_CHUNK);

		if (thread_dying())
			return -EINTR;
		if (space_resident(t->process->space, start, n, found))
			return -ENOMEM;
		if (copy_out(vec, found, n))
			return -EFAULT;
		pages -= n;
		start += n << PAGE_SHIFT;
		vec += n;
	}
	return 0;
}
SYSCALL(27, mincore, sys_mincore);
