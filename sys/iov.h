// SPDX-License-Identifier: MIT
// The buffers of read, write and their vectored forms: pieces of the program's memory that are copied one after
// another.
#pragma once
#include "kernel/types.h"

struct iov { vaddr_t base; u64 len; };	// as Linux's struct iovec
enum { IOV_MOST = 1024, IOV_FEW = 8 };
#define IOV_BYTES_MOST 0x7ffff000ull	// that one call moves: what is beyond is left, as in Linux

struct iovs {
	struct iov *at;			// the piece that is next; what has been copied is cut off
	u64 left;			// bytes in all
	struct iov few[IOV_FEW], *many;
};

// Could a program own [va, va + n)? Only a question of the address.
bool user_range_ok(vaddr_t va, u64 n);
// One piece: 0, or -EFAULT.
int iovs_init_one(struct iovs *v, vaddr_t base, u64 len);
// From the program's array, which is read once: 0, -EINVAL, -EFAULT, -ENOMEM. In the end iovs_free(), also after an
// error.
int iovs_init(struct iovs *v, vaddr_t array, u64 n);
void iovs_free(struct iovs *v);
// The next n <= left bytes, and behind them: 0, or -EFAULT. As copy_in() and copy_out().
int iovs_copy_in(struct iovs *v, void *to, size_t n);
int iovs_copy_out(struct iovs *v, const void *from, size_t n);
