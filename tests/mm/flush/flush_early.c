// SPDX-License-Identifier: MIT
// Early answers to a shootdown (mm/tlb.c): a CPU that answers before it has flushed lets the flushing CPU go on, and
// free the pages. Allowed for leaves: the CPU touches no user memory before it has flushed. Not allowed when tables are
// freed: the CPU may walk them speculatively at any time.
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/swmmu.h"
#include "lab/test.h"
#include "mm/space.h"
#include "tests/mm/help.h"

#if CHECK

struct scene {
	struct mm_resident r;
	u32 unmapped, lingered;
};

// The answer is given, the flush is yet to come: the unmap returns nevertheless.
static void linger(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	spin_until(load_acquire(&sc->unmapped), "the unmap", -1);
	WRITE_ONCE(sc->lingered, 1u);
}

// Unmap one of `pages` pages, which another CPU has cached down to the leaf. Returns the number of violations.
static u64 play(struct scene *sc, u64 pages)
{
	unsigned other = mm_other_cpu(0);
	u64 violations = swmmu_violations();
	struct thread *t;

	*sc = (struct scene){ .r.s = space_create_with(policy_find("ipi"), flush_find("ipi")) };
	if (!EXPECT(sc->r.s) || !EXPECT_EQ(space_map(sc->r.s, BASE, pages * PAGE_SIZE, RW, 1, MAP_POPULATE), 0) ||
	    !(t = mm_thread("resident", mm_reside, &sc->r, other)))
		return 0;
	spin_until(load_acquire(&sc->r.there), "resident", -1);
	EXPECT(swmmu_prime(other, BASE));
	stall_point("flush_answered")->action = linger;
	stall_point("flush_answered")->arg = sc;
	stall_arm(stall_point("flush_answered"), sc->r.s, 0, 0, 0);
	EXPECT_EQ(space_unmap(sc->r.s, BASE, PAGE_SIZE), 0);
	violations = swmmu_violations() - violations;
	store_release(&sc->unmapped, 1u);
	store_release(&sc->r.go, 1u);
	mm_join(t);			// out of the handler, so that it has flushed
	stall_release(stall_point("flush_answered"));
	EXPECT(!swmmu_has_leaf(other, BASE));
	space_put(sc->r.s);
	return violations;
}

TEST(flush_early, pages_are_freed_before_the_flush, NEEDS_CPUS2)
{
	struct scene sc;
	struct mm_balance b;

	swmmu_quiet(true);
	mm_balance_begin(&b);
	EXPECT_EQ(play(&sc, 2), 0);	// the tables stay
	EXPECT_EQ(sc.lingered, 1);	// the unmap returned meanwhile
	mm_balance_end(&b);
	swmmu_quiet(false);
}

TEST(flush_early, tables_are_not, NEEDS_CPUS2)
{
	struct scene sc;
	struct mm_balance b;

	swmmu_quiet(true);
	mm_balance_begin(&b);
	EXPECT_EQ(play(&sc, 1), 0);
	EXPECT_EQ(sc.lingered, 0);
	mm_balance_end(&b);
	oracle_expect_violations(true);
	mutant_set(flush_answers_early, 1);
	EXPECT(play(&sc, 1) > 0);
	EXPECT_EQ(sc.lingered, 1);
	mutant_set(flush_answers_early, 0);
	oracle_expect_violations(false);
	swmmu_quiet(false);
}
#endif
