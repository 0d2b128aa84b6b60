// SPDX-License-Identifier: MIT
// mmap(), munmap(), mprotect(), brk(). Errors are checked in Linux's order.
#include "mm/object.h"
#include "mm/frame/page.h"
#include "sys/console.h"
#include "sys/memory.h"

enum {
	MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_TYPE = 0xf, MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20, MAP_32BIT = 0x40,
	MAP_GROWSDOWN = 0x100, MAP_LOCKED = 0x2000, MAP_NORESERVE = 0x4000, MAP_POPULATE_NOW = 0x8000,
	MAP_NONBLOCK = 0x10000, MAP_HUGETLB = 0x40000, MAP_FIXED_NOREPLACE = 0x100000,
};
#define LAST_32BIT (1ull << 31)

struct mmap {
	u64 len, flags;
	vaddr_t addr;
	unsigned prot;
};

// No file can be mapped: those that are open are the console. There is no reserve of large pages.
static int check_file(const struct task *t, u64 flags, s32 fd)
{
	if (!(flags & MAP_ANONYMOUS))
		return fd_is_open(t, (u32)fd) ? -ENODEV : -EBADF;
	return flags & MAP_HUGETLB ? -ENOMEM : 0;
}

static int check_address(struct mmap *m)
{
	if (m->len > USER_LIMIT)
		return -ENOMEM;
	if (!(m->flags & MAP_FIXED)) {
		m->addr = ALIGN_DOWN(m->addr, PAGE_SIZE);
		if (m->addr && m->addr < MMAP_LOWEST)
			m->addr = MMAP_LOWEST;
		return 0;
	}
	if (m->addr > USER_LIMIT - m->len)
		return -ENOMEM;
	if (m->addr & (PAGE_SIZE - 1))
		return -EINVAL;
	return m->addr < MMAP_LOWEST ? -EPERM : 0;
}

static int check_type(const struct mmap *m)
{
	u64 type = m->flags & MAP_TYPE;

	if (type == MAP_SHARED)
		return m->flags & MAP_GROWSDOWN ? -EINVAL : 0;
	return type == MAP_PRIVATE ? 0 : -EINVAL;
}

// As Linux's overcommit_memory=0: only what could never be had at once is refused.
static bool may_reserve(struct task *t, const struct mmap *m)
{
	bool counts = !(m->flags & MAP_NORESERVE) && (m->prot & PROT_W || m->flags & MAP_SHARED);

	return may_expand(t, m->len) && (!counts || m->len >> PAGE_SHIFT <= page_total_count());
}

static s64 map_somewhere(struct space *s, const struct mmap *m, const struct region_kind *k)
{
	struct map_place w = { .hint = m->addr, .low = MMAP_LOWEST, .high = MMAP_HIGHEST, .limit = USER_LIMIT };

	if (m->flags & MAP_32BIT)
		w = (struct map_place){ .low = MMAP_LOWEST, .high = LAST_32BIT, .limit = LAST_32BIT };
	return space_map_anywhere(s, m->len, k, &w);
}

static s64 map(struct space *s, const struct mmap *m, const struct region_kind *k)
{
	int err;

	if (!(m->flags & MAP_FIXED))
		return map_somewhere(s, m, k);
	if (m->flags & MAP_FIXED_NOREPLACE)
		err = space_map_kind(s, m->addr, m->len, k);
	else
		err = (int)WHILE_BUSY(space_map_over(s, m->addr, m->len, k));
	return err ? err : (s64)m->addr;
}

static s64 map_anonymous(struct task *t, const struct mmap *m)
{
	struct space *s = t->process->space;
	struct region_kind k = { .prot = (u8)m->prot, .level = 1, .flags = future_flags(t) };
	s64 va;

	if (m->flags & MAP_LOCKED)
		k.flags = (u8)((k.flags | REGION_LOCKED) & ~REGION_ON_FAULT);
	if (m->flags & MAP_GROWSDOWN)
		k.flags |= REGION_GROWSDOWN;
	if ((m->flags & MAP_TYPE) == MAP_SHARED) {
		k.flags |= REGION_SHARED;
		k.object = object_create(m->len);
		if (!k.object)
			return -ENOMEM;
	}
	va = map(s, m, &k);
	if (k.object)
		space_object_put(s, k.object);
	if (va < 0)
		return va;
	if ((m->flags & (MAP_POPULATE_NOW | MAP_NONBLOCK)) == MAP_POPULATE_NOW)
		bring_in_quietly(s, (vaddr_t)va, m->len, m->prot);
	else
		bring_in_locked(s, (vaddr_t)va, m->len, m->prot, k.flags);
	return va;
}

static s64 sys_mmap(struct task *t, const u64 a[6])
{
	struct mmap m = { .addr = a[0], .len = ALIGN_UP(a[1], PAGE_SIZE), .prot = prot_from_linux(a[2]), .flags = a[3] };
	u64 offset = a[5];
	int err;

	if (offset & (PAGE_SIZE - 1))
		return -EINVAL;
	err = check_file(t, m.flags, (s32)a[4]);
	if (err)
		return err;
	if (!a[1])
		return -EINVAL;
	if (m.flags & MAP_FIXED_NOREPLACE)
		m.flags |= MAP_FIXED;
	if (!m.len)
		return -ENOMEM;
	if ((offset >> PAGE_SHIFT) + (m.len >> PAGE_SHIFT) < offset >> PAGE_SHIFT)
		return -EOVERFLOW;
	err = check_address(&m) ?: check_type(&m);
	if (err)
		return err;
	return may_reserve(t, &m) ? map_anonymous(t, &m) : -ENOMEM;
}
SYSCALL(9, mmap, sys_mmap);

static s64 sys_munmap(struct task *t, const u64 a[6])
{
	vaddr_t start = a[0];
	u64 len = a[1];

	if (start & (PAGE_SIZE - 1) || start > USER_LIMIT || len > USER_LIMIT - start || !len)
		return -EINVAL;
	return WHILE_BUSY(space_unmap(t->process->space, start, ALIGN_UP(len, PAGE_SIZE)));
}
SYSCALL(11, munmap, sys_munmap);

// ---- mprotect() -----------------------------------------------------------------------------------------------------

// From the start of the region that grows down, as glibc asks for when it makes a stack executable.
static int down_to_start(struct space *s, vaddr_t *start, vaddr_t end)
{
	struct region_info r;

	if (!space_query(s, *start, &r) || r.start >= end)
		return -ENOMEM;
	*start = r.start;
	return r.kind.flags & REGION_GROWSDOWN ? 0 : -EINVAL;
}

static s64 sys_mprotect(struct task *t, const u64 a[6])
{
	const u64 grows = LINUX_PROT_GROWSDOWN | LINUX_PROT_GROWSUP;
	vaddr_t start = a[0], end = start + ALIGN_UP(a[1], PAGE_SIZE);
	struct space *s = t->process->space;
	s64 err;

	if ((a[2] & grows) == grows || start & (PAGE_SIZE - 1))
		return -EINVAL;
	if (!a[1])
		return 0;
	if (end <= start)
		return -ENOMEM;
	if (a[2] & ~(grows | LINUX_PROT_READ | LINUX_PROT_WRITE | LINUX_PROT_EXEC | LINUX_PROT_SEM))
		return -EINVAL;
	if (start >= USER_LIMIT)
		return -ENOMEM;
	if (a[2] & LINUX_PROT_GROWSUP)		// nothing grows up
		return -EINVAL;
	err = a[2] & LINUX_PROT_GROWSDOWN ? down_to_start(s, &start, end) : 0;
	if (err)
		return err;
	err = WHILE_BUSY(space_protect(s, start, MIN(end, USER_END) - start, prot_from_linux(a[2])));
	return err == -ENOENT ? -ENOMEM : err;
}
SYSCALL(10, mprotect, sys_mprotect);

// ---- brk() ----------------------------------------------------------------------------------------------------------

// A page is left free below what lies above, as on Linux, and more where that grows down.
static int grow_break(struct task *t, vaddr_t from, vaddr_t to)
{
	struct space *s = t->process->space;
	struct region_kind k = { .prot = PROT_R | PROT_W, .level = 1, .flags = future_flags(t) };
	struct region_info above;

	if (to > USER_LIMIT || !may_expand(t, to - from) || (to - from) >> PAGE_SHIFT > page_total_count())
		return -ENOMEM;
	if (space_query(s, from, &above) &&
	    above.start < to + PAGE_SIZE + (above.kind.flags & REGION_GROWSDOWN ? STACK_GUARD : 0))
		return -ENOMEM;
	return space_map_kind(s, from, to - from, &k);
}

static int move_break(struct task *t, vaddr_t to)
{
	vaddr_t old = ALIGN_UP(t->process->brk, PAGE_SIZE), new = ALIGN_UP(to, PAGE_SIZE);

	if (to < t->process->brk_start || new < to)
		return -EINVAL;
	if (new < old)
		return space_unmap(t->process->space, new, old - new);
	return new > old ? grow_break(t, old, new) : 0;
}

// The break as it is then; *old: as it was. -EBUSY: as WHILE_BUSY() has it.
static s64 try_break(struct task *t, vaddr_t to, vaddr_t *old)
{
	struct process *p = t->process;
	s64 result;
	int err;

	mutex_lock(&p->lock);
	*old = p->brk;
	err = move_break(t, to);
	if (!err)
		p->brk = to;
	result = err == -EBUSY ? -EBUSY : (s64)p->brk;
	mutex_unlock(&p->lock);
	return result;
}

// What is long, the wait for a pin and bringing in, is without the process's lock, which whoever ends the process needs.
static s64 sys_brk(struct task *t, const u64 a[6])
{
	vaddr_t old;
	s64 result = WHILE_BUSY(try_break(t, a[0], &old)), from = (s64)ALIGN_UP(old, PAGE_SIZE);

	if (result > from)
		bring_in_locked(t->process->space, (vaddr_t)from, ALIGN_UP((u64)(result - from), PAGE_SIZE), PROT_R | PROT_W,
				future_flags(t));
	return result;
}
SYSCALL(12, brk, sys_brk);
