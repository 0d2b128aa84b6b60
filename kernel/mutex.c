// SPDX-License-Identifier: MIT
// Mutexes, wait queues, completions.
//
// The waiter, under q->lock: enqueue itself, state = SLEEPING; then look at the condition; then schedule().
// The waker: make the condition true; then, under q->lock, take a waiter out of the queue and thread_wake() it.
// Whichever comes second to the lock sees what the other did before it: either the waiter finds the condition true, or
// the waker finds the waiter, whose state is then SLEEPING. So no wake-up is lost.
//
// What keeps a waiter alive while a waker uses it: it leaves only through waitq_finish(), which takes q->lock, and the
// waker holds that lock until it is done with the waiter.
//
// A waiter with a deadline (wait_event_until) looks at the clock, then takes q->lock, then looks at the condition. It
// gives up when the clock had passed the deadline and the condition is false.
//  * A wake-up whose waker had released q->lock before the deadline is not lost to it: the waiter has taken the lock
//    after the clock had shown the deadline, so after the waker, and sees the condition true.
//  * A wake-up that comes between that look and waitq_finish() has found the waiter in the queue. waitq_finish() finds
//    `woken` and passes it on, as for any waiter that leaves without its wake-up.
//  * The tick that ends the wait is no waker: it takes the thread out of the sleepers, not out of this queue. Should a
//    waker come at the same time, thread_wake() finds the thread RUNNING and does nothing more; `woken` is set all the same.
#include "kernel/mutex.h"
#include "kernel/panic.h"
#include "kernel/sched_internal.h"
#include "lab/mutant.h"
#include "lab/stall.h"

#define COMPLETE_ALL (~0u)

void waitq_init(struct waitq *q)
{
	spin_init(&q->lock, "waitq", RANK_MUTEX);
	list_init(&q->waiters);
}

void waitq_prepare(struct waitq *q, struct waiter *w)
{
	irqflags_t flags;

	ASSERT_MAY_SLEEP();
	ASSERT(!thread_is_idle());
	flags = spin_lock_irqsave(&q->lock);
	if (!w->thread) {
		w->thread = current;
		list_push_back(&q->waiters, &w->link);
	} else if (w->woken) {	// woken in vain: it gets its place at the head back
		w->woken = false;
		list_push_front(&q->waiters, &w->link);
	}
	WRITE_ONCE(current->state, THREAD_SLEEPING);
	spin_unlock_irqrestore(&q->lock, flags);
}

static bool wake_first(struct waitq *q)
{
	struct list *l = list_pop_front(&q->waiters);

	if (!l)
		return false;
	struct waiter *w = list_entry(l, struct waiter, link);

	WRITE_ONCE(w->woken, true);
	thread_wake(w->thread);
	return true;
}

void waitq_finish(struct waitq *q, struct waiter *w)
{
	irqflags_t flags;

	STALL(waitq_leaves, q, 0, 0);	// has looked at its condition for the last time; is still in the queue
	flags = spin_lock_irqsave(&q->lock);
	WRITE_ONCE(current->state, THREAD_RUNNING);
	if (w->woken) {		// but this wake-up was not what ended the wait: pass it on to another waiter
		if (!MUTANT(waitq_keeps_wake_up))
			wake_first(q);
	} else {
		list_remove(&w->link);
	}
	spin_unlock_irqrestore(&q->lock, flags);
}

void waitq_wake_one(struct waitq *q)
{
	irqflags_t flags = spin_lock_irqsave(&q->lock);

	wake_first(q);
	spin_unlock_irqrestore(&q->lock, flags);
}

void waitq_wake_all(struct waitq *q)
{
	irqflags_t flags = spin_lock_irqsave(&q->lock);

	while (wake_first(q))
		;
	spin_unlock_irqrestore(&q->lock, flags);
}

void mutex_init(struct mutex *m, const char *name)
{
	*m = (struct mutex){ .name = name };
	waitq_init(&m->q);
}

bool mutex_trylock(struct mutex *m)
{
	return !READ_ONCE(m->owner) && cmpxchg(&m->owner, NULL, current);
}

bool mutex_held(struct mutex *m)
{
	return READ_ONCE(m->owner) == current;
}

// A waiter that was woken and found the mutex taken again is starving. From then on a newcomer does not overtake it:
// the newcomer queues without a try, and an unlock wakes it in its turn. A woken waiter always tries, so some thread
// gets on.
static bool try_in_turn(struct mutex *m, unsigned *tries)
{
	if (!(*tries)++ && READ_ONCE(m->starving))
		return false;
	if (mutex_trylock(m))
		return true;
	if (*tries == 2)
		fetch_add(&m->starving, 1);
	return false;
}

void mutex_lock_slow(struct mutex *m)
{
	unsigned tries = 0;

	ASSERT_MAY_SLEEP();
	ASSERT(!mutex_held(m));
	if (likely(!READ_ONCE(m->starving) && cmpxchg(&m->owner, NULL, current)))
		return;
	fetch_add(&m->waiters, 1);	// a full barrier before we look at `owner`: pairs with mutex_unlock()
	wait_event(&m->q, try_in_turn(m, &tries));
	fetch_sub(&m->waiters, 1);
	if (tries > 2)
		fetch_sub(&m->starving, 1);
}

void completion_init(struct completion *c)
{
	c->done = 0;
	waitq_init(&c->q);
}

// `done` changes under q.lock, so that a waiter that has seen it cannot leave, and free the completion, before we have
// released the lock.
void complete(struct completion *c)
{
	irqflags_t flags = spin_lock_irqsave(&c->q.lock);

	if (c->done != COMPLETE_ALL)
		WRITE_ONCE(c->done, c->done + 1);
	wake_first(&c->q);
	spin_unlock_irqrestore(&c->q.lock, flags);
}

void complete_all(struct completion *c)
{
	irqflags_t flags = spin_lock_irqsave(&c->q.lock);

	WRITE_ONCE(c->done, COMPLETE_ALL);
	while (wake_first(&c->q))
		;
	spin_unlock_irqrestore(&c->q.lock, flags);
}

// Under q.lock, so that who has completed it is done with it when we return true.
bool try_wait_for_completion(struct completion *c)
{
	irqflags_t flags = spin_lock_irqsave(&c->q.lock);
	u32 done = c->done;

	if (done && done != COMPLETE_ALL)
		WRITE_ONCE(c->done, done - 1);
	spin_unlock_irqrestore(&c->q.lock, flags);
	return done;
}

void wait_for_completion(struct completion *c)
{
	wait_event(&c->q, try_wait_for_completion(c));
}
