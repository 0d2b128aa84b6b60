// SPDX-License-Identifier: MIT
// process_vm_readv() and process_vm_writev(), of the caller's own process. The remote pages are pinned by the lockless walk,
// some at a time, and copied through the kernel's map of them; the local side is user memory like any other.
#include "kernel/lib.h"
#include "mm/frame/slab.h"
#include "mm/walk.h"
#include "sys/memory.h"
#include <arch/uaccess.h>

#define UIO_MAXIOV 1024
#define FEW_IOVECS 8		// fit on the stack
#define PINS 16			// at a time
#define MAX_RW_COUNT (0x7ffff000ull)	// as Linux: of all of the local side

struct iovec { u64 base, len; };

struct side {
	struct iovec few[FEW_IOVECS], *v;
	u64 n;
};

static s64 fetch(struct side *d, vaddr_t from, u64 n)
{
	d->v = d->few;
	d->n = n;
	if (n > UIO_MAXIOV)
		return -EINVAL;
	if (n > FEW_IOVECS)
		d->v = kmalloc(n * sizeof(*d->v));
	if (!d->v) {
		d->v = d->few;
		return -ENOMEM;
	}
	if (copy_in(d->v, from, n * sizeof(*d->v)))
		return -EFAULT;
	for (u64 i = 0; i < n; i++)
		if ((s64)d->v[i].len < 0)
			return -EINVAL;
	return 0;
}

static void release(struct side *d)
{
	if (d->v != d->few)
		kfree(d->v);
}

static bool in_user_half(const struct iovec *v) { return v->base <= USER_LIMIT && v->len <= USER_LIMIT - v->base; }

// As Linux's import_iovec(): nothing beyond MAX_RW_COUNT, and no address of the kernel's.
static s64 limit_local(struct side *d)
{
	u64 room = MAX_RW_COUNT, sum = 0;

	for (u64 i = 0; i < d->n; i++) {
		if (!in_user_half(&d->v[i]))
			return -EFAULT;
		d->v[i].len = MIN(d->v[i].len, room);
		room -= d->v[i].len;
		sum += d->v[i].len;
	}
	return (s64)sum;
}

struct transfer {
	struct space *s;
	bool write;		// to the remote side
	const struct iovec *local;	// the rest of the local side
	u64 nr_local;
	u64 done;
};

// n bytes in one page of the remote side; `at` is what is left of the current piece of the local side. By pages of the local
// side, so that what is reported as copied has been.
static s64 copy_page(struct transfer *x, struct iovec *at, u8 *page, u64 n)
{
	while (n) {
		u64 some = MIN(MIN(n, at->len), PAGE_SIZE - (at->base & (PAGE_SIZE - 1)));

		if (!at->len) {
			if (!x->nr_local)
				return 0;
			*at = *x->local++;
			x->nr_local--;
			continue;
		}
		if (x->write ? copy_in(page, at->base, some) : copy_out(at->base, page, some))
			return -EFAULT;
		*at = (struct iovec){ at->base + some, at->len - some };
		page += some;
		n -= some;
		x->done += some;
	}
	return 0;
}

static s64 copy_pinned(struct transfer *x, struct iovec *at, struct page **pages, unsigned got, vaddr_t va, u64 n)
{
	s64 err = 0;

	for (unsigned i = 0; i < got; i++) {
		u64 offset = va & (PAGE_SIZE - 1), some = MIN(n, PAGE_SIZE - offset);

		if (!err)
			err = copy_page(x, at, (u8 *)page_to_virt(pages[i]) + offset, some);
		page_unpin(pages[i], x->write);
		va += some;
		n -= some;
	}
	return err;
}

static s64 copy_remote(struct transfer *x, struct iovec *at, vaddr_t va, u64 n)
{
	struct page *pages[PINS];

	while (n) {
		u64 offset = va & (PAGE_SIZE - 1), want = MIN((offset + n + PAGE_SIZE - 1) >> PAGE_SHIFT, (u64)PINS), some;
		unsigned got = va < USER_LIMIT ? walk_pin_range(x->s, va, (unsigned)want, x->write, pages) : 0;
		s64 err;

		if (!got)
			return -EFAULT;
		some = MIN(n, got * PAGE_SIZE - offset);
		err = copy_pinned(x, at, pages, got, va, some);
		if (!err && thread_dying())
			err = -EINTR;
		if (err)
			return err;
		va += some;
		n -= some;
	}
	return 0;
}

// Until one side ends. What was copied before an error counts, not the error.
static s64 transfer(struct transfer *x, const struct side *remote, u64 total)
{
	struct iovec at = { 0 };
	s64 err = 0;

	for (u64 i = 0; i < remote->n && x->done < total && !err; i++)
		err = copy_remote(x, &at, remote->v[i].base, MIN(remote->v[i].len, total - x->done));
	return x->done ? (s64)x->done : err;
}

static bool is_own(struct process *p, u32 pid)
{
	bool yes;

	mutex_lock(&p->lock);
	yes = pid == p->pid || process_task(p, pid);
	mutex_unlock(&p->lock);
	return yes;
}

static bool nothing_remote(const struct side *d)
{
	u64 sum = 0;

	for (u64 i = 0; i < d->n; i++)
		sum |= d->v[i].len;
	return !sum;
}

static s64 run(struct task *t, const u64 a[6], bool write, struct side *local, struct side *remote)
{
	struct transfer x = { .s = t->process->space, .write = write };
	s64 err = fetch(local, a[1], a[2]), total;

	total = err ? err : limit_local(local);
	if (total <= 0)
		return total;
	err = fetch(remote, a[3], a[4]);
	if (err || nothing_remote(remote))
		return err;
	if (!is_own(t->process, (u32)a[0]))
		return -ESRCH;
	x.local = local->v;
	x.nr_local = local->n;
	return transfer(&x, remote, (u64)total);
}

static s64 process_vm(struct task *t, const u64 a[6], bool write)
{
	struct side local = { .v = local.few }, remote = { .v = remote.few };
	s64 result;

	if (a[5])		// flags
		return -EINVAL;
	result = run(t, a, write, &local, &remote);
	release(&local);
	release(&remote);
	return result;
}

static s64 sys_process_vm_readv(struct task *t, const u64 a[6]) { return process_vm(t, a, false); }
SYSCALL(310, process_vm_readv, sys_process_vm_readv);
static s64 sys_process_vm_writev(struct task *t, const u64 a[6]) { return process_vm(t, a, true); }
SYSCALL(311, process_vm_writev, sys_process_vm_writev);
