// SPDX-License-Identifier: MIT
// The scheduler. Each CPU has a run queue of its own and picks only from that; a thread moves to another CPU only when
// it asks to (thread_set_affinity). What follows from this:
//
//  * A woken thread goes to the queue of the CPU that it last ran on. While that CPU has not yet left the thread's
//    stack, it cannot pick it either: a switch happens with interrupts off, and the next pick comes after it. So no
//    thread can run on two CPUs, and the queue lock need not be held across the switch.
//  * A mover is queued on its new CPU by finish_switch(), on the old CPU, after the old CPU has left the mover's stack.
//  * Sleepers are a list that only their CPU touches.
//
// A thread may be preempted between marking itself SLEEPING and checking its condition. It then stays queued, state
// notwithstanding: only schedule() takes a sleeping thread off the queue.
#include "kernel/sched.h"
#include "kernel/irq.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "kernel/sched_internal.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/irqsoff.h"
#include "mm/tlb.h"
#include <arch/ipi.h>
#include <arch/user.h>

DEFINE_PER_CPU(struct runq, runq);
DEFINE_PER_CPU(struct thread *, current_thread);
DEFINE_PER_CPU(u64, context_switches);
DEFINE_PER_CPU(u32, preempt_count);
DEFINE_PER_CPU(bool, need_resched);

static DEFINE_PER_CPU(struct thread, idle_thread);

enum reason {
	GIVE_UP,	// schedule(): stay queued if runnable
	PREEMPTED,	// stay queued in any state
	MOVING,		// to the CPU that prev->cpu will name
};

static int prio_of(const struct runq *rq, const struct thread *t)
{
	return t == rq->idle ? -1 : t->prio;
}

static void enqueue(struct runq *rq, struct thread *t, bool front)
{
	if (front)
		list_push_front(&rq->queue[t->prio], &t->run_link);
	else
		list_push_back(&rq->queue[t->prio], &t->run_link);
	WRITE_ONCE(rq->ready, rq->ready | 1u << t->prio);
}

static struct thread *pick_next(struct runq *rq)
{
	if (!rq->ready)
		return rq->idle;

	int prio = 31 - __builtin_clz(rq->ready);
	struct thread *t = list_entry(list_pop_front(&rq->queue[prio]), struct thread, run_link);

	if (list_empty(&rq->queue[prio]))
		WRITE_ONCE(rq->ready, rq->ready & ~(1u << prio));
	return t;
}

// Queue a thread that was asleep, is new or moves here, and make its CPU notice if it should run at once.
static void activate(struct runq *rq, struct thread *t)
{
	enqueue(rq, t, false);
	WRITE_ONCE(rq->load, rq->load + 1);
	if ((int)t->prio <= prio_of(rq, rq->curr))
		return;
	if (rq == this_cpu_ptr(&runq)) {
		this_cpu_write(need_resched, true);
	} else if (!rq->kicked) {
		// Inside the lock: a sender that was preempted between setting `kicked` and sending would delay others.
		WRITE_ONCE(rq->kicked, true);
		count(ipi_resched);
		arch_send_ipi(t->cpu, IPI_RESCHED);
	}
}

void sched_start_thread(struct thread *t, unsigned cpu)
{
	struct runq *rq = per_cpu_ptr(&runq, cpu);
	irqflags_t flags = spin_lock_irqsave(&rq->lock);

	WRITE_ONCE(t->cpu, cpu);
	activate(rq, t);
	spin_unlock_irqrestore(&rq->lock, flags);
}

// A thread's CPU changes only under the lock of the queue that it leaves, and not while it sleeps.
static struct runq *lock_runq_of(struct thread *t, irqflags_t *flags)
{
	for (;;) {
		unsigned cpu = READ_ONCE(t->cpu);
		struct runq *rq = per_cpu_ptr(&runq, cpu);

		*flags = spin_lock_irqsave(&rq->lock);
		if (likely(READ_ONCE(t->cpu) == cpu))
			return rq;
		spin_unlock_irqrestore(&rq->lock, *flags);
	}
}

// The caller keeps t alive: it holds a reference, or a lock that t must take before it can go on (waitq).
// A waker that makes a condition true and the waiter for it both take q->lock, and the second to take it sees the
// other's store (mutex.c). A thread that sleeps for a time is woken by its own CPU. So no barrier is needed here
// between the condition and the load of `state`.
bool thread_wake(struct thread *t)
{
	irqflags_t flags;
	struct runq *rq = lock_runq_of(t, &flags);
	// cmpxchg, because a thread that runs may set its own state meanwhile.
	bool woken = READ_ONCE(t->state) == THREAD_SLEEPING && cmpxchg(&t->state, THREAD_SLEEPING, THREAD_RUNNING);

	// Still on its way to sleep (running, or preempted on that way and queued): schedule() will find it RUNNING.
	if (woken && t != rq->curr && list_empty(&t->run_link))
		activate(rq, t);
	spin_unlock_irqrestore(&rq->lock, flags);
	return woken;
}

// A thread that runs finds what the caller has stored when this interrupt ends; one that is preempted or moves is on its way
// through a run queue's lock, whose full barriers come before it goes on: so an interrupt to the wrong CPU, whichever is read
// here, means that this barrier comes after the store.
void thread_kick(struct thread *t)
{
	unsigned cpu;

	if (thread_wake(t))
		return;
	cpu = READ_ONCE(t->cpu);
	preempt_disable();
	if (cpu != cpu_id()) {
		count(ipi_resched);
		arch_send_ipi(cpu, IPI_RESCHED);
	}
	preempt_enable();
}

static void put_prev(struct runq *rq, struct thread *prev, enum reason why, unsigned to)
{
	u32 state = READ_ONCE(prev->state);

	ASSERT(list_empty(&prev->run_link));
	if (why == MOVING) {
		WRITE_ONCE(prev->cpu, to);
	} else if (why == PREEMPTED || state == THREAD_RUNNING) {
		// A thread that a higher priority preempted is the first of its own priority to run again.
		enqueue(rq, prev, why == PREEMPTED && !rq->rotate);
		return;
	}
	WRITE_ONCE(rq->load, rq->load - 1);
}

// The processor time of threads that run programs.
static __always_inline void switch_clocks(struct thread *prev, struct thread *next)
{
	u64 now;

	if (likely(prev->clock >= 0 && !next->user))
		return;
	now = now_ns();
	thread_clock_stop(prev, now);
	if (next->user)
		thread_clock_run(next, now);
}

// On the stack of the thread that has just been switched to. IRQs off.
static void finish_switch(void)
{
	struct thread *prev = this_cpu_ptr(&runq)->prev;
	unsigned cpu = READ_ONCE(prev->cpu);
	u32 state = READ_ONCE(prev->state);

	store_release(&prev->on_cpu, 0);	// its stack is no longer used; pairs with the load in switch_away()
	if (state == THREAD_DEAD)
		thread_put(prev);
	else if (cpu != cpu_id())
		sched_start_thread(prev, cpu);
}

// The one place where a CPU switches threads. IRQs off, preemption depth 1. Returns when the caller is picked again,
// perhaps on another CPU.
static void switch_away(enum reason why, unsigned to)
{
	struct runq *rq = this_cpu_ptr(&runq);
	struct thread *prev = current, *next;

	ASSERT(!irqs_enabled() && this_cpu_read(preempt_count) == PREEMPT_ONE);
	spin_lock(&rq->lock);
	this_cpu_write(need_resched, false);
	WRITE_ONCE(rq->kicked, false);
	if (prev != rq->idle)
		put_prev(rq, prev, why, to);
	rq->rotate = false;
	next = pick_next(rq);
	WRITE_ONCE(rq->curr, next);
	spin_unlock(&rq->lock);

	rcu_context_switch();	// even if next == prev: whatever called this was no reader
	if (next == prev)
		return;
	ASSERT(!load_acquire(&next->on_cpu));
	WRITE_ONCE(next->on_cpu, 1);
	next->switches++;
	switch_clocks(prev, next);
	this_cpu_inc(context_switches);
	this_cpu_write(current_thread, next);
	rq->prev = prev;
	if (prev->user)
		arch_user_switched_out(prev->user);
	tlb_follow(next);
	arch_thread_switch(prev, next);
	finish_switch();
}

// Called at preemption depth 0 and, except by irq_preempt(), from code with interrupts on: see the callers.
static void reschedule(enum reason why, unsigned to)
{
	do {
		this_cpu_inc(preempt_count);
		barrier();
		switch_away(why, to);
		barrier();
		this_cpu_dec(preempt_count);
		why = PREEMPTED;
	} while (this_cpu_read(need_resched));
}

void schedule(void)
{
	ASSERT(preemptible());
	irq_disable();
	reschedule(GIVE_UP, 0);
	irq_enable();
}

void preempt_resched(void)
{
	if (!preemptible())
		return;
	irq_disable();
	reschedule(PREEMPTED, 0);
	irq_enable();
}

void irq_preempt(void)
{
	if (this_cpu_read(need_resched) && this_cpu_read(preempt_count) == 0)
		reschedule(PREEMPTED, 0);
	irqsoff_end();		// the return from the interrupt turns interrupts on
}

void sched_migrate(unsigned cpu)
{
	ASSERT(preemptible());
	irq_disable();
	reschedule(MOVING, cpu);
	irq_enable();
}

void sched_exit(void)
{
	irq_disable();
	WRITE_ONCE(current->state, THREAD_DEAD);
	reschedule(GIVE_UP, 0);
	panic("thread %s ran on after its end", current->name);
}

// Where arch_thread_init() lets a new thread begin: on its own stack, IRQs off, preemption depth 1.
void thread_entry(void)
{
	finish_switch();
	preempt_enable_no_resched();
	irq_enable();
	if (this_cpu_read(need_resched))
		preempt_resched();
	thread_exit(current->fn(current->arg));
}

void ipi_reschedule(void)
{
	count(resched_taken);
	this_cpu_write(need_resched, true);
}

u64 sched_next_wake(void)
{
	struct list *sleepers = &this_cpu_ptr(&runq)->sleepers;

	return list_empty(sleepers) ? ~0ull : list_first(sleepers, struct thread, sleep_link)->wake_at;
}

void sched_tick(void)
{
	struct runq *rq = this_cpu_ptr(&runq);
	struct thread *curr = current;

	// Before the wake-ups: if other threads wait, curr's turn is over, and it goes to the back of its queue even if
	// a thread woken below preempts it.
	if (curr != rq->idle && READ_ONCE(rq->ready) >> curr->prio) {
		rq->rotate = true;
		this_cpu_write(need_resched, true);
	}
	// A sleeper is alive: it cannot run, and so not exit, before this CPU leaves this interrupt.
	while (!list_empty(&rq->sleepers)) {
		struct thread *t = list_first(&rq->sleepers, struct thread, sleep_link);

		if (t->wake_at > now_ns())
			break;
		list_remove(&t->sleep_link);
		thread_wake(t);
	}
}

unsigned sched_place(const struct cpumask *allowed)
{
	static u32 turn;	// CPUs of equal load take turns
	unsigned start = fetch_add_relaxed(&turn, 1) % nr_cpus, best = NR_CPUS;
	u32 best_load = ~0u;

	for (unsigned i = 0; i < nr_cpus && best_load; i++) {
		unsigned cpu = (start + i) % nr_cpus;

		if (!cpumask_test(allowed, cpu) || !cpumask_test(&cpus_online, cpu))
			continue;

		u32 load = READ_ONCE(per_cpu_ptr(&runq, cpu)->load);

		if (load < best_load) {
			best = cpu;
			best_load = load;
		}
	}
	return best;
}

bool cpu_is_idle(unsigned cpu)
{
	struct runq *rq = per_cpu_ptr(&runq, cpu);

	return READ_ONCE(rq->curr) == READ_ONCE(rq->idle);
}

bool thread_is_idle(void)
{
	return current == this_cpu_ptr(&runq)->idle;
}

void sched_init_cpu(void)
{
	struct runq *rq = this_cpu_ptr(&runq);
	struct thread *t = this_cpu_ptr(&idle_thread);

	*t = (struct thread){ .state = THREAD_RUNNING, .on_cpu = 1, .cpu = cpu_id(), .refs = 1, .name = "idle" };
	list_init(&t->run_link);
	list_init(&t->sleep_link);
	list_init(&t->all_link);
	cpumask_set(&t->affinity, cpu_id());
	completion_init(&t->exited);

	*rq = (struct runq){ .curr = t, .idle = t };
	spin_init(&rq->lock, "runq", RANK_RUNQ);
	for (int i = 0; i < NR_PRIOS; i++)
		list_init(&rq->queue[i]);
	list_init(&rq->sleepers);
	this_cpu_write(current_thread, t);
}

// Preemption stays off: an interrupt that finds work for this CPU must return here, so that RCU's idle state and the
// tick are put right before a thread runs.
void idle_loop(void)
{
	preempt_disable();
	for (;;) {
		irq_disable();
		while (!this_cpu_read(need_resched)) {
			tick_stop_idle();
			rcu_idle_enter();
			irq_enable_and_halt();
			irq_disable();
			rcu_idle_exit();
		}
		tick_restart();
		switch_away(GIVE_UP, 0);
		irq_enable();
	}
}
