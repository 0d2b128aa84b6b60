// SPDX-License-Identifier: MIT
// Pending signals.
#include "proc/signal_queue.h"
#include "kernel/errno.h"
#include "mm/frame/slab.h"
#include "proc/signal.h"

// A fault of the program comes before all else: its handler must see the registers of the fault.
#define SYNCHRONOUS (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) | \
		     SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGSYS))

#define for_each_entry(e, q) for (struct signal_entry *e = list_first(&(q)->entries, struct signal_entry, link); \
				  &e->link != &(q)->entries; e = list_first(&e->link, struct signal_entry, link))

void signal_queue_init(struct signal_queue *q)
{
	q->set = 0;
	list_init(&q->entries);
}

void signal_queue_add_entry(struct signal_queue *q, struct signal_entry *e)
{
	list_push_back(&q->entries, &e->link);
	q->set |= SIGNAL_BIT(e->info.signo);
}

// A standard signal of the kernel's or of kill() is never lost; its data may be. One that carries data is queued
// whole or not at all, unless it is a standard signal, of which the number is enough.
int signal_queue_add(struct signal_queue *q, const struct user_siginfo *info, u32 *count)
{
	bool standard = info->signo < SIGRTMIN;
	struct signal_entry *e = NULL;

	if (standard && (q->set & SIGNAL_BIT(info->signo)))
		return 0;
	if (*count < SIGNALS_QUEUED_MAX || (standard && info->code >= SI_USER))
		e = kmalloc(sizeof(*e));
	if (!e) {
		if (!standard && info->code != SI_USER)
			return -EAGAIN;
		q->set |= SIGNAL_BIT(info->signo);
		return 0;
	}
	*e = (struct signal_entry){ .info = *info };
	++*count;
	signal_queue_add_entry(q, e);
	return 0;
}

static u32 first_fault(const struct signal_queue *q, u64 blocked)
{
	for_each_entry(e, q)
		if (e->info.code > SI_USER && (SIGNAL_BIT(e->info.signo) & SYNCHRONOUS & ~blocked))
			return (u32)e->info.signo;
	return 0;
}

u32 signal_queue_first(const struct signal_queue *q, u64 blocked)
{
	u64 due = q->set & ~blocked;
	u32 fault;

	if (!due)
		return 0;
	if (due & SIGNAL_BIT(SIGKILL))
		return SIGKILL;
	fault = first_fault(q, blocked);
	if (fault)
		return fault;
	if (due & SYNCHRONOUS)
		due &= SYNCHRONOUS;
	return (u32)__builtin_ctzll(due) + 1;
}

static void discard(struct signal_entry *e, u32 *count)
{
	list_remove(&e->link);
	if (e->embedded)
		return;
	--*count;
	kfree(e);
}

void signal_queue_take(struct signal_queue *q, u32 signo, struct user_siginfo *info, u32 *count)
{
	struct signal_entry *first = NULL;
	bool more = false;

	for_each_entry(e, q) {
		if (e->info.signo != (s32)signo)
			continue;
		if (first) {
			more = true;
			break;
		}
		first = e;
	}
	if (!more)
		q->set &= ~SIGNAL_BIT(signo);
	*info = first ? first->info : (struct user_siginfo){ .signo = (s32)signo, .code = SI_USER };
	if (first)
		discard(first, count);
}

void signal_queue_drop(struct signal_queue *q, u64 signals, u32 *count)
{
	q->set &= ~signals;
	list_for_each_safe(l, &q->entries) {
		struct signal_entry *e = list_entry(l, struct signal_entry, link);

		if (SIGNAL_BIT(e->info.signo) & signals)
			discard(e, count);
	}
}
