// SPDX-License-Identifier: MIT
// The second axis: how stale translations leave the other CPUs. A back-end (struct flush_backend) is one file in this
// folder and registers itself there. The core calls it by the wrappers below and names none.
//
// Most back-ends have only `flush`: when it returns, every target has flushed. One that defers takes over what a gather
// has collected (`defer`) and fills in the operations behind it; they are NULL in the others:
//
//	defer ──> record, counted in space->deferred ──> each CPU sweeps ──> gathered_flushed() ──> space->deferred--
//	                                    hurry, settle, wait, drain: what cannot wait for that
#pragma once
#include "kernel/cpumask.h"
#include "kernel/preempt.h"
#include "mm/space.h"

struct gather;

struct flush {
	struct space *space;
	vaddr_t start, end;	// start >= end: no range; see `full`
	u64 gen;		// the generation that this flush makes
	u8 level;		// of the smallest leaf that was cleared: the stride is its size
	bool full;
	bool freed_tables;	// drop upper entries too, on lazy CPUs as well; no generation check spares a CPU
	bool alone;		// no other CPU is in a mask that matters, lazy or not: no targets, no back-end is called
	unsigned loaded, walkers;	// targets that have the space loaded, and targets that only walk it
};

#define TLB_RANGE_MAX 32	// more pages than this: full flush

// Fill in what to flush. Targets and generation are filled in when the flush begins (tlb.c).
static __always_inline void flush_make(struct flush *f, struct space *s, vaddr_t start, vaddr_t end, int level,
				       bool freed_tables)
{
	f->space = s;
	f->start = start;
	f->end = end;
	f->level = (u8)level;
	f->full = (end - start) >> level_shift(level) > TLB_RANGE_MAX;
	f->freed_tables = freed_tables;
}

struct flush_backend {
	const char *name;
	const char *(*missing)(void);	// why it cannot be used here; it can if this is NULL or returns NULL
	// Does its completion prove that every walk with interrupts off that ran before has ended, on every CPU it
	// targets?
	bool proves_irqs_off_walks_ended;
	bool reports;		// it may report CPUs as proved: see `flush`; for a deferred record, in gathered.proved
	bool spares_robbed;	// a preempted vCPU (kernel/steal.h) is not waited for
	bool unseen;		// a hypervisor does it: neither the software MMU nor a test sees it done
	// On return this CPU and all CPUs of `targets` have flushed, or flush before their next guest instruction. This
	// CPU is not in `targets`. Adds to `proved` the CPUs that have taken a maskable call since it was called, and no
	// others; checking builds look (lab/proof.h). Preemption off, IRQs on.
	void (*flush)(const struct flush *f, const struct cpumask *targets, struct cpumask *proved);

	// ---- For a back-end that defers; NULL in the others. Each record is completed without further calls, sooner or
	// later: wait, settle and hurry only make it sooner.
	// Take over g->taken, flush this CPU, have the targets sweep (flush_ask_sweep()), and call gathered_flushed()
	// when all have swept. False: not taken over, the caller flushes at once. Context as for `flush`; the space's
	// lock is held.
	bool (*defer)(struct gather *g, const struct flush *f, const struct cpumask *targets);
	void (*init)(void);	// once, at boot, when threads can be created
	// This CPU was asked to sweep, by this back-end or another: flush all that has been posted so far. IRQs off.
	void (*sweep)(void);
	// This CPU has a space of this back-end loaded and is about to idle without tick: see to it that nobody has to
	// wait for this CPU. IRQs off.
	void (*idle)(void);
	// On return no CPU reaches, by an address in [start, end), what was unmapped there before. Under the space's
	// lock; may wait for CPUs as `flush` does.
	void (*settle)(struct space *s, vaddr_t start, vaddr_t end);
	// Somebody waits until nothing of s is deferred: release what is complete. No CPU has s loaded any more. May
	// sleep
	void (*wait)(struct space *s);
	void (*hurry)(void);		// somebody waits for pages: call the CPUs that delay some. In a thread, IRQs on
	// Return when every flush that was posted before the call is completed. May sleep.
	void (*drain)(void);
};

#define FOR_EACH_BACKEND(it) FOR_EACH_REGISTERED(backends, const struct flush_backend, it)

// What a new space starts with: the command line's choice, until policy_switch_all() (switch.h) makes another.
const struct flush_backend *flush_default(void);
void flush_set_default(const struct flush_backend *b);		// for space.c, under its lock
const struct flush_backend *flush_find(const char *name);	// NULL: unknown
const char *flush_current_name(void);
bool flush_named(void);				// did the command line choose it?
const char *flush_missing(const struct flush_backend *b);	// NULL: usable here; otherwise the reason why not

// ---- For back-ends ----
// tlb_flush=ipi, for other back-ends, too: a call to each CPU of `targets`, each of which is proved by its answer.
void flush_by_ipi(const struct flush *f, const struct cpumask *targets, struct cpumask *proved);
// Ask that CPU to sweep: at its next tick, context switch or flush_sweep(). Its sweep sees what was posted before. Full
// barrier.
void flush_ask_sweep(unsigned cpu);
// begin: a record of s is posted. end: it is done, and s is not touched any more; any context but NMI, no spinlock of
// RANK_MUTEX or above held.
void flush_deferred_begin(struct space *s);
void flush_deferred_end(struct space *s);

// For tests, in checking builds: asked in place of a hypercall that flushes, if set, and answers as the hypervisor does.
// True: each target has flushed, or flushes before its next guest instruction. False: refused.
extern bool (*flush_hypercall_hook)(const struct flush *f, const struct cpumask *targets);

// ---- For the core: by wrappers, whatever the back-end ----
void flush_init(void);
// flush_sweep(): sweep, if one is due. On return this CPU's TLB holds nothing of what was posted before. IRQs off, and
// only where no walk with interrupts off can be under way: tick, context switch (and so idle exit), a thread's change of
// its own space, before idling, cross-CPU call.
struct flush_due {
	u32 asked;		// set by posters, cleared by its CPU
} __cacheline;
DECLARE_PER_CPU(struct flush_due, flush_due);
void flush_sweep_due(void);
static __always_inline void flush_sweep(void)
{
	if (unlikely(READ_ONCE(this_cpu_ptr(&flush_due)->asked)))
		flush_sweep_due();
}
// On return no CPU reaches, by an address in [start, end), what was unmapped there before: needed before anything new
// appears there. One read when nothing waits. Under the space's lock; may wait for CPUs as tlb_flush() does.
void flush_settle_deferred(struct space *s, vaddr_t start, vaddr_t end);
static __always_inline void flush_settle(struct space *s, vaddr_t start, vaddr_t end)
{
	if (unlikely(load_acquire(&s->deferred)))	// pairs with flush_deferred_end(): such a record is flushed
		flush_settle_deferred(s, start, end);
}
void flush_hurry(void);			// somebody waits for pages: complete deferred flushes soon. In a thread, IRQs on
void flush_wait(struct space *s);	// return when nothing of s waits for a flush. No CPU has s loaded. May sleep
// Return when everything is completed that any back-end has posted before the call. May sleep.
void flush_drain(void);
