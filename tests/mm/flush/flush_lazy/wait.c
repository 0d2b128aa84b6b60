// SPDX-License-Identifier: MIT
// tlb_flush=lazy: who waits for whom. A drain waits for CPUs that do not sweep and for threads that finish records; the
// end of a space delays nobody.
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/flush/lazy.h"
#include "mm/table.h"
#include "tests/mm/flush/flush_lazy/reader.h"
#include "tests/mm/help.h"

#if CHECK

static u64 counted_calls(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.lazy_calls;
}

// A CPU that does not sweep by itself is called, and the record that waits for it is completed.
TEST(flush_lazy, holdout_is_called, NEEDS_CPUS2)
{
	u64 calls = counted_calls();
	struct reader r;
	struct thread *t = reader_begin(&r, "rcu", 0), *d;

	REQUIRE(t);
	EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
	d = mm_thread("drainer", deferred_drainer, NULL, cpu_id());
	EXPECT(EVENTUALLY(counted_calls() != calls));
	EXPECT(deferred_held() > 0);
	store_release(&r.go, 1u);
	mm_join(t);
	mm_join(d);
	EXPECT_EQ(deferred_held(), 0);
	space_put(r.s);
}

// A thread is about to finish a record.
struct finishing {
	struct completion go;
	u32 there, drained, put;
};

static void finish_slowly(struct stall_point *p, void *arg)
{
	struct finishing *f = arg;

	store_release(&f->there, 1u);
	// it sleeps, because it may be a thread of high priority on the test's own CPU
	wait_for_completion(&f->go);
}

static struct space *leaving;

static int drain_and_say(void *arg)
{
	flush_find("lazy")->drain();
	WRITE_ONCE(((struct finishing *)arg)->drained, 1);
	return 0;
}

static int put_and_say(void *arg)
{
	space_put(leaving);
	WRITE_ONCE(((struct finishing *)arg)->put, 1);
	return 0;
}

// A thread is held where it finishes a record. Has a drain returned meanwhile, or the end of the space that the record
// names?
static void drain_and_put_meanwhile(bool *drained, bool *put)
{
	struct finishing f = { .there = 0 };
	struct thread *t, *draining, *putting;
	struct page *table;
	struct reader r;

	t = reader_begin(&r, "ipi", 0);
	REQUIRE(t);
	table = mm_table(r.s, r.va, 1);
	completion_init(&f.go);
	EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
	stall_point("lazy_finishing")->action = finish_slowly;
	stall_point("lazy_finishing")->arg = &f;
	stall_arm(stall_point("lazy_finishing"), r.s, 0, 0, 0);
	store_release(&r.go, 1u);
	mm_join(t);
	draining = mm_thread("finisher", deferred_drainer, NULL, cpu_id());
	EXPECT(EVENTUALLY(READ_ONCE(f.there)));
	leaving = r.s;
	t = mm_thread("drainer", drain_and_say, &f, cpu_id());
	putting = mm_thread("last user", put_and_say, &f, cpu_id());
	REQUIRE(t && putting && draining);
	EXPECT(EVENTUALLY(READ_ONCE(f.drained) || READ_ONCE(t->state) == THREAD_SLEEPING));
	EXPECT(EVENTUALLY(READ_ONCE(f.put) || READ_ONCE(putting->state) == THREAD_SLEEPING));
	*drained = f.drained;
	*put = f.put;
	EXPECT_EQ(mm_state(table), TABLE_UNLINKED);
	complete_all(&f.go);
	mm_join(t);
	mm_join(putting);
	mm_join(draining);
	stall_release(stall_point("lazy_finishing"));
	EXPECT_EQ(mm_state(table), TABLE_FREE);
}

static unsigned damaged;

static void note_damage(const char *what, const void *object) { damaged++; }

// When a drain returns, nothing waits any more, whichever thread finishes it. And no space is freed before the records
// that name it: otherwise the record writes to a freed object, which the allocator finds when it is to be used again.
TEST(flush_lazy, what_another_finishes_is_waited_for, NEEDS_CPUS2)
{
	bool drained = true, put = true;
	struct mm_balance b;

	mm_balance_begin(&b);
	drain_and_put_meanwhile(&drained, &put);
	EXPECT(!drained && !put);
	mm_balance_end(&b);
	mutant_set(space_freed_early, 1);
	drain_and_put_meanwhile(&drained, &put);
	mutant_set(space_freed_early, 0);
	EXPECT(!drained && put);
	damaged = 0;
	WRITE_ONCE(alloc_error_hook, note_damage);
	EXPECT(!space_create());	// the damaged object, which stays out of use
	WRITE_ONCE(alloc_error_hook, NULL);
	EXPECT_EQ(damaged, 1);
}

// What waits when the space is freed delays nobody, and nothing is lost.
TEST(flush_lazy, exit_with_flushes_waiting, NEEDS_CPUS2)
{
	struct mm_balance b;
	struct reader r;
	struct thread *t;

	mm_balance_begin(&b);
	FOR_EACH_POLICY(p) {
		t = reader_begin(&r, (*p)->name, 0);
		REQUIRE(t);
		WRITE_ONCE(r.no_sweep, (*p)->begin != NULL);	// such a flush is done at once
		EXPECT_EQ(space_unmap(r.s, r.va, PAGE_SIZE), 0);
		store_release(&r.go, 1u);
		space_put(r.s);		// this is the last count, or the reader's is
		mm_join(t);
	}
	mm_balance_end(&b);
}
#endif
