// SPDX-License-Identifier: MIT
// A walk of a space that the walker's CPU has not loaded, while another CPU runs in it. The flush goes to that CPU in
// any case. It must go to the walker, too, or the CPU that frees must wait for the walker by other means.
#include "lab/test.h"
#include "mm/space.h"
#include "mm/table.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK
struct scene {
	struct walk_job job;
	struct mm_resident resident;
	struct page *upper;		// the table of level 2, which the walker is in: hazard pointers name it, too
	u32 there, returned;
	u32 too_early;			// how often it was quiesced or free while the walker was held
};

// Without the waits for CPUs that have the space loaded, because here there is one.
static u64 walkers_awaited(void)
{
	u64 n = policy_waits();

	for_each_cpu(cpu)
		n += READ_ONCE(per_cpu(counters, cpu).ipi_walker);
	return n;
}

// Holds the walker until the unmapper waits for walkers, or has returned; and then for a while.
static void hold(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;
	u64 awaited = walkers_awaited();

	store_release(&sc->there, 1u);
	spin_until(walkers_awaited() != awaited || load_acquire(&sc->returned), "the unmap", -1);
	WHILE_OTHERS_RUN(2) {
		enum table_state state = mm_state(sc->upper);

		sc->too_early += state == TABLE_QUIESCED || state == TABLE_FREE;
	}
}

static void unmap_beside_a_resident(const struct table_policy *p)
{
	struct scene sc = { .job = { .s = space_create_with(p, flush_find("ipi")), .va = BASE } };
	struct thread *resident, *walker;

	REQUIRE(sc.job.s);
	EXPECT_EQ(space_map(sc.job.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	sc.upper = mm_table(sc.job.s, BASE, 2);
	sc.resident.s = sc.job.s;
	resident = mm_thread("resident", mm_reside, &sc.resident, mm_other_cpu(1));
	REQUIRE(resident);
	spin_until(load_acquire(&sc.resident.there), "resident", -1);
	stall_point("walk_level")->action = hold;
	stall_point("walk_level")->arg = &sc;
	stall_arm(stall_point("walk_level"), sc.job.s, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_once, &sc.job, mm_other_cpu(0));
	REQUIRE(walker);
	spin_until(load_acquire(&sc.there), "walker", -1);
	EXPECT_EQ(space_unmap(sc.job.s, BASE, PAGE_SIZE), 0);
	store_release(&sc.returned, 1u);
	mm_join(walker);
	store_release(&sc.resident.go, 1u);
	mm_join(resident);
	EXPECT_EQ(stall_point("walk_level")->hits, 1);
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(sc.job.got, 0);
	EXPECT_EQ(sc.too_early, 0);
	mm_put_emptied(sc.job.s, sc.upper);
}

TEST(history, remote_walker_beside_a_resident, NEEDS_CPUS4)
{
	FOR_EACH_POLICY(p)
		if (pair_verdict(*p, flush_find("ipi")).safe)
			unmap_beside_a_resident(*p);
}
#endif
