// SPDX-License-Identifier: MIT
// tlb_flush=lazy: no interrupt at all (LATR, Kumar et al., ASPLOS 2018). An unmap posts a record: which pages and
// tables it has taken, and which CPUs may still use them. Each of these CPUs sweeps (flushes all that is not global) at
// its next tick or context switch, which includes its leaving idle. When all have swept, the record is completed: its
// tables are FLUSHED and passed to the policy, its frames are put. Until then another CPU may still reach the old page,
// but never a reused one. That is good enough for unmap and exit; everything else is flushed at once, as by
// tlb_flush=ipi.
//
//	poster                                      CPU c of the record's mask, IRQs off
//	------                                      ------------------------------------
//	exchange the entries with 0                 due[c] set? xchg(due[c], 0)     (full barrier: flush/flush.c)
//	space->gen++, read the masks (tlb.h)        g = posted
//	record.gen = ++posted             <-A->     flush
//	xchg(due[c], 1)    (full barrier)           swept[c] = g                    (release)
//
// A: if c finds the mark, it sees `posted` and the entries as the poster left them, so the flush covers the record and
// g says so. If it does not, the mark stays for the next sweep. A record is complete when each of its CPUs has swept >=
// record.gen, or neither has the space loaded nor walks it any more: a CPU that leaves a space flushes everything, and
// leaves only where a sweep might happen, too. (One that has come back meanwhile is waited for needlessly, until it
// sweeps.)
//
// Tick and switch need interrupts on, so a sweep proves that every walk with interrupts off that began before it has
// ended. It proves nothing about a walk with interrupts on, which a sweep may interrupt.
//
// Holdouts: a CPU that idles without tick, or keeps interrupts off for long, gets a call after a while. (One that stops
// its tick leaves such a space first: about_to_idle().) An operation that maps something at the same address, or where
// a table that still waits has covered it, cannot wait for sweeps: it calls deferred_settle().
//
// Generations: a sweep is a full flush, so it updates tlb.gen. A CPU that holds the space lazily is a target only when
// tables are freed, as under every back-end, and then leaves the space.
#include "mm/flush/lazy.h"
#include "kernel/panic.h"
#include "kernel/spinlock.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/trace.h"
#include "mm/frame/slab.h"
#include "mm/gather.h"
#include "mm/pending.h"
#include "mm/table.h"
#include "mm/tlb.h"

#define PATIENCE_TICKS 10	// a CPU that takes longer to sweep gets a call

struct deferred_record {
	struct list link;
	struct space *space;
	const struct table_policy *freer;	// as it was when the tables were unlinked
	struct cpumask waiting;			// CPUs not seen to have swept
	u64 gen;
	u64 since;				// ns
	vaddr_t start, end;			// of the pages, and of all that the tables covered
	struct deferred_record *next_complete;	// list of the records that one caller finishes
	struct gathered taken;
};

struct deferred_cpu {
	u64 swept;		// everything posted up to this generation
	struct xcall call;
} __cacheline;
static DEFINE_PER_CPU(struct deferred_cpu, deferred_cpu);

static struct {
	struct spinlock lock;
	struct list records;	// that wait for sweeps, oldest first
	struct list finishing;	// whose CPUs have all swept; under the lock, too
	u64 posted;		// generation of the last one; read without the lock
	u64 nr;			// records that are not done; read without the lock
	u64 held;		// their pages
	u32 asleep;		// the thread is
	struct waitq work;
} deferred = { .lock = SPINLOCK_INIT("lazy flushes", RANK_DEFERRED), .records = LIST_INIT(deferred.records),
	.finishing = LIST_INIT(deferred.finishing), .work = WAITQ_INIT(deferred.work) };

u64 deferred_held(void) { return READ_ONCE(deferred.held); }

// ---- Sweeping -------------------------------------------------------------------------------------------------------

static void deferred_sweep(void)
{
	u64 posted = load_acquire(&deferred.posted);	// also covers records without a mark yet; pairs with post()

	count(lazy_sweeps);
	tlb_flush_all_here();
	STALL(lazy_flushed, NULL, 0, 0);	// a sweep has flushed, and `swept` does not say so yet
	if (MUTANT(lazy_late_generation))	// a sweep claims what was posted after its flush
		posted = READ_ONCE(deferred.posted);
	trace(EV_SWEEP, posted);
	store_release(&this_cpu_ptr(&deferred_cpu)->swept, posted);
	STALL(lazy_swept, NULL, 0, 0);	// `swept` is set; a CPU held here has neither tick nor switch
}

static void wake_thread(void)
{
	if (unlikely(READ_ONCE(deferred.nr) && READ_ONCE(deferred.asleep)))
		waitq_wake_one(&deferred.work);
}
TICK_HANDLER(wake_thread);

static void sweep_call(void *unused) { flush_sweep(); }

// ---- Completion -----------------------------------------------------------------------------------------------------

static bool has_swept(const struct deferred_record *r, unsigned cpu)
{
	return load_acquire(&per_cpu(deferred_cpu, cpu).swept) >= r->gen;
}

// If the CPU's bits are clear, its last use comes before the freeing. Acquire: pairs with cpumask_clear_atomic() in
// tlb_leave(), in tlb_join(), and where a walker leaves `walkers`.
static bool has_left(const struct deferred_record *r, unsigned cpu)
{
	return !cpumask_test_acquire(&r->space->cpus, cpu) && !cpumask_test_acquire(&r->space->walkers, cpu);
}

// A sweep that covers the record is a maskable call of this flush. A CPU that has merely left is not reported.
static bool is_complete(struct deferred_record *r)
{
	for_each_cpu_in(cpu, &r->waiting) {
		if (has_swept(r, cpu))
			cpumask_set(&r->taken.proved, cpu);
		else if (!has_left(r, cpu))
			continue;
		cpumask_clear(&r->waiting, cpu);
	}
	if (MUTANT(lazy_no_wait))	// complete before anybody has swept
		return true;
	return cpumask_empty(&r->waiting);
}

// Move complete records to `finishing`. Returns those that the caller is to finish, linked by next_complete.
static struct deferred_record *take_complete(void)
{
	irqflags_t flags = spin_lock_irqsave(&deferred.lock);
	struct deferred_record *first = NULL;

	list_for_each_safe(it, &deferred.records) {
		struct deferred_record *r = list_entry(it, struct deferred_record, link);

		if (is_complete(r)) {
			list_remove(&r->link);
			list_push_back(&deferred.finishing, &r->link);
			r->next_complete = first;
			first = r;
		}
	}
	spin_unlock_irqrestore(&deferred.lock, flags);
	return first;
}

static void finish(struct deferred_record *r)
{
	unsigned frames = r->taken.nr_frames;
	u64 pages = frames + r->taken.nr_tables;
	struct space *s = r->space;
	irqflags_t flags;

	STALL(lazy_finishing, s, r->start, 0);	// all have swept; nothing has been released
	gathered_flushed(&r->taken, s, r->freer);
	pending_put(frames);
	fetch_sub(&deferred.held, pages);
	flags = spin_lock_irqsave(&deferred.lock);
	list_remove(&r->link);
	kfree(r);			// under the lock: when a drain finds no record, none is allocated either
	spin_unlock_irqrestore(&deferred.lock, flags);
	fetch_sub(&deferred.nr, 1);
	flush_deferred_end(s);
}

static void finish_complete(void)
{
	struct deferred_record *r = take_complete(), *next;

	for (; r; r = next) {
		next = r->next_complete;
		finish(r);
	}
}

// Call the CPUs that records older than `age` wait for. Does not wait for them to answer.
static void call_holdouts(u64 age)
{
	struct cpumask holdouts = { 0 };
	irqflags_t flags = spin_lock_irqsave(&deferred.lock);
	u64 now = now_ns();

	list_for_each(it, &deferred.records) {
		struct deferred_record *r = list_entry(it, struct deferred_record, link);

		if (now - r->since >= age)
			cpumask_or(&holdouts, &r->waiting);
	}
	spin_unlock_irqrestore(&deferred.lock, flags);
	for_each_cpu_in(cpu, &holdouts)
		if (xcall_async(cpu, &per_cpu(deferred_cpu, cpu).call))
			count(lazy_calls);
}

static int deferred_thread(void *unused)
{
	for (;;) {
		WRITE_ONCE(deferred.asleep, 1);
		wait_event(&deferred.work, READ_ONCE(deferred.nr));
		WRITE_ONCE(deferred.asleep, 0);
		finish_complete();
		call_holdouts(PATIENCE_TICKS * tick_ns());
		if (READ_ONCE(deferred.nr))
			thread_sleep_ns(tick_ns());
	}
	return 0;
}

static void deferred_hurry(void)
{
	if (READ_ONCE(deferred.nr))
		call_holdouts(0);
}

static void deferred_init(void)
{
	for_each_cpu(cpu)
		per_cpu(deferred_cpu, cpu).call.fn = sweep_call;
	BUG_ON(!thread_create("lazy", deferred_thread, NULL, CPU_ANY, PRIO_SERVICE));
}

static bool any_of(const struct list *records, u64 gen)
{
	list_for_each(it, records)
		if (list_entry(it, struct deferred_record, link)->gen <= gen)
			return true;
	return false;
}

// Is anything not done that was posted up to `gen`?
static bool waiting_since(u64 gen)
{
	irqflags_t flags = spin_lock_irqsave(&deferred.lock);
	bool any = any_of(&deferred.records, gen) || any_of(&deferred.finishing, gen);

	spin_unlock_irqrestore(&deferred.lock, flags);
	return any;
}

// Others may go on posting; this waits only for what is there now.
static void deferred_drain(void)
{
	u64 gen = READ_ONCE(deferred.posted);

	while (waiting_since(gen)) {
		call_holdouts(0);
		finish_complete();
		if (waiting_since(gen))
			thread_sleep_ns(tick_ns());
	}
}

static void deferred_wait(struct space *s) { finish_complete(); }

static void deferred_settle(struct space *s, vaddr_t start, vaddr_t end)
{
	struct cpumask holdouts = { 0 };
	irqflags_t flags;

	if (MUTANT(lazy_no_settle))	// something new is mapped where an old page can still be reached
		return;
	flags = spin_lock_irqsave(&deferred.lock);
	list_for_each(it, &deferred.records) {
		struct deferred_record *r = list_entry(it, struct deferred_record, link);

		if (r->space == s && r->start < end && start < r->end && !is_complete(r))
			cpumask_or(&holdouts, &r->waiting);
	}
	spin_unlock_irqrestore(&deferred.lock, flags);
	if (cpumask_empty(&holdouts))
		return;
	count(lazy_settled);
	xcall_mask(&holdouts, sweep_call, NULL);
}

// ---- Posting --------------------------------------------------------------------------------------------------------

static bool post(struct gather *g, const struct cpumask *targets)
{
	struct deferred_record *r;
	irqflags_t flags;

	if (!pending_try(g->taken.nr_frames))
		return false;		// too much waits already
	r = kmalloc(sizeof(*r));
	if (!r) {			// no memory for the record: flush at once instead
		pending_put(g->taken.nr_frames);
		return false;
	}
	*r = (struct deferred_record){ .space = g->space, .freer = g->space->freer, .since = now_ns(),
		.start = ALIGN_DOWN(g->start, level_size(g->covers)), .end = ALIGN_UP(g->end, level_size(g->covers)) };
	cpumask_copy(&r->waiting, targets);
	gathered_move(&r->taken, &g->taken);
	cpumask_zero(&r->taken.proved);
	r->taken.proves = true;
	flush_deferred_begin(g->space);
	fetch_add(&deferred.nr, 1);
	fetch_add(&deferred.held, r->taken.nr_frames + r->taken.nr_tables);
	flags = spin_lock_irqsave(&deferred.lock);
	r->gen = deferred.posted + 1;
	list_push_back(&deferred.records, &r->link);
	store_release(&deferred.posted, r->gen);	// the entries are cleared; pairs with deferred_sweep()
	spin_unlock_irqrestore(&deferred.lock, flags);
	return true;
}

static bool deferred_defer(struct gather *g, const struct flush *f, const struct cpumask *targets)
{
	irqflags_t flags;

	if (cpumask_empty(targets))
		return false;
	// Flush here first: as soon as the record is posted, it may be completed.
	flags = irq_save();
	tlb_flush_here(f);
	irq_restore(flags);
	if (!post(g, targets)) {
		count(lazy_refused);
		return false;
	}
	count(lazy_deferred);
	STALL(lazy_posted, f->space, f->start, f->level);	// posted; no CPU has been told to sweep
	for_each_cpu_in(cpu, targets)
		flush_ask_sweep(cpu);	// A
	return true;
}

static const struct flush_backend deferred_backend = {
	.name = "lazy",
	.proves_irqs_off_walks_ended = true,
	.reports = true,
	.flush = flush_by_ipi,
	.defer = deferred_defer,
	.init = deferred_init,
	.sweep = deferred_sweep,
	.idle = tlb_leave_lazy,
	.settle = deferred_settle,
	.wait = deferred_wait,
	.hurry = deferred_hurry,
	.drain = deferred_drain,
};
REGISTER(backends, deferred_backend);
