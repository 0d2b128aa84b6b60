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
	vaddr_t start, end;	// start >= end: nothing by range; see full
	u64 gen;		// the generation that this flush makes
	u8 level;		// smallest leaf that went: the stride is its size
	bool full;
	bool freed_tables;	// upper entries must go too, on lazy CPUs as well, and no generation check spares a CPU
	bool alone;		// no other CPU is in a mask that counts, lazy or not: no targets, and no back-end is asked
	unsigned loaded, walkers;	// how many targets have the space loaded, and how many are asked only for a walk's sake
};

#define TLB_RANGE_MAX 32	// more pages than this: full flush

// What is to be flushed. For whom, and the generation, is filled in when it begins.
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
	const char *(*missing)(void);	// the reason why it cannot be used here; it, or what it returns, NULL: it can
	// Does its completion prove that every walk with interrupts off that ran before has ended, on every CPU it
	// targets?
	bool proves_irqs_off_walks_ended;
	bool spares_robbed;	// a CPU that is robbed of its processor (kernel/steal.h) is not waited for
	// All CPUs of `targets` have flushed, or flush before their next guest instruction; the own CPU flushes too.
	// Preemption off, IRQs on. The own CPU is not in `targets`.
	void (*flush)(const struct flush *f, const struct cpumask *targets);

	// ---- One that defers; NULL in the others. Each record is completed by itself, sooner or later: wait, settle and hurry
	// only see to it that it is soon.
	// Take over g->taken, flush the own CPU, have the targets sweep (flush_ask_sweep()), and go on by
	// gathered_flushed() when all have. False: not this time. As `flush`; the space's lock is held.
	bool (*defer)(struct gather *g, const struct flush *f, const struct cpumask *targets);
	void (*init)(void);	// once, at boot, when threads can be created
	// This CPU was asked to sweep, by this back-end or another: flush all that has been posted so far. IRQs off.
	void (*sweep)(void);
	// This CPU has a space of this back-end loaded and is about to idle without tick: let nobody wait for it. IRQs
	// off.
	void (*idle)(void);
	// No CPU reaches by an address in [start, end) what was unmapped there before. Under the space's lock; may wait
	// for CPUs as `flush` does.
	void (*settle)(struct space *s, vaddr_t start, vaddr_t end);
	// Somebody waits until nothing of s is deferred: complete what is complete. Its CPUs have left it. May sleep
	void (*wait)(struct space *s);
	void (*hurry)(void);		// somebody waits for pages: ask all that hold some up. Process context, IRQs on
	// Return when nothing waits for a flush that was posted before the call and not completed. May sleep.
	void (*drain)(void);
};

#define FOR_EACH_BACKEND(it) FOR_EACH_REGISTERED(backends, const struct flush_backend, it)

// What a new space starts with: the command line's choice, until policy_switch_all() (switch.h) makes another.
const struct flush_backend *flush_default(void);
void flush_set_default(const struct flush_backend *b);		// for space.c, under its lock
const struct flush_backend *flush_find(const char *name);	// NULL: unknown
const char *flush_current_name(void);
bool flush_named(void);				// did the command line choose it?
const char *flush_missing(const struct flush_backend *b);	// NULL: usable on this machine; else the reason why not

// ---- For back-ends ----
void flush_by_ipi(const struct flush *f, const struct cpumask *targets);	// tlb_flush=ipi, for other back-ends, too
// Ask that CPU to sweep: at its next tick, context switch or flush_sweep(). What was posted before is seen by its
// sweep. Full barrier.
void flush_ask_sweep(unsigned cpu);
// A record of s is posted; it is done, and s not touched any more. The latter: any context but NMI, no spinlock of
// RANK_MUTEX or above held.
void flush_deferred_begin(struct space *s);
void flush_deferred_end(struct space *s);

// ---- For the core: by wrappers, whatever the back-end ----
void flush_init(void);
// The sweep, if one is due: this CPU's TLB holds nothing any more of what was posted before. IRQs off; where no walk
// can be under way that keeps interrupts off: tick, context switch (and so idle exit), call.
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
// No CPU reaches by an address in [start, end) what was unmapped there before: needed before anything new appears there.
// One read when nothing waits. Under the space's lock; may wait for CPUs as tlb_flush() does.
void flush_settle_deferred(struct space *s, vaddr_t start, vaddr_t end);
static __always_inline void flush_settle(struct space *s, vaddr_t start, vaddr_t end)
{
	if (unlikely(load_acquire(&s->deferred)))	// pairs with the end of a record: what it flushed is flushed
		flush_settle_deferred(s, start, end);
}
void flush_hurry(void);			// somebody waits for pages. Process context, IRQs on
void flush_wait(struct space *s);	// until nothing of s waits for a flush. Its CPUs have left it. May sleep
// Until nothing waits that was posted before the call, whatever the back-end. May sleep.
void flush_drain(void);
