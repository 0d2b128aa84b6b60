// SPDX-License-Identifier: MIT
// Futexes: waiting for a change of a 32-bit word of the program's, and waking those who wait. Semantics, results and error
// numbers are Linux's; the words are in the space that the calling thread runs in. Thread context, no lock held: what is
// not present is faulted in.
#pragma once
#include "kernel/types.h"

// For all of them: -EINVAL: a misaligned word, or an empty bitset. -EFAULT: not a user address, or not to be read or written.
#define FUTEX_ANY 0xffffffffu		// the bitset of calls that have none
// Sleep while the word is `expected`, until woken by a call whose bitset meets this one: 0; -EAGAIN: the word is another;
// -ETIMEDOUT; -ERESTARTSYS: the task was interrupted.
s64 futex_wait(vaddr_t va, bool shared, u32 expected, u32 bitset, u64 deadline_ns);
// Wake up to n waiters, in the order in which they came, but at least one. Returns how many.
s64 futex_wake(vaddr_t va, bool shared, s32 n, u32 bitset);
// Wake up to `wake` waiters of `from`, and let up to `requeue` of the others wait at `to`. Returns how many both are
// together. -EAGAIN: expected is given, and the word at `from` is another. -EINVAL: a negative number.
s64 futex_requeue(vaddr_t from, vaddr_t to, bool shared, s32 wake, s32 requeue, const u32 *expected);
// Change the second word as `op` says (FUTEX_OP() of <linux/futex.h>), wake up to `wake` waiters of the first, and, if the
// second's old value was as `op` says, up to `wake2` of the second. Returns how many. -ENOSYS: no such operation.
s64 futex_wake_op(vaddr_t va, vaddr_t va2, bool shared, s32 wake, s32 wake2, u32 op);

void futex_init(void);		// boot
u64 futex_waiters(void);	// that sleep, or are about to (tests)

