// SPDX-License-Identifier: MIT
// Ticket spinlocks. Checking builds know the owner and check the order (a lock may be taken only while all locks that
// this CPU holds have a lower rank; same rank only via spin_lock_nested). They complain about a lock that is held or
// waited for too long.
#pragma once
#include "kernel/atomic.h"
#include "kernel/preempt.h"

// In order of acquisition: a lock of a higher rank is taken inside one of a lower rank.
enum lock_rank {
	RANK_NONE,	// not ordered
	RANK_TEST,
	RANK_SPACE_LIST,
	RANK_THREADS,
	RANK_FUTEX,	// a bucket of waiters; two of them in order of address
	RANK_SIGNALS,	// of a process; tasks are woken under it
	RANK_MUTEX,	// the spinlock inside a mutex, waitqueue or completion
	RANK_RUNQ,
	RANK_TIMER,
	RANK_RCU_NODE,	// one at a time: a leaf's is released before its parent's is taken
	RANK_RCU_CB,
	RANK_DEFERRED,	// flushes that a back-end has deferred
	RANK_SLAB,
	RANK_PAGES,	// the buddy allocator
	RANK_KMAP,
	RANK_LOG,	// the printer: innermost
};

struct spinlock {
	u32 next, serving;	// tickets
#if CHECK
	const char *name;
	u64 since;		// the owner's ticks at acquisition
	u16 owner;		// CPU + 1, or 0
	u8 rank;
	u8 irq_use;		// enum lock_irq_use: how it has been taken so far
#endif
};

#if CHECK
#define SPINLOCK_INIT(n, r) { .name = (n), .rank = (r) }
#else
#define SPINLOCK_INIT(n, r) { 0 }
#endif
#define spin_init(l, n, r) (*(l) = (struct spinlock)SPINLOCK_INIT(n, r))

// How to wait for a contended lock: try when it is free (true), or in ticket order (false). See spinlock.c. Set at
// boot: ticket order where there is no hypervisor.
extern bool spin_barge;

// Take and release. The caller's preemption is off while it is held. Not from NMI.
void spin_lock(struct spinlock *l);
bool spin_trylock(struct spinlock *l);
void spin_unlock(struct spinlock *l);
void spin_lock_nested(struct spinlock *l);	// a second lock of the same rank, in an order the caller guarantees
// The same with interrupts off: needed when an interrupt handler takes the lock too.
irqflags_t spin_lock_irqsave(struct spinlock *l);
void spin_unlock_irqrestore(struct spinlock *l, irqflags_t flags);
// The same, inlined, where interrupts are off already and the lock is almost always free: without contention it costs
// one LOCKed instruction and no call. (Interrupts off implies preemption off.) Checking builds call spin_lock() and
// spin_unlock().
static __always_inline void spin_lock_irqs_off(struct spinlock *l)
{
	u32 serving = load_acquire(&l->serving);	// pairs with the release in spin_unlock*()

	if (!CHECK && likely(READ_ONCE(l->next) == serving && cmpxchg(&l->next, serving, serving + 1)))
		return;
	spin_lock(l);
	if (!CHECK)
		preempt_enable_no_resched();	// spin_unlock_irqs_off() does not change the depth
}
static __always_inline void spin_unlock_irqs_off(struct spinlock *l)
{
	if (CHECK)
		spin_unlock(l);
	else
		store_release(&l->serving, l->serving + 1);	// only the holder writes it
}
// Taking a lock contains a seq_cst read-modify-write, which orders what came before it with what is read under the lock: a
// full barrier on x86. (ThreadSanitizer wants to see one.)
#define smp_mb_after_lock() arch_fence_after_atomic()
