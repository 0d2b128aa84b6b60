// SPDX-License-Identifier: MIT
// tlb_flush=lazy: what other CPUs may see until they sweep, who waits for whom, and what cannot wait. A CPU that is held
// with interrupts off neither ticks nor switches: it has not swept before it is let go.
#include "kernel/time.h"
#include "lab/inject.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/flush/lazy.h"
#include "mm/pending.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK
MUTANT_DECLARE(lazy_no_settle);
MUTANT_DECLARE(lazy_late_generation);
STALL_DECLARE(lazy_finishing);
STALL_DECLARE(lazy_flushed);

enum { OLD = 0x1111, NEW = 0x2222 };

static const struct flush_backend *lazy_flush(void) { return flush_find("lazy"); }

// How often somebody has begun to wait for other CPUs' flushes.
static u64 counted_waits(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.lazy_settled + c.ipi_flush;
}

// A thread of another CPU runs in the space and keeps interrupts off from its first read of the page until it is told to
// go on, or somebody waits for its CPU to flush. It reads once more then, and once more when it has swept.
struct reader {
	struct space *s;
	vaddr_t va;
	u32 there, go;
	u32 no_sweep;			// none will come: nothing is put off
	u32 done;			// what the test does meanwhile has returned
	bool held_reads, held_again;	// could BASE be read: at first, and just before interrupts go on
	bool done_before;		// … was the other done when it was read again
	u64 held_value;
	bool after_reads;		// … after a sweep
};

static int read_with_interrupts_off(void *arg)
{
	u64 v, sweeps, waits = counted_waits();
	struct reader *r = arg;
	irqflags_t flags;

	space_attach(r->s);
	flags = irq_save();
	r->held_reads = !arch_user_read64_nofault(r->va, &v) && v == OLD;
	store_release(&r->there, 1u);
	spin_until(load_acquire(&r->go) || counted_waits() != waits, "the unmapper", -1);
	r->done_before = load_acquire(&r->done);
	r->held_again = !arch_user_read64_nofault(r->va, &r->held_value);
	sweeps = mm_counted_here(lazy_sweeps);
	irq_restore(flags);
	spin_until(READ_ONCE(r->no_sweep) || mm_counted_here(lazy_sweeps) != sweeps, "the own sweep", -1);
	r->after_reads = !arch_user_read64_nofault(r->va, &v) && v == OLD;
	space_detach();
	return 0;
}

// Each round takes another address: a TLB with few sets may not keep the entry.
#define ROUNDS 16
static struct thread *begin(struct reader *r, const char *policy, unsigned round)
{
	struct space *s = space_create_with(policy_find(policy), lazy_flush());
	struct thread *t;

	*r = (struct reader){ .s = s, .va = BASE + 7 * round * PAGE_SIZE };
	if (!EXPECT(s))
		return NULL;
	EXPECT_EQ(space_map(s, r->va, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(s);
	EXPECT_EQ(arch_user_write64(r->va, OLD), 0);
	space_detach();
	t = mm_thread("reader", read_with_interrupts_off, r, mm_other_cpu(0));
	if (t)
		spin_until(load_acquire(&r->there), "reader", -1);
	return t;
}

// The old page for as long as the CPU has not swept, and never another's: the frame and the tables are held. And nobody
// was interrupted for it.
static bool old_page_seen(unsigned round)
{
	struct counters before, after;
	struct page *table;
	struct reader r;
	struct thread *t = begin(&r, "rcu", round);

	if (!t)
		return false;
	table = mm_table(r.s, r.va, 1);
	counters_snapshot(&before);
	EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
	counters_snapshot(&after);
	EXPECT_EQ(after.lazy_deferred - before.lazy_deferred, 1);
	EXPECT_EQ(after.ipi_flush - before.ipi_flush, 0);
	EXPECT_EQ(deferred_held(), PT_LEVELS);		// one frame and the tables below the root
	EXPECT_EQ(mm_state(table), TABLE_UNLINKED);
	store_release(&r.go, 1u);
	mm_join(t);
	EXPECT(r.held_reads && !r.after_reads);
	if (r.held_again)
		EXPECT_EQ(r.held_value, OLD);
	lazy_flush()->drain();
	EXPECT_EQ(deferred_held(), 0);
	space_put(r.s);
	return r.held_again;
}

TEST(flush_lazy, old_page_until_the_sweep, NEEDS_CPUS2)
{
	struct mm_balance b;
	bool seen = false;

	mm_balance_begin(&b);
	for (unsigned i = 0; i < ROUNDS && !seen && !test_failed(); i++)
		seen = old_page_seen(i);
	EXPECT(seen);
	mm_balance_end(&b);
}

static void map_anew(const struct reader *r)
{
	EXPECT_EQ(space_map(r->s, r->va, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(r->s);
	EXPECT_EQ(arch_user_write64(r->va, NEW), 0);
	space_detach();
}

static void map_only(const struct reader *r) { EXPECT_EQ(space_map(r->s, r->va, PAGE_SIZE, RW, 1, 0), 0); }

static void map_neighbour(const struct reader *r)
{
	EXPECT_EQ(space_map(r->s, r->va + PAGE_SIZE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
}

static void fault_beside(const struct reader *r) { EXPECT_EQ(space_fault(r->s, r->va + 2 * PAGE_SIZE, true), 0); }

static void move_there(const struct reader *r)
{
	vaddr_t far = BASE - level_size(4);	// under tables of its own, which nothing waits for

	EXPECT_EQ(space_map(r->s, far, level_size(2), RW, 1, 0), 0);
	EXPECT_EQ(space_move(r->s, far, ALIGN_DOWN(r->va, level_size(2)), level_size(2)), 0);
}

static void discard_it(const struct reader *r) { EXPECT_EQ(space_discard(r->s, r->va, PAGE_SIZE), 0); }
static void unmap_again(const struct reader *r) { EXPECT_EQ(space_unmap_sync(r->s, r->va, PAGE_SIZE), 0); }

// Unmap, then something that must not leave the old page in reach. Was it, when that had returned? `beside`: a page is
// reserved there from the start, and nothing is at it.
static bool reachable_after(void (*what)(const struct reader *), bool beside, unsigned round)
{
	struct thread *t;
	struct reader r;

	t = begin(&r, "rcu", round);
	if (!t)
		return false;
	if (beside)
		EXPECT_EQ(space_map(r.s, r.va + 2 * PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
	what(&r);
	store_release(&r.done, 1u);
	store_release(&r.go, 1u);
	mm_join(t);
	EXPECT(r.held_reads);
	space_put(r.s);
	return r.done_before && r.held_again && r.held_value == OLD;
}

static void needs_settling(void (*what)(const struct reader *), bool beside)
{
	bool reached = false;

	for (unsigned i = 0; i < 2; i++)
		EXPECT(!reachable_after(what, beside, i));
	mutant_set(lazy_no_settle, 1);
	for (unsigned i = 0; i < ROUNDS && !reached && !test_failed(); i++)
		reached = reachable_after(what, beside, i);
	mutant_set(lazy_no_settle, 0);
	EXPECT(reached);
}

// Something new at the same address: the old page would be seen through the new mapping.
TEST(flush_lazy, same_address_settles_first, NEEDS_CPUS2) { needs_settling(map_anew, false); }
// Also if it is only reserved: the first touch must fault and find zeroes.
TEST(flush_lazy, reserving_settles_first, NEEDS_CPUS2) { needs_settling(map_only, false); }
TEST(flush_lazy, moving_there_settles_first, NEEDS_CPUS2) { needs_settling(move_there, false); }
// Another page under the table that waits: a CPU that still has the old table cached would not find it.
TEST(flush_lazy, under_a_waiting_table_settles_first, NEEDS_CPUS2) { needs_settling(map_neighbour, false); }

TEST(flush_lazy, touched_under_a_waiting_table_settles_first, NEEDS_CPUS2) { needs_settling(fault_beside, true); }

// An unmap that promises, finds nothing (another has cleared the entry and not flushed), and must flush all the same.
TEST(history, cleared_by_another_and_not_flushed, NEEDS_CPUS2) { needs_settling(unmap_again, false); }
TEST(flush_lazy, discard_settles_what_it_does_not_find, NEEDS_CPUS2) { needs_settling(discard_it, false); }

// Without memory for the record the flush is not put off: the unmap waits for the reader.
TEST(flush_lazy, no_memory_for_the_record, NEEDS_CPUS2)
{
	struct counters before, after;
	struct mm_balance b;
	struct reader r;
	struct thread *t;

	mm_balance_begin(&b);
	t = begin(&r, "ipi", 0);
	REQUIRE(t);
	WRITE_ONCE(r.no_sweep, 1);
	counters_snapshot(&before);
	inject_alloc_failure(1);
	EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
	EXPECT(inject_fired());
	inject_alloc_failure(0);
	store_release(&r.done, 1u);
	counters_snapshot(&after);
	EXPECT_EQ(after.lazy_refused - before.lazy_refused, 1);
	EXPECT_EQ(after.lazy_deferred - before.lazy_deferred, 0);
	EXPECT_EQ(deferred_held(), 0);
	store_release(&r.go, 1u);
	mm_join(t);
	EXPECT(!r.done_before);
	space_put(r.s);
	mm_balance_end(&b);
}

// Nor when as much waits as may: here the tables stay, so the frame alone would need credit.
TEST(flush_lazy, no_credit_for_the_frames, NEEDS_CPUS2)
{
	struct counters before, after;
	struct mm_balance b;
	struct reader r;
	struct thread *t;
	u64 old;

	mm_balance_begin(&b);
	t = begin(&r, "ipi", 0);
	REQUIRE(t);
	WRITE_ONCE(r.no_sweep, 1);
	EXPECT_EQ(space_map(r.s, r.va + PAGE_SIZE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	lazy_flush()->drain();
	old = pending_set_max(64);
	EXPECT(pending_try(64));
	counters_snapshot(&before);
	EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
	counters_snapshot(&after);
	store_release(&r.done, 1u);
	EXPECT_EQ(after.lazy_refused - before.lazy_refused, 1);
	EXPECT_EQ(deferred_held(), 0);
	pending_put(64);
	pending_set_max(old);
	store_release(&r.go, 1u);
	mm_join(t);
	EXPECT(!r.done_before);
	space_put(r.s);
	mm_balance_end(&b);
}

// Completes what is complete, calls the others, waits. The kernel's own thread for that may have its place on the CPU that
// a test holds.
static int drainer(void *unused)
{
	lazy_flush()->drain();
	return 0;
}

// A CPU that sweeps may only claim what was posted before its flush: it caches a page after that flush, the page is
// unmapped, and the frame must wait for the next sweep.
struct late {
	struct space *s;
	vaddr_t va;		// two pages
	u32 there, first, flushed, second, swept, go;
	bool stale;
};

static bool reads_old(vaddr_t va)
{
	u64 v;

	return !arch_user_read64_nofault(va, &v) && v == OLD;
}

static void between_flush_and_claim(struct stall_point *p, void *arg)
{
	struct late *l = arg;

	reads_old(l->va + PAGE_SIZE);
	store_release(&l->flushed, 1u);
	spin_until(load_acquire(&l->second), "the second unmap", -1);
}

static int sweep_in_between(void *arg)
{
	struct late *l = arg;
	irqflags_t flags;

	space_attach(l->s);
	flags = irq_save();
	store_release(&l->there, 1u);
	spin_until(load_acquire(&l->first), "the first unmap", -1);
	flush_sweep();
	store_release(&l->swept, 1u);
	spin_until(load_acquire(&l->go), "the test", -1);
	l->stale = reads_old(l->va + PAGE_SIZE);
	irq_restore(flags);
	space_detach();
	return 0;
}

// Is the second page freed while it can be read?
static bool drained_or_asleep(const struct thread *drainer)
{
	return !deferred_held() || READ_ONCE(drainer->state) == THREAD_SLEEPING;
}

static bool freed_under_a_reader(unsigned round, bool intact)
{
	struct late l = { .s = space_create_with(policy_find("rcu"), lazy_flush()), .va = BASE + 7 * round * PAGE_SIZE };
	struct thread *t, *d;
	bool freed;

	if (!EXPECT(l.s))
		return false;
	EXPECT_EQ(space_map(l.s, l.va, 2 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(l.s);
	EXPECT_EQ(arch_user_write64(l.va + PAGE_SIZE, OLD), 0);
	space_detach();
	t = mm_thread("sweeper", sweep_in_between, &l, mm_other_cpu(0));
	if (!t)
		return false;
	spin_until(load_acquire(&l.there), "sweeper", -1);
	stall_lazy_flushed.action = between_flush_and_claim;
	stall_lazy_flushed.arg = &l;
	stall_lazy_flushed.cpu = (int)mm_other_cpu(0);
	stall_arm(&stall_lazy_flushed, NULL, 0, 0, 0);
	EXPECT_EQ(space_unmap(l.s, l.va, PAGE_SIZE), 0);
	store_release(&l.first, 1u);
	spin_until(load_acquire(&l.flushed), "the sweep", -1);
	EXPECT_EQ(space_unmap(l.s, l.va + PAGE_SIZE, PAGE_SIZE), 0);
	store_release(&l.second, 1u);
	spin_until(load_acquire(&l.swept), "the sweep", -1);
	d = mm_thread("drainer", drainer, NULL, cpu_id());
	// It sleeps only after it has called the CPU in vain and has completed what was complete.
	if (d)
		EXPECT(intact ? EVENTUALLY(drained_or_asleep(d)) : EVENTUALLY(!deferred_held()));
	freed = !deferred_held();
	store_release(&l.go, 1u);
	mm_join(t);
	mm_join(d);
	stall_release(&stall_lazy_flushed);
	space_put(l.s);
	return freed && l.stale;
}

TEST(flush_lazy, claims_what_came_before_the_flush, NEEDS_CPUS2)
{
	bool freed = false;

	for (unsigned i = 0; i < 2; i++)
		EXPECT(!freed_under_a_reader(i, true));
	oracle_expect_violations(true);	// the adversary's, at the frame
	mutant_set(lazy_late_generation, 1);
	for (unsigned i = 0; i < ROUNDS && !freed && !test_failed(); i++)
		freed = freed_under_a_reader(i, false);
	mutant_set(lazy_late_generation, 0);
	oracle_expect_violations(false);
	EXPECT(freed);
}

static u64 counted_calls(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.lazy_calls;
}

// A CPU that does not come by itself is called, and what waits for it goes on.
TEST(flush_lazy, holdout_is_called, NEEDS_CPUS2)
{
	u64 calls = counted_calls();
	struct reader r;
	struct thread *t = begin(&r, "rcu", 0), *d;

	REQUIRE(t);
	EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
	d = mm_thread("drainer", drainer, NULL, cpu_id());
	EXPECT(EVENTUALLY(counted_calls() != calls));
	EXPECT(deferred_held() > 0);
	store_release(&r.go, 1u);
	mm_join(t);
	mm_join(d);
	EXPECT_EQ(deferred_held(), 0);
	space_put(r.s);
}

// Somebody is about to give away what a record holds.
struct finishing {
	struct completion go;
	u32 there, drained, put;
};

static void finish_slowly(struct stall_point *p, void *arg)
{
	struct finishing *f = arg;

	store_release(&f->there, 1u);
	wait_for_completion(&f->go);	// asleep: it may be a thread of high priority, on the test's own CPU
}

static struct space *leaving;

static int drain_and_say(void *arg)
{
	lazy_flush()->drain();
	WRITE_ONCE(((struct finishing *)arg)->drained, 1);
	return 0;
}

static int put_and_say(void *arg)
{
	space_put(leaving);
	WRITE_ONCE(((struct finishing *)arg)->put, 1);
	return 0;
}

// When it has been said by a drain that nothing waits any more nothing does, whoever is at it. Nor does a space go before what
// still names it.
TEST(flush_lazy, what_another_finishes_is_waited_for, NEEDS_CPUS2)
{
	struct finishing f = { .there = 0 };
	struct thread *t, *draining, *putting;
	struct mm_balance b;
	struct page *table;
	struct reader r;

	mm_balance_begin(&b);
	t = begin(&r, "ipi", 0);
	REQUIRE(t);
	table = mm_table(r.s, r.va, 1);
	completion_init(&f.go);
	EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
	stall_lazy_finishing.action = finish_slowly;
	stall_lazy_finishing.arg = &f;
	stall_arm(&stall_lazy_finishing, r.s, 0, 0, 0);
	store_release(&r.go, 1u);
	mm_join(t);
	draining = mm_thread("finisher", drainer, NULL, cpu_id());
	EXPECT(EVENTUALLY(READ_ONCE(f.there)));
	leaving = r.s;
	t = mm_thread("drainer", drain_and_say, &f, cpu_id());
	putting = mm_thread("last user", put_and_say, &f, cpu_id());
	REQUIRE(t && putting && draining);
	EXPECT(EVENTUALLY(READ_ONCE(f.drained) || READ_ONCE(t->state) == THREAD_SLEEPING));
	EXPECT(EVENTUALLY(READ_ONCE(f.put) || READ_ONCE(putting->state) == THREAD_SLEEPING));
	EXPECT(!f.drained && !f.put);
	EXPECT_EQ(mm_state(table), TABLE_UNLINKED);
	complete_all(&f.go);
	mm_join(t);
	mm_join(putting);
	mm_join(draining);
	stall_release(&stall_lazy_finishing);
	EXPECT_EQ(mm_state(table), TABLE_FREE);
	mm_balance_end(&b);
}

// What waits when the space goes holds nobody up, and nothing is lost.
TEST(flush_lazy, exit_with_flushes_waiting, NEEDS_CPUS2)
{
	struct mm_balance b;
	struct reader r;
	struct thread *t;

	mm_balance_begin(&b);
	FOR_EACH_POLICY(p) {
		t = begin(&r, (*p)->name, 0);
		REQUIRE(t);
		EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
		store_release(&r.go, 1u);
		space_put(r.s);		// the reader's is the last count, or this is
		mm_join(t);
	}
	mm_balance_end(&b);
}
#endif
