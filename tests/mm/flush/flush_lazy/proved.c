// SPDX-License-Identifier: MIT
// tlb_flush=lazy: whom a record reports as proved: the CPUs whose sweep covers it, and none that has merely left.
#include "kernel/time.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/flush/flush.h"
#include "mm/space.h"
#include "tests/mm/help.h"
#include "tests/mm/told.h"

#if CHECK

// A thread on another CPU has swept, and then leaves the space while the record is posted, and nobody has been told to
// sweep. Its CPU finishes what is complete: there it is no longer waited for.
struct leaver {
	struct space *s, *other;
	u32 there, go, gone;
	u64 sweeps;		// since the first one
};

static void sweep_what_was_posted(void)
{
	irqflags_t flags = irq_save();

	flush_ask_sweep(cpu_id());
	flush_sweep();
	irq_restore(flags);
}

static int leave_unasked(void *arg)
{
	struct leaver *l = arg;

	space_attach(l->s);
	preempt_disable();
	sweep_what_was_posted();
	l->sweeps = mm_counted_here(lazy_sweeps);
	store_release(&l->there, 1u);
	spin_until(load_acquire(&l->go), "the record", -1);
	preempt_enable();
	space_detach();
	space_attach(l->other);		// so that the CPU does not keep the root
	l->sweeps = mm_counted_here(lazy_sweeps) - l->sweeps;
	flush_find("lazy")->wait(l->s);
	store_release(&l->gone, 1u);
	space_detach();
	return 0;
}

static void let_it_leave(struct stall_point *p, void *arg)
{
	struct leaver *l = arg;

	store_release(&l->go, 1u);
	spin_until(load_acquire(&l->gone), "the CPU that leaves", -1);
}

// `beside`: another CPU stays in the space, and sweeps when it is asked to.
static void leave_before_the_sweep(bool beside)
{
	struct leaver l = { .s = mm_populated(&mm_told_policy, flush_find("lazy"), PAGE_SIZE), .other = space_create() };
	struct mm_resident r = { .s = l.s };
	struct thread *leaver, *resident = NULL;
	u32 told = mm_told.times;

	REQUIRE(l.s && l.other);
	flush_drain();
	leaver = mm_thread("leaver", leave_unasked, &l, mm_other_cpu(0));
	REQUIRE(leaver);
	spin_until(load_acquire(&l.there), "the CPU that leaves", -1);
	if (beside && EXPECT(resident = mm_thread("resident", mm_reside, &r, mm_other_cpu(1))))
		spin_until(load_acquire(&r.there), "the resident", -1);
	stall_point("lazy_posted")->action = let_it_leave;
	stall_point("lazy_posted")->arg = &l;
	stall_arm(stall_point("lazy_posted"), l.s, 0, 0, 0);
	EXPECT_EQ(space_unmap(l.s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(stall_point("lazy_posted")->hits, 1);
	stall_release(stall_point("lazy_posted"));
	flush_drain();
	EXPECT_EQ(l.sweeps, 0);
	EXPECT(mm_told.times == told + 1 && mm_told.any);
	EXPECT(!cpumask_test(&mm_told.proved, mm_other_cpu(0)));
	EXPECT_EQ(cpumask_weight(&mm_told.proved), beside);
	if (beside)
		EXPECT(cpumask_test(&mm_told.proved, mm_other_cpu(1)));
	store_release(&r.go, 1u);
	mm_join(leaver);
	if (resident)
		mm_join(resident);
	space_put(l.other);
	space_put(l.s);
}

TEST(flush_lazy, who_has_merely_left_is_not_proved, NEEDS_CPUS2) { leave_before_the_sweep(false); }
TEST(flush_lazy, who_sweeps_is_proved_beside_one_that_has_left, NEEDS_CPUS4) { leave_before_the_sweep(true); }
#endif
