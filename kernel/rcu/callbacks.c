// SPDX-License-Identifier: MIT
// Callbacks: per-CPU segmented lists, one thread per CPU that invokes them, rcu_barrier().
//
//	call_rcu ──▶ NEXT ──▶ WAIT ──▶ DONE ──▶ thread of that CPU, RCU_BATCH at a time, in order of enqueue
//	             c+2      c+1      ≤ c      (c: completed grace periods)
//
// Each list has a lock, which almost always only its own CPU takes. Because of the lock rcu_barrier() can append to the
// list of an idle CPU without waking that CPU. A CPU with callbacks keeps its tick, and the tick wakes the thread that
// has to act: the callback thread when the oldest callback is ready, the grace-period thread when the grace period that
// the callbacks wait for has not begun. So no callback starves. A list that grows to RCU_EAGER callbacks does not wait
// for the tick: call_rcu() itself, or rcu_hasten() after a caller's region with preemption off, requests a grace period
// and reports a quiescent state (hasten), and the end of the grace period wakes the callback thread
// (rcu_callbacks_ready).
#include "kernel/panic.h"
#include "kernel/rcu/internal.h"
#include "kernel/thread.h"
#include "lab/counter.h"
#include "lab/mutant.h"

// ---- The list (its lock is held) ------------------------------------------------------------------------------------

static void fifo_init(struct rcu_fifo *f)
{
	f->head = NULL;
	f->tail = &f->head;
}

static void fifo_push(struct rcu_fifo *f, struct rcu_head *head)
{
	head->next = NULL;
	*f->tail = head;
	f->tail = &head->next;
}

static struct rcu_head *fifo_pop(struct rcu_fifo *f)
{
	struct rcu_head *head = f->head;

	if (!head)
		return NULL;
	f->head = head->next;
	if (!f->head)
		f->tail = &f->head;
	return head;
}

static void fifo_splice(struct rcu_fifo *to, struct rcu_fifo *from)
{
	if (!from->head)
		return;
	*to->tail = from->head;
	to->tail = from->tail;
	fifo_init(from);
}

static void set_ready(struct rcu_cblist *l)
{
	WRITE_ONCE(l->ready_at, l->seg[RCU_DONE].head ? 0 : l->seg[RCU_WAIT].head ? l->gp[RCU_WAIT] : UINT64_MAX);
}

static void advance(struct rcu_cblist *l, u64 completed)
{
	if (MUTANT(rcu_segment_early))	// callbacks are ready one grace period early
		completed++;
	while (l->seg[RCU_WAIT].head && l->gp[RCU_WAIT] <= completed) {
		fifo_splice(&l->seg[RCU_DONE], &l->seg[RCU_WAIT]);
		fifo_splice(&l->seg[RCU_WAIT], &l->seg[RCU_NEXT]);
		l->gp[RCU_WAIT] = l->gp[RCU_NEXT];
	}
	set_ready(l);
}

// One reading of the sequence for both uses: what is left after advance() waits for completed+1 or completed+2, and gp
// is one of the two.
static u64 enqueue(struct rcu_cblist *l, struct rcu_head *head)
{
	smp_mb_after_lock();	// the caller's unlinking, then the sequence: property 6 of rcu.c
	u64 seq = load_acquire(&rcu.seq), gp = rcu_seq_next(seq);

	advance(l, rcu_seq_completed(seq));
	int s = !l->seg[RCU_WAIT].head || l->gp[RCU_WAIT] == gp ? RCU_WAIT : RCU_NEXT;

	ASSERT(!l->seg[s].head || l->gp[s] == gp);
	ASSERT(s == RCU_NEXT || !l->seg[RCU_NEXT].head);
	l->gp[s] = gp;
	fifo_push(&l->seg[s], head);
	WRITE_ONCE(l->count, l->count + 1);
	set_ready(l);
	return gp;
}

// ---- call_rcu -------------------------------------------------------------------------------------------------------

// Checking builds keep the function of a queued head scrambled with the head's address and wipe it before the call: a
// head that carries a scrambled text address is queued already.
#define SCRAMBLE 0x5ca1ab1e0ddba11ull
typedef void (*rcu_fn)(struct rcu_head *);

static rcu_fn scramble(const struct rcu_head *head, rcu_fn fn)
{
	return CHECK ? (rcu_fn)((uintptr_t)fn ^ (uintptr_t)head ^ SCRAMBLE) : fn;
}

bool rcu_head_queued(const struct rcu_head *head, rcu_fn fn)
{
	return CHECK && (uintptr_t)scramble(head, head->fn) >> 31 == (uintptr_t)fn >> 31;
}

static void want_no_tick(unsigned cpu)
{
	if (!cpumask_test(&rcu.eager, cpu))
		cpumask_set_atomic(&rcu.eager, cpu);
}

// A CPU that frees a lot does not wait for ticks: memory that is freed late has left the caches, and is missing until
// then. The caller is preemptible, so its CPU is quiescent here (rcu.c). It requests a grace period each time RCU_EAGER
// more callbacks wait, and reports its quiescent state if a grace period waits for this CPU. Other CPUs are not
// disturbed: a CPU that computes reports at its next tick.
static void hasten(u64 gp, bool ask)
{
	irqflags_t flags;

	if (ask) {
		want_no_tick(cpu_id());		// if the thread has just moved, it marks the wrong CPU: no harm
		rcu_request(gp, true);
	}
	if (!rcu_waits_for(this_cpu_ptr(&rcu_cpu)))
		return;
	flags = irq_save();
	rcu_quiescent(this_cpu_ptr(&rcu_cpu));
	irq_restore(flags);
	if (unlikely(this_cpu_read(need_resched)))	// a thread may have been woken; irq_restore() does not look
		preempt_resched();
}

void call_rcu(struct rcu_head *head, rcu_fn fn)
{
	ASSERT(!in_nmi());
	if (rcu_head_queued(head, fn))
		panic("call_rcu: head %p is queued already", (void *)head);
	head->fn = scramble(head, fn);

	irqflags_t flags = irq_save();
	struct rcu_cblist *l = &this_cpu_ptr(&rcu_cpu)->cb;

	spin_lock_irqs_off(&l->lock);
	u64 gp = enqueue(l, head), waiting = l->count;

	spin_unlock_irqs_off(&l->lock);
	irq_restore(flags);
	// The wake-up of the grace-period thread is left to this CPU's next tick: a caller that does not want to wait
	// should not pay for the wake-up, and all callbacks of one tick share a grace period. A caller that waits
	// (synchronize_rcu, rcu_barrier) wakes the thread at once, and so does one that queues many callbacks (hasten).
	if (READ_ONCE(rcu.requested) < gp)
		rcu_request(gp, false);
	if (MUTANT(rcu_call_is_quiescent) && waiting >= RCU_EAGER)	// it reports in a reader, too
		hasten(gp, waiting % RCU_EAGER == 0);
	if (waiting >= RCU_EAGER && preemptible())
		hasten(gp, waiting % RCU_EAGER == 0);
	if (unlikely(waiting > READ_ONCE(rcu.pressure)))
		rcu_press(preemptible());	// with preemption off the caller may hold a lock: leave it to the tick
}

// Ask once: the request stands until its grace period has begun. But one that call_rcu() has made while none was under
// way has woken nobody.
void rcu_hasten(void)
{
	u64 waiting = READ_ONCE(this_cpu_ptr(&rcu_cpu)->cb.count), seq = load_acquire(&rcu.seq), gp = rcu_seq_next(seq);

	ASSERT_MAY_SLEEP();
	if (waiting >= RCU_EAGER)
		hasten(gp, !rcu_seq_running(seq) || READ_ONCE(rcu.requested) < gp || !cpumask_test(&rcu.eager, cpu_id()));
	if (unlikely(waiting > READ_ONCE(rcu.pressure)))
		rcu_press(true);
}

u64 rcu_pending_callbacks(void)
{
	u64 n = 0;

	for_each_cpu(cpu)
		n += READ_ONCE(per_cpu(rcu_cpu, cpu).cb.count);
	return n;
}

// ---- Invocation -----------------------------------------------------------------------------------------------------

static bool ready(struct rcu_cpu *rc)
{
	return READ_ONCE(rc->cb.ready_at) <= rcu_completed();
}

static bool take_batch(struct rcu_cblist *l, struct rcu_fifo *batch)
{
	irqflags_t flags = spin_lock_irqsave(&l->lock);
	bool got = false;

	fifo_init(batch);
	if (!l->invoking) {
		u64 completed = rcu_completed();

		smp_mb();	// property 7 of rcu.c
		advance(l, completed);
		for (int i = 0; i < RCU_BATCH && l->seg[RCU_DONE].head; i++)
			fifo_push(batch, fifo_pop(&l->seg[RCU_DONE]));
		set_ready(l);
		got = l->invoking = batch->head != NULL;
	}
	spin_unlock_irqrestore(&l->lock, flags);
	return got;
}

// fn may free the callback's head: the head is not touched after the call.
static bool invoke_batch(struct rcu_cblist *l)
{
	struct rcu_fifo batch;
	u64 n = 0;

	if (!take_batch(l, &batch))
		return false;
	for (struct rcu_head *head; (head = fifo_pop(&batch)); n++) {
		rcu_fn fn = scramble(head, head->fn);

		if (CHECK)
			head->fn = NULL;
		fn(head);
		count(rcu_callbacks);
		ASSERT(preemptible());
	}
	irqflags_t flags = spin_lock_irqsave(&l->lock);

	WRITE_ONCE(l->count, l->count - n);
	l->invoking = false;
	spin_unlock_irqrestore(&l->lock, flags);
	return true;
}

static int cb_thread(void *arg)
{
	struct rcu_cpu *rc = arg;

	for (;;) {
		wait_event(&rc->cb_wq, ready(rc));
		while (invoke_batch(&rc->cb))
			;	// preemptible throughout: other threads get their time slices
	}
	return 0;
}

// A grace period has ended: wake the callback thread of each CPU that has asked not to wait for its tick. A CPU that
// asks too late for this is served by its next tick.
void rcu_callbacks_ready(void)
{
	for_each_cpu_in(cpu, &rcu.eager) {
		struct rcu_cpu *rc = &per_cpu(rcu_cpu, cpu);

		bool due = ready(rc);

		if (!due && READ_ONCE(rc->cb.count))
			continue;	// its callbacks wait for the next grace period
		cpumask_clear_atomic(&rcu.eager, cpu);
		// Not due, so the list is empty: the CPU's tick came first. The CPU may idle by now, and is not woken.
		if (due && READ_ONCE(rc->cb_thread))
			waitq_wake_one(&rc->cb_wq);
	}
}

void rcu_callbacks_tick(struct rcu_cpu *rc)
{
	u64 seq = READ_ONCE(rcu.seq);

	if (ready(rc)) {
		if (READ_ONCE(rc->cb_thread)) {
			waitq_wake_one(&rc->cb_wq);
			return;
		}
		cpumask_set_atomic(&rcu.want_thread, cpu_id());
		store_release(&rcu.threads_wanted, 1);
		rcu_wake_thread();
	} else if (!rcu_seq_running(seq) && READ_ONCE(rcu.requested) > rcu_seq_completed(seq)) {
		rcu_wake_thread();
	}
}

// If there is no memory for a thread, run a batch of the callbacks here: they may well free some. The next tick asks
// again.
void rcu_callbacks_threads(void)
{
	if (!READ_ONCE(rcu.threads_wanted))
		return;
	xchg(&rcu.threads_wanted, 0);
	for_each_cpu_in(cpu, &rcu.want_thread) {
		struct rcu_cpu *rc = &per_cpu(rcu_cpu, cpu);

		cpumask_clear_atomic(&rcu.want_thread, cpu);
		if (!rc->cb_thread)
			WRITE_ONCE(rc->cb_thread, thread_create("rcu_cb", cb_thread, rc, cpu, PRIO_SERVICE));
		if (!rc->cb_thread)
			invoke_batch(&rc->cb);
	}
}

// ---- rcu_barrier ----------------------------------------------------------------------------------------------------

static struct {
	struct mutex mutex;	// one barrier at a time: the heads are per CPU
	struct waitq wq;
	u32 left;
} barrier_wait;

static void barrier_callback(struct rcu_head *head)
{
	if (fetch_sub(&barrier_wait.left, 1) == 1)
		waitq_wake_all(&barrier_wait.wq);
}

// Queue the barrier's head behind all callbacks that are queued or being invoked on that CPU. It need not wait for a
// grace period of its own.
static void barrier_entrain(unsigned cpu)
{
	struct rcu_cpu *rc = &per_cpu(rcu_cpu, cpu);
	struct rcu_cblist *l = &rc->cb;
	irqflags_t flags = spin_lock_irqsave(&l->lock);

	if (l->count) {
		int s = l->seg[RCU_NEXT].head ? RCU_NEXT : l->seg[RCU_WAIT].head ? RCU_WAIT : RCU_DONE;

		fetch_add(&barrier_wait.left, 1);
		want_no_tick(cpu);
		rc->barrier_head.fn = scramble(&rc->barrier_head, barrier_callback);
		fifo_push(&l->seg[s], &rc->barrier_head);
		WRITE_ONCE(l->count, l->count + 1);
		set_ready(l);
	}
	spin_unlock_irqrestore(&l->lock, flags);
}

void rcu_barrier(void)
{
	ASSERT_MAY_SLEEP();
	mutex_lock(&barrier_wait.mutex);
	WRITE_ONCE(barrier_wait.left, 1);	// ours, so that it does not reach 0 before all CPUs have been visited
	for_each_cpu(cpu) {
		if (MUTANT(rcu_barrier_misses_a_cpu) && cpu == nr_cpus - 1)
			break;
		barrier_entrain(cpu);
	}
	rcu_request(READ_ONCE(rcu.requested), true);	// begin now the grace period that call_rcu() left to the tick
	if (fetch_sub(&barrier_wait.left, 1) != 1)
		wait_event(&barrier_wait.wq, load_acquire(&barrier_wait.left) == 0);
	mutex_unlock(&barrier_wait.mutex);
}

void rcu_callbacks_init(void)
{
	mutex_init(&barrier_wait.mutex, "rcu_barrier");
	waitq_init(&barrier_wait.wq);
	for_each_cpu(cpu) {
		struct rcu_cpu *rc = &per_cpu(rcu_cpu, cpu);

		spin_init(&rc->cb.lock, "rcu_cb", RANK_RCU_CB);
		for (int s = 0; s < RCU_SEGMENTS; s++)
			fifo_init(&rc->cb.seg[s]);
		set_ready(&rc->cb);
		waitq_init(&rc->cb_wq);
	}
}
