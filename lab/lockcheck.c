// SPDX-License-Identifier: MIT
// Lock checking. Each CPU keeps a list of the locks that it holds, thread and interrupt context together: an interrupt
// that takes a lock of a lower rank than one held by the code below it is as much a deadlock as nesting them would be.
// Only the owner writes its list; other CPUs read it only in a watchdog or a panic.
#include "lab/lockcheck.h"

#if CHECK
#include "kernel/atomic.h"
#include "kernel/cpumask.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/time.h"

#define MAX_HELD 24
// Counted in the owner's ticks, in which it has run: the host may have stopped it for any time. An owner that keeps
// interrupts off takes no ticks; another CPU's tick names it (tick_watch.c).
#define HELD_LIMIT_NS (10 * NSEC_PER_SEC)

struct held {
	struct spinlock *waiting;	// a hint: an interrupt that takes a lock clears it
	u32 n;
	struct spinlock *lock[MAX_HELD];
};
static DEFINE_PER_CPU(struct held, held);
static DEFINE_PER_CPU(u64, locks_taken);

enum lock_irq_use {
	USED_IRQS_ON = 1,	// taken with interrupts on …
	USED_IN_IRQ = 2,	// … and in an interrupt: both together deadlock some day
};

static u8 irq_use(bool irqs_on)
{
	return in_irq() ? USED_IN_IRQ : irqs_on ? USED_IRQS_ON : 0;
}

static const char *lock_fault(struct spinlock *l, bool nested, u8 use)
{
	struct held *h = this_cpu_ptr(&held);

	if (in_nmi())
		return "taken in an NMI";
	if (READ_ONCE(l->owner) == cpu_id() + 1)
		return "taken twice by one CPU";
	if ((READ_ONCE(l->irq_use) | use) == (USED_IRQS_ON | USED_IN_IRQ))
		return "taken both in interrupts and with interrupts on";
	if (h->n == MAX_HELD)
		return "one lock too many";
	for (u32 i = 0; i < h->n && l->rank != RANK_NONE; i++)
		if (h->lock[i]->rank > l->rank || (h->lock[i]->rank == l->rank && !nested))
			return "taken in the wrong order";
	return NULL;
}

const char *spin_lock_fault(struct spinlock *l, bool nested)
{
	return lock_fault(l, nested, irq_use(irqs_enabled()));
}

const char *spin_unlock_fault(struct spinlock *l)
{
	return READ_ONCE(l->owner) == cpu_id() + 1 ? NULL : "released by a CPU that does not hold it";
}

static void complain(struct spinlock *l, const char *fault)
{
	if (panic_in_progress())
		return;
	locks_print_held(cpu_id());
	panic("lock '%s' (rank %u) %s", lock_name(l), l->rank, fault);
}

// Preemption is off. Interrupts are kept out while the list is changed: their handlers take locks too.
void lockcheck_before(struct spinlock *l, bool nested)
{
	irqflags_t flags = irq_save();
	u8 use = irq_use(irqs_enabled_in(flags));	// the caller's state, not this moment's
	const char *fault = lock_fault(l, nested, use);

	if (fault)
		complain(l, fault);
	if (use & ~READ_ONCE(l->irq_use))
		fetch_or(&l->irq_use, use);
	WRITE_ONCE(this_cpu_ptr(&held)->waiting, l);
	irq_restore(flags);
}

void lockcheck_taken(struct spinlock *l)
{
	irqflags_t flags = irq_save();
	struct held *h = this_cpu_ptr(&held);

	this_cpu_inc(locks_taken);
	l->since = this_cpu_read(ticks);
	WRITE_ONCE(l->owner, cpu_id() + 1);
	WRITE_ONCE(h->waiting, NULL);
	if (h->n < MAX_HELD)
		WRITE_ONCE(h->lock[h->n], l);
	WRITE_ONCE(h->n, h->n + 1);
	irq_restore(flags);
}

void lockcheck_release(struct spinlock *l)
{
	irqflags_t flags = irq_save();
	struct held *h = this_cpu_ptr(&held);
	const char *fault = spin_unlock_fault(l);
	u64 ns = (this_cpu_read(ticks) - l->since) * tick_ns();
	u32 i = h->n;

	if (fault)
		complain(l, fault);
	if (ns > HELD_LIMIT_NS && l->rank != RANK_LOG)
		log_warn("lock '%s' was held for %llu ms", lock_name(l), (unsigned long long)(ns / NSEC_PER_MSEC));
	while (i && h->lock[i - 1] != l)
		i--;
	for (; i && i < h->n; i++)
		WRITE_ONCE(h->lock[i - 1], h->lock[i]);
	if (h->n)
		WRITE_ONCE(h->n, h->n - 1);
	WRITE_ONCE(l->owner, 0);
	irq_restore(flags);
}

int lockcheck_owner(struct spinlock *l)
{
	return (int)READ_ONCE(l->owner) - 1;
}

bool spin_held(struct spinlock *l)
{
	return READ_ONCE(l->owner) == cpu_id() + 1;
}

bool spin_none_held(void)
{
	return !this_cpu_read(held.n);
}

void locks_print_held(unsigned cpu)
{
	struct held *h = per_cpu_ptr(&held, cpu);
	struct spinlock *waiting = READ_ONCE(h->waiting);
	u32 n = READ_ONCE(h->n);

	if (waiting)
		log_error("CPU %u waits for lock '%s' held by CPU %d", cpu, lock_name(waiting),
			  lockcheck_owner(waiting));
	for (u32 i = 0; i < n && i < MAX_HELD; i++) {
		struct spinlock *l = READ_ONCE(h->lock[i]);

		if (l)
			log_error("CPU %u holds lock '%s' (rank %u)", cpu, lock_name(l), l->rank);
	}
}

u64 spin_locks_taken(void)
{
	return this_cpu_read(locks_taken);
}
#endif
