// SPDX-License-Identifier: MIT
// Ticket spinlocks. `next` is the next ticket to be drawn, `serving` the one whose owner holds the lock; they are equal
// when it is free. There are two ways to wait, and both may be in use on one lock at the same time:
//
//   spin_barge off   draw a ticket, wait until `serving` shows it: first come, first served. For bare metal.
//   spin_barge on    wait until the lock is free, then draw the ticket that is served at once. For vCPUs, which may be
//                    preempted: a queue hands the lock to the next in line even if that vCPU does not run, and with
//                    more vCPUs than the host has cores every hand-over then costs a turn of the host's scheduler. Not
//                    fair, but a vCPU that runs gets on.
//
// Taking is an acquire (the load of `serving`), releasing a release (its store). Either way of taking contains a
// seq_cst read-modify-write.
//
// The release store is the last access to the lock: the CPU that takes it next may free its memory.
#include "kernel/spinlock.h"
#include "kernel/atomic.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include "lab/lockcheck.h"

bool spin_barge = true;

static __always_inline bool try_once(struct spinlock *l)
{
	u32 serving = load_acquire(&l->serving);	// pairs with release()

	return READ_ONCE(l->next) == serving && cmpxchg(&l->next, serving, serving + 1);
}

static __always_inline void acquire(struct spinlock *l, bool nested)
{
	preempt_disable();
	lockcheck_before(l, nested);
	if (READ_ONCE(spin_barge)) {
		spin_until(try_once(l), lock_name(l), lockcheck_owner(l));
	} else {
		u32 ticket = fetch_add(&l->next, 1);

		spin_until(load_acquire(&l->serving) == ticket, lock_name(l), lockcheck_owner(l));
	}
	lockcheck_taken(l);
}

static __always_inline void release(struct spinlock *l)
{
	lockcheck_release(l);
	store_release(&l->serving, l->serving + 1);	// only the holder writes it
}

void spin_lock(struct spinlock *l)
{
	acquire(l, false);
}

void spin_lock_nested(struct spinlock *l)
{
	acquire(l, true);
}

// Never waits, so it may be taken in any order: the order is not checked, but the lock is recorded as held.
bool spin_trylock(struct spinlock *l)
{
	preempt_disable();
	if (try_once(l)) {
		lockcheck_taken(l);
		return true;
	}
	preempt_enable();
	return false;
}

void spin_unlock(struct spinlock *l)
{
	release(l);
	preempt_enable();
}

irqflags_t spin_lock_irqsave(struct spinlock *l)
{
	irqflags_t flags = irq_save();

	acquire(l, false);
	return flags;
}

// Preemption is enabled last, after interrupts: a thread that was woken under the lock can be switched to here.
void spin_unlock_irqrestore(struct spinlock *l, irqflags_t flags)
{
	release(l);
	irq_restore(flags);
	preempt_enable();
}
