// SPDX-License-Identifier: MIT
// Xen's flush hypercall, and the CPUs that Xen preempts in the middle of a walk.
#include <arch/xen.h>
#include "kernel/preempt.h"
#include "kernel/steal.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/space.h"
#include "mm/table.h"
#include "tests/arch/nested/judge.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#define CONVICTIONS 5
#define HELD_WALKS 10
#define PATIENCE_NS (20 * NSEC_PER_SEC)	// for Xen to preempt the walker, and for each look at most:
#define SEEN_NS NSEC_PER_MSEC

static const char *xen_missing(void) { return arch_xen_missing() ? "needs Xen's flush hypercall" : NULL; }

static void expect_calls(struct counters c, u64 calls, u64 fallbacks)
{
	EXPECT_EQ(c.flush_xen_calls, calls);
	EXPECT_EQ(c.flush_xen_fallbacks, fallbacks);
}

TEST(nested, xen_calls_once_for_each_flush, NEEDS_CPUS2)
{
	if (xen_missing())
		SKIP(xen_missing());
	expect_calls(nested_one_of_each("xen"), 2, 0);
}

// Where no other CPU would have to flush, no other CPU is made to.
TEST(nested, xen_calls_for_others_only, 0)
{
	struct counters before, after;
	struct space *s;

	if (xen_missing())
		SKIP(xen_missing());
	s = mm_populated(policy_find("rcu"), flush_find("xen"), 4 * PAGE_SIZE);
	REQUIRE(s);
	space_attach(s);
	counters_snapshot(&before);
	EXPECT_EQ(space_protect(s, BASE, 4 * PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(space_unmap(s, BASE, 4 * PAGE_SIZE), 0);
	counters_snapshot(&after);
	space_detach();
	space_put(s);
	counters_sub(&after, &after, &before);
	expect_calls(after, 0, 0);
}

// Nor where the only other CPU that has the space loaded is in lazy TLB mode: it catches up by itself.
TEST(nested, xen_spares_lazy_cpus, NEEDS_CPUS2)
{
	struct counters before, after;
	struct thread *t;
	struct space *s;

	if (xen_missing())
		SKIP(xen_missing());
	s = mm_populated(policy_find("rcu"), flush_find("xen"), NR_CPUS * PAGE_SIZE);
	REQUIRE(s);
	space_attach(s);
	t = mm_thread("visitor", mm_visit, s, mm_other_cpu(0));
	mm_join(t);
	counters_snapshot(&before);
	EXPECT_EQ(space_protect(s, BASE, PAGE_SIZE, PROT_R), 0);
	counters_snapshot(&after);
	space_detach();
	space_put(s);
	counters_sub(&after, &after, &before);
	EXPECT_EQ(after.flush_lazy_skipped, 1);
	expect_calls(after, 0, 0);
}

#if CHECK
// The hypervisor refuses the hypercall: the back-end flushes by IPI instead.
TEST(nested, xen_fallback, NEEDS_CHECK | NEEDS_CPUS2)
{
	struct counters c;

	if (xen_missing())
		SKIP(xen_missing());
	mutant_set(xen_refuses, 1);
	c = nested_one_of_each("xen");
	mutant_set(xen_refuses, 0);
	expect_calls(c, 2, 2);
	EXPECT(c.ipi_xcall >= 2);
}

TEST(nested, xen_unsafe, NEEDS_CHECK | NEEDS_CPUS4)
{
	if (xen_missing())
		SKIP(xen_missing());
	for (unsigned i = 0; i < CONVICTIONS && !test_failed(); i++)
		nested_judge_all("xen", false, NULL);
}

TEST(nested, xen_safe, NEEDS_CHECK | NEEDS_CPUS4)
{
	struct counters sum = { 0 };

	if (xen_missing())
		SKIP(xen_missing());
	nested_judge_all("xen", true, &sum);
	log_info("%lu flush hypercalls", sum.flush_xen_calls);
	EXPECT(sum.flush_xen_calls);
	EXPECT_EQ(sum.flush_xen_fallbacks, 0);
}

// A walk with interrupts off stands still between the entry that names a table and that table, and its CPU's time is
// fought for by another that spins. Once Xen has preempted it there, the table is unmapped.
static struct scene {
	struct walk_job job;
	unsigned cpu;		// of the walker
	u32 held, spinning, go;
} scene;

static void stand_still(struct stall_point *p, void *unused)
{
	scene.cpu = cpu_id();
	EXPECT(!irqs_enabled());
	store_release(&scene.held, 1u);
	spin_until(load_acquire(&scene.go), "the unmap", -1);
}

static int rival(void *unused)
{
	fetch_add(&scene.spinning, 1u);
	spin_until(load_acquire(&scene.go), "the unmap", -1);
	return 0;
}

static void begin_round(struct thread **threads)
{
	scene.held = scene.spinning = scene.go = 0;
	scene.job.va = BASE;
	scene.job.local = true;		// otherwise its CPU would be none of the flush's targets
	stall_point("walk_level")->action = stand_still;
	stall_arm(stall_point("walk_level"), scene.job.s, BASE, BASE + PAGE_SIZE, 2);
	for (unsigned i = 0; i + 1 < nr_cpus; i++)
		threads[i] = i ? mm_thread("rival", rival, NULL, mm_other_cpu(i)) :
				 mm_thread("walker", walk_once, &scene.job, mm_other_cpu(0));
	spin_until(load_acquire(&scene.held) && load_acquire(&scene.spinning) == nr_cpus - 2, "walker and rivals", -1);
}

static void end_round(struct thread **threads)
{
	store_release(&scene.go, 1u);
	for (unsigned i = 0; i + 1 < nr_cpus; i++)
		mm_join(threads[i]);
	EXPECT_EQ(stall_point("walk_level")->hits, 1);
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(scene.job.got, 0);
}

static bool walker_is_preempted(void)
{
	struct seen waited = SEEN_FROM_NOW;

	while (!steal_preempted(scene.cpu) && seen_look(&waited, SEEN_NS) < PATIENCE_NS)
		cpu_relax();
	return waited.ns < PATIENCE_NS;
}

// Was the walker still preempted when the unmap returned?
static bool unmap_under_preempted_walk(void)
{
	struct page *table = mm_table(scene.job.s, BASE, 1);
	struct counters before, after;
	bool preempted;

	counters_snapshot(&before);
	EXPECT_EQ(space_unmap(scene.job.s, BASE, PAGE_SIZE), 0);	// returns, though the walk has not ended
	preempted = steal_preempted(scene.cpu);
	counters_snapshot(&after);
	counters_sub(&after, &after, &before);
	expect_calls(after, 1, 0);
	EXPECT_EQ(mm_state(table), TABLE_FLUSHED);
	return preempted;
}

TEST(nested, xen_returns_in_the_middle_of_a_walk, NEEDS_CHECK | NEEDS_CPUS4)
{
	static struct thread *threads[NR_CPUS];
	unsigned still = 0;
	u64 violations = oracle_violations();

	if (xen_missing())
		SKIP(xen_missing());
	if (steal_owner() != STEAL_XEN)
		SKIP("needs a hypervisor that keeps steal-time records");
	if (!nested_marks_busy_cpus())
		SKIP(NESTED_MARKS_NONE);
	scene = (struct scene){ .job.s = space_create_with(policy_find("rcu"), flush_find("xen")) };
	REQUIRE(scene.job.s);
	EXPECT_EQ(space_map(scene.job.s, BASE + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	for (unsigned i = 0; i < HELD_WALKS && !test_failed(); i++) {
		EXPECT_EQ(space_map(scene.job.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		begin_round(threads);
		if (walker_is_preempted())
			still += unmap_under_preempted_walk();
		else
			test_skip(NESTED_MARKS_NONE);
		end_round(threads);
	}
	space_put(scene.job.s);
	EXPECT_EQ(oracle_violations(), violations);
	log_info("%u unmaps returned in the middle of a walk that Xen had preempted; %u of them before it ran again",
		 HELD_WALKS, still);
}
#endif
