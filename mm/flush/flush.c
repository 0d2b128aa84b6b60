// SPDX-License-Identifier: MIT
// The registry of back-ends, the command-line key that chooses one, and the core's wrappers.
//
// A sweep, for whichever back-end:
//
//	poster                                      CPU c, IRQs off
//	------                                      ---------------
//	posts (its back-end's own order)            due[c] set? xchg(due[c], 0)     (full barrier)
//	xchg(due[c], 1)    (full barrier) <-A->     each back-end's sweep()
//
// A: if the CPU finds the mark, its sweep sees what was posted before the mark was set. If it does not, the mark stays
// for the next sweep. So one mark serves all back-ends.
#include "mm/flush/flush.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/tlb.h"

DEFINE_PER_CPU(struct flush_due, flush_due);
static const struct flush_backend *chosen;	// a new space's; NULL: the built-in default
static bool named;
static struct waitq deferred_ends = WAITQ_INIT(deferred_ends);
#if CHECK
bool (*flush_hypercall_hook)(const struct flush *f, const struct cpumask *targets);
#endif

const struct flush_backend *flush_find(const char *name)
{
	FOR_EACH_BACKEND(it)
		if (!strcmp((*it)->name, name))
			return *it;
	return NULL;
}

const struct flush_backend *flush_default(void)
{
	const struct flush_backend *b = READ_ONCE(chosen);

	return b ? b : flush_find("ipi");
}

void flush_set_default(const struct flush_backend *b) { WRITE_ONCE(chosen, b); }
const char *flush_current_name(void) { return flush_default()->name; }
bool flush_named(void) { return named; }
const char *flush_missing(const struct flush_backend *b) { return b->missing ? b->missing() : NULL; }

static const char *set_tlb_flush(const char *value)
{
	const struct flush_backend *b = flush_find(value);

	if (!b)
		return "no such flush back-end";
	chosen = b;
	named = true;
	return NULL;
}

static void print_tlb_flush(void)
{
	FOR_EACH_BACKEND(it)
		log_error("  tlb_flush=%s", (*it)->name);
}
CMDLINE_KEY_LIST(tlb_flush, "how stale translations leave the other CPUs; default ipi",
		 set_tlb_flush, print_tlb_flush);

// ---- Deferred flushes -----------------------------------------------------------------------------------------------

void flush_init(void)
{
	FOR_EACH_BACKEND(b)
		if ((*b)->init)
			(*b)->init();
}

void flush_ask_sweep(unsigned cpu) { xchg(&per_cpu(flush_due, cpu).asked, 1); }	// A

void flush_sweep_due(void)
{
	xchg(&this_cpu_ptr(&flush_due)->asked, 0);	// A
	FOR_EACH_BACKEND(b)
		if ((*b)->sweep)
			(*b)->sweep();
}

static void sweep_at_tick(void) { flush_sweep(); }
TICK_HANDLER(sweep_at_tick);

// If the space changes its back-end meanwhile, at worst one call is made in vain. (The space is loaded, so it has not
// been freed.)
static void about_to_idle(void)
{
	const struct space *s = this_cpu_read(cpu_tlb.loaded);
	void (*idle)(void) = s ? READ_ONCE(s->backend)->idle : NULL;

	if (idle)
		idle();
	flush_sweep();
}
IDLE_HANDLER(about_to_idle);

// Ask each back-end: a flush may have been deferred by one that the space no longer has.
void flush_settle_deferred(struct space *s, vaddr_t start, vaddr_t end)
{
	FOR_EACH_BACKEND(b)
		if ((*b)->settle)
			(*b)->settle(s, start, end);
}

void flush_hurry(void)
{
	FOR_EACH_BACKEND(b)
		if ((*b)->hurry)
			(*b)->hurry();
}

void flush_deferred_begin(struct space *s) { fetch_add(&s->deferred, 1); }

void flush_deferred_end(struct space *s)
{
	fetch_sub(&s->deferred, 1);	// flush_wait() may return now: the space is not touched from here on
	waitq_wake_all(&deferred_ends);
}

void flush_wait(struct space *s)
{
	// Pairs with flush_deferred_end(): the space is freed after its last touch there.
	if (!load_acquire(&s->deferred))
		return;
	FOR_EACH_BACKEND(b)
		if ((*b)->wait)
			(*b)->wait(s);
	wait_event(&deferred_ends, !load_acquire(&s->deferred));
}

void flush_drain(void)
{
	FOR_EACH_BACKEND(b)
		if ((*b)->drain)
			(*b)->drain();
}
