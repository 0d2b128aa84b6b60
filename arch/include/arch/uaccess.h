// SPDX-License-Identifier: MIT
// Contract: the kernel's access to user memory.
#pragma once
#include "kernel/errno.h"
#include "kernel/types.h"
#include "mm/space.h"

// Those below that may fault in ask the registered functions when there is no memory for the page: true, there may be some
// now, so the access is tried again; false, it fails. Thread context, IRQs on; may sleep.
typedef bool user_no_memory_fn(void);
#define USER_NO_MEMORY(fn) REGISTER(user_no_memory, fn)
static inline bool user_memory_freed(void)
{
	FOR_EACH_REGISTERED(user_no_memory, user_no_memory_fn, free_some)
		if ((*free_some)())
			return true;
	return false;
}
// What the accessors do about a page that is not there. Thread context, IRQs on; may sleep.
static inline int user_fault_in(vaddr_t va, bool write)
{
	int error;

	do
		error = space_fault_current(va, write);
	while (error == -ENOMEM && user_memory_freed());
	return error;
}

// Access user memory of the loaded space from the kernel: 0, or -EFAULT when the page is not there even after
// space_fault(). IRQs on for those that may fault in; the _nofault forms never call space_fault (any context but NMI).
int arch_user_read64(vaddr_t va, u64 *out);
int arch_user_write64(vaddr_t va, u64 v);
int arch_user_read64_nofault(vaddr_t va, u64 *out);
int arch_user_write64_nofault(vaddr_t va, u64 v);

// Copy n bytes from or to user memory: 0, or -EFAULT, and then an unknown part was copied. What is not there is faulted in;
// IRQs on, may sleep, with no lock that a page fault takes. Each byte of the program's is read once: it may change at any
// time.
int copy_in(void *to, vaddr_t from, size_t n);
int copy_out(vaddr_t to, const void *from, size_t n);
// A string with its zero, at most `size` bytes. Returns its length, -EFAULT, or -ERANGE: no zero in that many.
s64 copy_in_string(char *to, vaddr_t from, size_t size);
int clear_out(vaddr_t to, size_t n);	// zeroes
// A futex's word, at a multiple of 4. Atomic; -EFAULT as above; *old is what was there. cmpxchg stores only if that was `expected`.
int arch_user_cmpxchg32(vaddr_t va, u32 expected, u32 v, u32 *old);
int arch_user_read32(vaddr_t va, u32 *out);
// The same of what is present; they never fault in (any context but NMI): a futex compares its word with a spinlock held.
int arch_user_cmpxchg32_nofault(vaddr_t va, u32 expected, u32 v, u32 *old);
int arch_user_read32_nofault(vaddr_t va, u32 *out);
