// SPDX-License-Identifier: MIT
// Ticket spinlocks. A taker draws a ticket from `next` and waits until `serving` shows it: first come, first served.
// Taking is an acquire (the load of `serving`), releasing a release (its store); the fetch_add that draws the ticket is a
// full barrier too, on which thread_wake() relies.
//
// The release store is the last access to the lock: whoever takes it next may free its memory.
#include "kernel/spinlock.h"
#include "kernel/atomic.h"
#include "kernel/lockcheck.h"
#include "kernel/panic.h"
#include "kernel/time.h"

static __always_inline void acquire(struct spinlock *l, bool nested)
{
	u32 ticket;

	preempt_disable();
	lockcheck_before(l, nested);
	ticket = fetch_add(&l->next, 1);
	spin_until(load_acquire(&l->serving) == ticket, lock_name(l), lockcheck_owner(l));
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

// Never waits, so it needs no order: not checked, but recorded as held.
bool spin_trylock(struct spinlock *l)
{
	u32 serving;

	preempt_disable();
	serving = load_acquire(&l->serving);
	if (READ_ONCE(l->next) == serving && cmpxchg(&l->next, serving, serving + 1)) {
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

// Preemption comes last, with interrupts restored: a wake-up inside takes effect here.
void spin_unlock_irqrestore(struct spinlock *l, irqflags_t flags)
{
	release(l);
	irq_restore(flags);
	preempt_enable();
}
