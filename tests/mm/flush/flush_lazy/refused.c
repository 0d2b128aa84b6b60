// SPDX-License-Identifier: MIT
// tlb_flush=lazy: a flush that is not deferred, for lack of memory or of credits. The unmap waits for the reader.
#include "lab/inject.h"
#include "lab/test.h"
#include "mm/flush/lazy.h"
#include "mm/pending.h"
#include "tests/mm/flush/flush_lazy/reader.h"
#include "tests/mm/help.h"

#if CHECK
// Without memory for the record the flush is not deferred: the unmap waits for the reader.
TEST(flush_lazy, no_memory_for_the_record, NEEDS_CPUS2)
{
	struct counters before, after;
	struct mm_balance b;
	struct reader r;
	struct thread *t;

	mm_balance_begin(&b);
	t = reader_begin(&r, "ipi", 0);
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

// Nor is it deferred when no credits are left: here the tables stay, so only the frame needs a credit.
TEST(flush_lazy, no_credit_for_the_frames, NEEDS_CPUS2)
{
	struct counters before, after;
	struct mm_balance b;
	struct reader r;
	struct thread *t;
	u64 old;

	mm_balance_begin(&b);
	t = reader_begin(&r, "ipi", 0);
	REQUIRE(t);
	WRITE_ONCE(r.no_sweep, 1);
	EXPECT_EQ(space_map(r.s, r.va + PAGE_SIZE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	flush_find("lazy")->drain();
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
#endif
