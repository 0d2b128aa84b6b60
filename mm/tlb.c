// SPDX-License-Identifier: MIT
// Which CPU has which space loaded, and the shootdown. The ordering argument stands in tlb.h.
#include "mm/tlb.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "kernel/xcall.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/proof.h"
#include "lab/stall.h"
#include "lab/trace.h"
#include "mm/gather.h"
#include "mm/inval.h"
#include <arch/tlb.h>

DEFINE_PER_CPU(struct cpu_tlb, cpu_tlb);

static void tlb_leave(struct cpu_tlb *t)
{
	struct space *old = t->loaded;

	if (!old)
		return;
	inval_load_root(arch_kernel_root());
	t->loaded = NULL;
	// Only now may unmappers forget this CPU: its TLB holds nothing of `old` any more.
	cpumask_clear_atomic(&old->cpus, cpu_id());
}

static void tlb_join(struct cpu_tlb *t, struct space *s)
{
	struct space *old = t->loaded;
	SWMMU_OWING(SWMMU_OWES_LEAVES);

	// Clear `lazy` before the bit is set: an unmapper that sees the bit together with a `lazy` left over from the
	// old space would skip this CPU.
	WRITE_ONCE(t->lazy, 0);
	if (!MUTANT(tlb_bit_last))	// the bit is set only after the generation was read and the root loaded
		cpumask_set_atomic(&s->cpus, cpu_id());	// full barrier: pairs with fetch_add(gen) in flush_begin() (A)
	STALL(tlb_joined, s, 0, 0);	// bit set in space->cpus, generation not yet read
	t->gen = READ_ONCE(s->gen);
	inval_load_root(s->root_pa);
	STALL(tlb_loaded, s, 0, 0);	// root loaded: from here on the TLB may hold something of the space
	t->loaded = s;
	if (MUTANT(tlb_bit_last))
		cpumask_set_atomic(&s->cpus, cpu_id());
	if (old)
		cpumask_clear_atomic(&old->cpus, cpu_id());	// after the load: see tlb_leave
	swmmu_joined(s);
}

// Back from lazy use: catch up with what the unmappers did not tell us.
static void tlb_unlazy(struct cpu_tlb *t)
{
	SWMMU_OWING(SWMMU_OWES_LEAVES);
	u64 gen;

	STALL(tlb_unlazying, t->loaded, 0, 0);	// back from lazy use, and unmappers do not know it yet
	WRITE_ONCE(t->lazy, 0);
	smp_mb();	// pairs with fetch_add(gen) in flush_begin(): it sees lazy == 0, or we see its generation
	gen = READ_ONCE(t->loaded->gen);
	if (MUTANT(tlb_no_catch_up))	// no catching up after lazy use
		gen = t->gen;
	if (gen != t->gen) {
		count(flush_full);
		inval_user();
		t->gen = gen;
	}
}

void tlb_follow(struct thread *next)
{
	struct cpu_tlb *t = this_cpu_ptr(&cpu_tlb);
	struct space *s = next->space;

	flush_sweep();
	if (!s) {
		if (t->loaded && !t->lazy)
			// Release: this CPU's accesses to user memory come before; pairs with flush_targets(). No full
			// barrier is needed: being seen as not lazy only costs an IPI.
			store_release(&t->lazy, 1u);
	} else if (t->loaded != s) {
		tlb_join(t, s);
		swmmu_speculate_rarely();
	} else if (t->lazy) {
		tlb_unlazy(t);
		swmmu_speculate_rarely();
	}
}

static __always_inline void flush_range_here(const struct flush *f)
{
	u64 step = level_size(f->level);
	bool above = f->freed_tables;

	if (MUTANT(flush_leaf_only))	// upper entries stay cached, though tables are freed (arm64, 2018)
		above = false;
	for (vaddr_t va = f->start; va < f->end; va += step)
		inval_page(va, above);
}

static __always_inline void flush_own(const struct flush *f)
{
	struct cpu_tlb *t = this_cpu_ptr(&cpu_tlb);
	u64 gen;

	if (t->loaded != f->space)
		return;			// left the space meanwhile, which flushed everything
	if (t->lazy) {
		if (f->freed_tables)
			tlb_leave(t);	// the CPU may walk speculatively through tables that are about to be freed
		return;			// otherwise tlb_unlazy() will catch up
	}
	if (t->gen >= f->gen && !f->freed_tables) {
		count(flush_stale_skipped);
		return;
	}
	count(flush_local);
	if (!f->full && t->gen + 1 == f->gen) {
		flush_range_here(f);
		t->gen = f->gen;
		swmmu_speculate_rarely();
		return;
	}
	gen = READ_ONCE(f->space->gen);	// before the flush, which may not cover later changes
	count(flush_full);
	inval_user();
	t->gen = gen;
}

void tlb_flush_here(const struct flush *f) { flush_own(f); }

void tlb_flush_all_here(void)
{
	struct cpu_tlb *t = this_cpu_ptr(&cpu_tlb);
	u64 gen;

	if (!t->loaded)
		return;
	if (t->lazy) {
		tlb_leave(t);
		return;
	}
	gen = READ_ONCE(t->loaded->gen);	// before the flush, which may not cover later changes
	count(flush_local);
	count(flush_full);
	inval_user();
	t->gen = gen;
}

void tlb_leave_lazy(void)
{
	struct cpu_tlb *t = this_cpu_ptr(&cpu_tlb);

	if (t->lazy)
		tlb_leave(t);
}

// Where no table is freed, the handler answers before it flushes. The CPU that flushes goes on and may free the pages,
// because this CPU touches no user memory before it has flushed, neither here nor in an NMI. The space cannot be freed
// meanwhile: if this CPU has it loaded, tlb_evict() must call here first; otherwise nothing of it is touched. Where
// tables are freed, the answer comes after the flush: this CPU may walk them speculatively at any time.
void __hot tlb_flush_handler(void *flush)
{
	struct flush f = *(const struct flush *)flush;
	bool early = !f.freed_tables;

	if (MUTANT(flush_answers_early))	// answered before the flush, though tables are freed
		early = true;
	if (!early) {
		flush_own(&f);
		return;
	}
	SWMMU_OWING(SWMMU_OWES_LEAVES);
	xcall_answer();
	STALL(flush_answered, f.space, f.start, f.level);	// answered, but nothing is flushed here yet
	flush_own(&f);
}

// Is this CPU alone in the masks that matter? It usually is, and one look tells. Acquire: as in flush_targets().
static __always_inline bool nobody_else(const struct space *s, unsigned self, bool walkers)
{
	u64 others = 0;

	for (unsigned i = 0; i * 64 < nr_cpus; i++) {
		u64 word = load_acquire(&s->cpus.w[i]) | (walkers ? load_acquire(&s->walkers.w[i]) : 0);

		others |= i == self / 64 ? word & ~(1ull << self % 64) : word;
	}
	return !others;
}

// The CPUs that must flush: all that have the space loaded, the lazy ones among them only when tables are freed (a lazy
// CPU touches no user address, and catches up before it does; but it may walk speculatively). When tables are freed,
// also the walkers that rely on being a target.
static __always_inline void flush_targets(struct flush *f, struct cpumask *targets)
{
	struct space *s = f->space;
	unsigned self = cpu_id(), loaded;
	bool skips_lazy = !f->freed_tables;

	f->walkers = 0;
	f->alone = nobody_else(s, self, f->freed_tables);
	if (likely(f->alone))
		return;
	cpumask_zero(targets);
	// Acquire. If a bit is set, its CPU has cleared `lazy` before; pairs with tlb_join(). If it is clear, its CPU's
	// reads of the space, made while it had it loaded, are done; pairs with tlb_leave() and tlb_join().
	cpumask_or_acquire(targets, &s->cpus);
	cpumask_clear(targets, self);
	if (MUTANT(flush_skips_lazy))	// lazy CPUs are left out, though tables are freed (Linux, 2018)
		skips_lazy = true;
	if (skips_lazy) {
		for_each_cpu_in(cpu, targets) {
			// Acquire: what a lazy CPU has touched comes before the freeing; pairs with tlb_follow().
			if (load_acquire(&per_cpu(cpu_tlb, cpu).lazy)) {
				cpumask_clear(targets, cpu);
				count(flush_lazy_skipped);
			}
		}
	}
	f->loaded = loaded = cpumask_weight(targets);
	if (f->freed_tables) {
		// If a bit is clear, that walk's reads are done. Pairs with the policy's exit.
		cpumask_or_acquire(targets, &s->walkers);
		cpumask_clear(targets, self);
		f->walkers = cpumask_weight(targets) - loaded;
	}
	STALL(flush_masks_read, s, f->start, f->level);	// the targets are known, and none has been told
}

static __always_inline void flush_here(const struct flush *f)
{
	irqflags_t flags = irq_save();

	flush_own(f);
	irq_restore(flags);
}

// False: no other CPU was asked to flush. Otherwise `proved` holds the CPUs that the back-end reports.
static __always_inline bool flush_at_once(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	if (likely(f->alone)) {
		flush_here(f);
		return false;
	}
	count_add(ipi_flush, f->loaded);
	count_add(ipi_walker, f->walkers);
	cpumask_zero(proved);
	proof_begin();
	f->space->backend->flush(f, targets, proved);
	proof_end(f, proved);
	if (MUTANT(flush_claims_targets))	// whoever was a target is taken to have taken a call
		cpumask_or(proved, targets);
	return true;
}

// Preemption off.
static __always_inline void flush_begin(struct flush *f, struct cpumask *targets)
{
	trace(EV_FLUSH_BEGIN, f->start);
	// Full barrier between the change of the entries and the reading of the masks: pairs with tlb_join(),
	// tlb_unlazy() and, for walkers' masks, the policy's enter.
	f->gen = fetch_add(&f->space->gen, 1) + 1;
	STALL(flush_gen, f->space, f->start, f->level);	// generation incremented, mask not yet read
	flush_targets(f, targets);
}

void tlb_flush(struct space *s, vaddr_t start, vaddr_t end, int level, bool freed_tables)
{
	struct cpumask targets, proved;
	struct flush f;

	flush_make(&f, s, start, end, level, freed_tables);
	ASSERT(irqs_enabled());
	preempt_disable();
	flush_begin(&f, &targets);
	flush_at_once(&f, &targets, &proved);
	trace(EV_FLUSH_END, 0);
	preempt_enable();
}

bool __hot tlb_flush_gathered(struct gather *g)
{
	const struct flush_backend *b = g->space->backend;
	struct flush f;
	struct cpumask targets;
	bool deferred;

	flush_make(&f, g->space, g->start, g->end, g->level, g->freed_tables);
	ASSERT(irqs_enabled());
	preempt_disable();
	flush_begin(&f, &targets);
	deferred = g->may_defer && b->defer && !f.alone && b->defer(g, &f, &targets);
	if (!deferred && flush_at_once(&f, &targets, &g->taken.proved))
		g->taken.proves = true;
	trace(EV_FLUSH_END, deferred);
	preempt_enable();
	return deferred;
}

static void evict_here(void *space)
{
	struct cpu_tlb *t = this_cpu_ptr(&cpu_tlb);

	if (t->loaded == space)
		tlb_leave(t);
}

void tlb_evict(struct space *s)
{
	struct cpumask cpus = { 0 };

	// Acquire: a CPU that has left by itself made its last use of the root, and of s, before they are freed. Pairs
	// with tlb_leave().
	cpumask_or_acquire(&cpus, &s->cpus);
	if (!cpumask_empty(&cpus))
		xcall_mask(&cpus, evict_here, s);
	ASSERT(cpumask_empty(&s->cpus));
}
