// SPDX-License-Identifier: MIT
// Vectors of buffers.
#include "sys/iov.h"
#include "kernel/errno.h"
#include "mm/frame/slab.h"
#include <arch/pte.h>
#include <arch/uaccess.h>

// As in Linux, the last page of the user half belongs to nobody.
bool user_range_ok(vaddr_t va, u64 n)
{
	return va + n >= va && va + n <= USER_END - PAGE_SIZE;
}

int iovs_init_one(struct iovs *v, vaddr_t base, u64 len)
{
	*v = (struct iovs){ .at = v->few, .left = MIN(len, IOV_BYTES_MOST), .few[0] = { base, len } };
	return user_range_ok(base, len) ? 0 : -EFAULT;
}

// Linux's order: a wrong length of any piece, then its address.
static int check(struct iovs *v, u64 n)
{
	for (u64 i = 0; i < n; i++)
		if ((s64)v->at[i].len < 0)
			return -EINVAL;
	for (u64 i = 0; i < n; i++) {
		if (!user_range_ok(v->at[i].base, v->at[i].len))
			return -EFAULT;
		v->left = MIN(v->left + v->at[i].len, IOV_BYTES_MOST);
	}
	return 0;
}

int iovs_init(struct iovs *v, vaddr_t array, u64 n)
{
	*v = (struct iovs){ .at = v->few };
	if (n > IOV_MOST)
		return -EINVAL;
	if (n > IOV_FEW) {
		v->at = v->many = kmalloc(n * sizeof(struct iov));
		if (!v->many)
			return -ENOMEM;
	}
	if (copy_in(v->at, array, n * sizeof(struct iov)))
		return -EFAULT;
	return check(v, n);
}

void iovs_free(struct iovs *v) { kfree(v->many); }

// The part of the next piece that at most n bytes are. There is one with bytes, since n <= left.
static struct iov next_part(struct iovs *v, size_t n)
{
	struct iov part;

	while (!v->at->len)
		v->at++;
	part = (struct iov){ v->at->base, MIN(n, v->at->len) };
	v->at->base += part.len;
	v->at->len -= part.len;
	v->left -= part.len;
	return part;
}

int iovs_copy_in(struct iovs *v, void *to, size_t n)
{
	for (struct iov part; n; n -= part.len, to = (char *)to + part.len) {
		part = next_part(v, n);
		if (copy_in(to, part.base, part.len))
			return -EFAULT;
	}
	return 0;
}

int iovs_copy_out(struct iovs *v, const void *from, size_t n)
{
	for (struct iov part; n; n -= part.len, from = (const char *)from + part.len) {
		part = next_part(v, n);
		if (copy_out(part.base, from, part.len))
			return -EFAULT;
	}
	return 0;
}
