// SPDX-License-Identifier: MIT
// Cross-CPU calls. Each CPU has a queue: many producers push at its head (cmpxchg), and its owner takes all of it at
// once (xchg) and reverses it, so that requests run in the order in which they came. Because no CPU removes a single
// node, there is no ABA problem.
//
// Only the push onto an empty queue sends the IPI. Any other push finds a request whose IPI is on its way or whose
// handler has not taken the queue yet. Between push and send preemption stays off: if the pusher were preempted there
// by a thread that waits for the same target, the IPI would never be sent.
//
// Who keeps a request alive: if the call is waited for, the waiter, until `pending` is 0; if it is asynchronous, the
// caller, until `busy` is 0. The target reads all it needs before it touches either.
#include "kernel/xcall.h"
#include "kernel/panic.h"
#include "kernel/preempt.h"
#include "kernel/spinlock.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/lockcheck.h"
#include "lab/trace.h"
#include <arch/ipi.h>

// Separate cache lines for what other CPUs write (a queue's head, `pending`), what they read (a request), and what only
// the own CPU uses.
struct queue {
	struct xcall *head;
} __cacheline;
static DEFINE_PER_CPU(struct queue, xcall_queue);
static DEFINE_PER_CPU(u32 *, unanswered);	// `pending` of the request that this CPU is running

struct request {
	struct xcall call;
} __cacheline;

// The requests of this CPU's xcall_mask_start(). Preemption is off while it is in use, and interrupts may not wait.
struct batch {
	u32 pending __cacheline;	// requests that have not been answered
	bool active __cacheline;
	struct cpumask targets;
	struct request request[NR_CPUS];
};
static DEFINE_PER_CPU(struct batch, batch);
_Static_assert(sizeof(struct queue) == CACHE_LINE && sizeof(struct request) == CACHE_LINE, "a line each");
_Static_assert(offsetof(struct batch, active) == CACHE_LINE && offsetof(struct batch, request) % CACHE_LINE == 0,
	       "the targets write `pending` while the sender looks for more of them");

// True: the queue was empty, so the caller must send IPI_XCALL. Preemption off until then.
static bool push(unsigned cpu, struct xcall *call)
{
	struct xcall **head = &per_cpu(xcall_queue, cpu).head, *first;

	ASSERT(this_cpu_read(preempt_count) && cpu < nr_cpus && cpumask_test(&cpus_online, cpu));
	count(xcalls);
	do {
		first = READ_ONCE(*head);
		call->next = first;
	} while (!cmpxchg(head, first, call));	// a full barrier: publishes the node, and pairs with the handler's xchg
	return !first;
}

static void call_here(xcall_fn fn, void *arg)
{
	irqflags_t flags = irq_save();
	u32 *outer = this_cpu_read(unanswered);

	this_cpu_write(unanswered, NULL);	// fn must not answer the request whose fn called us, if any
	fn(arg);
	this_cpu_write(unanswered, outer);
	irq_restore(flags);
}

void xcall_answer(void)
{
	u32 *pending = this_cpu_read(unanswered);

	if (!pending)
		return;
	this_cpu_write(unanswered, NULL);
	trace(EV_IPI_ACKED, 0);
	fetch_sub(pending, 1);	// what fn did so far is visible before; pairs with the waiter's load_acquire
}

void xcall_interrupt(void)
{
	struct xcall *call, *fifo = NULL;

	trace(EV_IPI_BEGIN, 0);
	call = xchg(&this_cpu_ptr(&xcall_queue)->head, NULL);
	while (call) {
		struct xcall *next = call->next;

		call->next = fifo;
		fifo = call;
		call = next;
	}
	while (fifo) {
		xcall_fn fn = fifo->fn;
		void *arg = fifo->arg;

		this_cpu_write(unanswered, fifo->pending);
		call = fifo;
		fifo = fifo->next;
		if (READ_ONCE(call->busy))
			store_release(&call->busy, 0);	// the caller's again; pairs with its cmpxchg
		if (CHECK)
			count(xcalls_taken);	// before it is answered: see lab/proof.c
		fn(arg);
		xcall_answer();
	}
	trace(EV_IPI_END, 0);
}

bool xcall_waits(unsigned cpu) { return READ_ONCE(per_cpu(xcall_queue, cpu).head); }

// For the watchdog.
static int holdout(const struct cpumask *targets)
{
	for_each_cpu_in(cpu, targets)
		if (xcall_waits(cpu))
			return (int)cpu;
	return -1;
}

// DESIGN 7: two CPUs that waited for each other with interrupts off would wait for ever; so would we for a CPU that
// spins, with interrupts off, for a lock of ours.
static void assert_may_wait(void)
{
	ASSERT(irqs_enabled() && !in_irq());
	ASSERT(spin_none_held());
}

void xcall_one(unsigned cpu, xcall_fn fn, void *arg)
{
	u32 pending = 1;
	struct xcall call = { .fn = fn, .arg = arg, .pending = &pending };

	assert_may_wait();
	preempt_disable();
	if (cpu == cpu_id()) {
		call_here(fn, arg);
		preempt_enable();
		return;
	}
	if (push(cpu, &call)) {
		count(ipi_xcall);
		trace(EV_IPI_SENT, cpu);
		arch_send_ipi(cpu, IPI_XCALL);
	}
	preempt_enable();
	spin_until(!load_acquire(&pending), "cross-CPU call", cpu);
}

void xcall_mask_start(const struct cpumask *mask, xcall_fn fn, void *arg)
{
	struct cpumask kick = { 0 };
	struct batch *b;
	bool here;

	assert_may_wait();
	preempt_disable();	// until xcall_mask_wait()
	b = this_cpu_ptr(&batch);
	ASSERT(!b->active);
	b->active = true;
	cpumask_copy(&b->targets, mask);	// the caller's may change meanwhile
	here = cpumask_test(&b->targets, cpu_id());
	cpumask_clear(&b->targets, cpu_id());
	WRITE_ONCE(b->pending, cpumask_weight(&b->targets));

	for_each_cpu_in(cpu, &b->targets) {
		struct xcall *call = &b->request[cpu].call;

		*call = (struct xcall){ .fn = fn, .arg = arg, .pending = &b->pending };
		if (push(cpu, call)) {
			trace(EV_IPI_SENT, cpu);
			cpumask_set(&kick, cpu);
		}
	}
	if (!cpumask_empty(&kick)) {
		count_add(ipi_xcall, cpumask_weight(&kick));
		arch_send_ipi_mask(&kick, IPI_XCALL);
	}
	if (here)
		call_here(fn, arg);
}

void xcall_mask_wait(void)
{
	struct batch *b = this_cpu_ptr(&batch);

	assert_may_wait();
	ASSERT(b->active);
	spin_until(!load_acquire(&b->pending), "cross-CPU calls", holdout(&b->targets));
	b->active = false;
	preempt_enable();
}

void xcall_mask(const struct cpumask *mask, xcall_fn fn, void *arg)
{
	xcall_mask_start(mask, fn, arg);
	xcall_mask_wait();
}

bool xcall_async(unsigned cpu, struct xcall *call)
{
	preempt_disable();
	if (!cmpxchg(&call->busy, 0, 1)) {
		preempt_enable();
		return false;
	}
	if (cpu == cpu_id()) {
		u32 *pending = call->pending;
		xcall_fn fn = call->fn;
		void *arg = call->arg;

		store_release(&call->busy, 0);
		call_here(fn, arg);
		if (pending)
			fetch_sub(pending, 1);
	} else if (push(cpu, call)) {
		count(ipi_xcall);
		trace(EV_IPI_SENT, cpu);
		arch_send_ipi(cpu, IPI_XCALL);
	}
	preempt_enable();
	return true;
}

static void nothing(void *arg)
{
}

// An empty call is enough: an IPI is taken only with interrupts on. The request may also be found by a handler that is
// already running for an older one; what that handler interrupted had interrupts on, and its earlier functions have
// ended.
void sync_ipi(const struct cpumask *mask)
{
	struct cpumask targets;

	cpumask_copy(&targets, mask ?: &cpus_online);
	preempt_disable();
	cpumask_clear(&targets, cpu_id());
	count_add(ipi_sync, cpumask_weight(&targets));
	xcall_mask(&targets, nothing, NULL);
	preempt_enable();
}
