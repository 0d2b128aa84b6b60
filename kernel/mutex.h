// SPDX-License-Identifier: MIT
// The primitives that sleep: mutexes, wait queues, completions. All need IRQs and preemption on, except the wake-ups,
// which any context but NMI may do.
#pragma once
#include "kernel/errno.h"
#include "kernel/list.h"
#include "kernel/panic.h"
#include "kernel/sched.h"
#include "kernel/spinlock.h"

struct thread;

struct waitq {
	struct spinlock lock;
	struct list waiters;
};
#define WAITQ_INIT(q) { .lock = SPINLOCK_INIT("waitq", RANK_MUTEX), .waiters = LIST_INIT((q).waiters) }
void waitq_init(struct waitq *q);
void waitq_wake_one(struct waitq *q);
void waitq_wake_all(struct waitq *q);

// Sleep until cond holds; cond is re-evaluated after each wake-up. The waker makes cond true first, then wakes.
struct waiter {
	struct list link;
	struct thread *thread;	// NULL: not yet in the queue
	bool woken;		// a waker has taken it out of the queue
};
void waitq_prepare(struct waitq *q, struct waiter *w);	// enqueue and mark the thread as sleeping
void waitq_finish(struct waitq *q, struct waiter *w);	// runnable again, out of the queue
#define wait_event(q, cond) do { \
	struct waiter _w = { .thread = NULL }; \
	for (;;) { \
		waitq_prepare((q), &_w); \
		if (cond) \
			break; \
		schedule(); \
		if (READ_ONCE(_w.woken) && (cond)) {	/* the usual end: this wake-up was ours, and was used */ \
			WRITE_ONCE(_w.woken, false); \
			break; \
		} \
	} \
	waitq_finish((q), &_w); \
} while (0)
// The same until deadline_ns (of now_ns(); NO_DEADLINE: none), at tick resolution: 0, or -ETIMEDOUT. A wake-up that was
// complete before the deadline is never answered by -ETIMEDOUT; one that comes later may be, and is passed on (mutex.c).
#define wait_event_until(q, cond, deadline_ns) ({ \
	struct waiter _w = { .thread = NULL }; \
	u64 _end = (deadline_ns); \
	int _result = 0; \
	for (;;) { \
		bool _late = deadline_passed(_end);	/* before the look at cond */ \
		waitq_prepare((q), &_w); \
		if (cond) \
			break; \
		if (_late) { \
			_result = -ETIMEDOUT; \
			break; \
		} \
		schedule_until(_end); \
		if (READ_ONCE(_w.woken) && (cond)) { \
			WRITE_ONCE(_w.woken, false); \
			break; \
		} \
	} \
	waitq_finish((q), &_w); \
	_result; \
})

// A mutex may be freed only when nobody can still be inside mutex_unlock(); a completion as soon as its last
// wait_for_completion() has returned.
struct mutex {
	struct thread *owner;	// NULL: free. Uncontended lock and unlock are one cmpxchg each.
	u32 waiters;
	u32 starving;		// waiters that were woken and found the mutex taken again
	struct waitq q;
	const char *name;
};
#define MUTEX_INIT(m, n) { .q = WAITQ_INIT((m).q), .name = (n) }
void mutex_init(struct mutex *m, const char *name);
bool mutex_trylock(struct mutex *m);
bool mutex_held(struct mutex *m);	// by the current thread
void mutex_lock_slow(struct mutex *m);	// the whole of mutex_lock(), with its checks
DECLARE_PER_CPU(struct thread *, current_thread);	// thread.h

static __always_inline void mutex_lock(struct mutex *m)
{
	if (CHECK || unlikely(READ_ONCE(m->starving) || !cmpxchg(&m->owner, NULL, this_cpu_read(current_thread))))
		mutex_lock_slow(m);
}
static __always_inline void mutex_unlock(struct mutex *m)
{
	ASSERT(mutex_held(m));
	xchg(&m->owner, NULL);		// a full barrier before we look at `waiters`: pairs with mutex_lock_slow()
	if (unlikely(READ_ONCE(m->waiters)))
		waitq_wake_one(&m->q);
}

struct completion {
	u32 done;
	struct waitq q;
};
void completion_init(struct completion *c);
void complete(struct completion *c);		// lets one waiter pass, now or later
void complete_all(struct completion *c);
void wait_for_completion(struct completion *c);
bool try_wait_for_completion(struct completion *c);	// false: not complete yet. If true, the completion may be freed, too
