// SPDX-License-Identifier: MIT
// What a futex's word belongs to: futex_key.c.
#pragma once
#include "kernel/errno.h"
#include "kernel/thread.h"
#include "mm/space.h"

// Names it, so that all addresses under which the word can be reached lead to the same waiters.
struct futex_key {
	u64 owner;		// a space; or, with bit 0 set, the number of an object that is mapped at several places
	u64 offset;		// an address of the space, with FUTEX_SHARED or without; or bytes from the object's beginning
};
#define FUTEX_SHARED 1		// a shared futex on private memory. (Words are aligned.)
enum futex_access { FUTEX_READ, FUTEX_WRITE };

// -EINVAL: misaligned. -EFAULT: not in the user half, whose last page is nobody's, as on Linux.
static __always_inline int futex_check(vaddr_t va)
{
	if (unlikely(va % sizeof(u32)))
		return -EINVAL;
	return unlikely(va > USER_END - PAGE_SIZE) ? -EFAULT : 0;
}

static __always_inline struct futex_key futex_key_private(struct space *s, vaddr_t va)
{
	return (struct futex_key){ .owner = s->root_pa, .offset = va };
}

// No key, but why not. By value, and in one piece: so it stays in registers on the way of a wake without waiters.
static __always_inline struct futex_key futex_no_key(int err) { return (struct futex_key){ .offset = (u64)(s64)err }; }
static __always_inline int futex_key_error(struct futex_key k) { return likely(k.owner) ? 0 : (int)k.offset; }

// Of a shared futex, whose address has been checked. Thread context, no lock held. -EFAULT: not mapped, or without that
// access. -ENOMEM.
struct futex_key futex_key_shared(struct space *s, vaddr_t va, enum futex_access access);

// In the space that the calling thread runs in.
static inline struct futex_key futex_key(vaddr_t va, bool shared, enum futex_access access)
{
	int err = futex_check(va);

	if (err)
		return futex_no_key(err);
	return shared ? futex_key_shared(current->space, va, access) : futex_key_private(current->space, va);
}
