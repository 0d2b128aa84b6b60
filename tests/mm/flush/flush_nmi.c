// SPDX-License-Identifier: MIT
// tlb_flush=nmi: an NMI reaches a CPU with interrupts off, hence in the middle of a walk and of a switch of address
// spaces.
#include "kernel/lib.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/tlb.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK

struct scene {
	struct walk_job job;
	u32 there;		// the walker is held
	u32 returned;		// the unmap has returned
	bool outlived;		// the held walker saw the unmap return
};

// Hold the walker until the unmapper has returned, or waits by other means than the flush.
static void hold(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;
	u64 waits = policy_waits();

	store_release(&sc->there, 1u);
	spin_until(load_acquire(&sc->returned) || policy_waits() != waits, "the unmap", -1);
	sc->outlived = READ_ONCE(sc->returned);
}

// A walk on another CPU has read the entry of the L1 table and not the table itself; an unmap frees that table.
static void unmap_under_a_walk(const struct table_policy *policy, bool local, struct scene *sc)
{
	struct space *s = space_create_with(policy, flush_find("nmi"));
	struct thread *walker;
	struct page *table;

	*sc = (struct scene){ .job = { .s = s, .va = BASE, .local = local } };
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);	// keeps the tables above
	table = mm_table(s, BASE, 1);
	stall_point("walk_level")->action = hold;
	stall_point("walk_level")->arg = sc;
	stall_arm(stall_point("walk_level"), s, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_once, &sc->job, mm_other_cpu(0));
	REQUIRE(walker && table);
	spin_until(load_acquire(&sc->there), "walker", -1);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	store_release(&sc->returned, 1u);
	mm_join(walker);
	EXPECT_EQ(stall_point("walk_level")->hits, 1);
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(sc->job.got, 0);
	mm_put_emptied(s, table);
}

// The flush is answered in the middle of the walk, with interrupts off or on, and proves nothing: every time.
TEST(flush_nmi, ipi_is_convicted_20_of_20, NEEDS_CPUS2 | NEEDS_CHECK)
{
	unsigned found = 0, outlived = 0;
	struct scene sc;

	EXPECT(!pair_verdict(policy_find("ipi"), flush_find("nmi")).safe);
	oracle_expect_violations(true);
	for (unsigned i = 0; i < 20; i++) {
		u64 violations = oracle_violations();

		unmap_under_a_walk(policy_find("ipi"), i & 1, &sc);
		found += oracle_violations() > violations;
		outlived += sc.outlived;
	}
	oracle_expect_violations(false);
	EXPECT_EQ(found, 20);
	EXPECT_EQ(outlived, 20);
}

TEST(flush_nmi, safe_policies_are_clean, NEEDS_CPUS2 | NEEDS_CHECK)
{
	const struct flush_backend *nmi = flush_find("nmi");
	struct mm_balance b;
	struct scene sc;

	mm_balance_begin(&b);
	FOR_EACH_POLICY(it) {
		u64 violations = oracle_violations();

		if (!pair_verdict(*it, nmi).safe)
			continue;
		for (unsigned i = 0; i < 4; i++)
			unmap_under_a_walk(*it, i & 1, &sc);
		if (oracle_violations() != violations)
			test_fail(__FILE__, __LINE__, "table_free=%s", (*it)->name);
	}
	mm_balance_end(&b);
}

// A request counts as served only after its flush is done.
struct served {
	u32 returned;
	unsigned too_early;
};

static void watch_the_requester(struct stall_point *p, void *arg)
{
	struct served *s = arg;

	WHILE_OTHERS_RUN(2)
		s->too_early += READ_ONCE(s->returned);
}

TEST(flush_nmi, served_when_it_has_flushed, NEEDS_CPUS2)
{
	struct mm_resident r = { .s = space_create_with(policy_find("rcu"), flush_find("nmi")) };
	struct served served = { .returned = 0 };
	struct thread *t;

	REQUIRE(r.s);
	EXPECT_EQ(space_map(r.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	t = mm_thread("resident", mm_reside, &r, mm_other_cpu(0));
	REQUIRE(t);
	spin_until(load_acquire(&r.there), "resident", -1);
	stall_point("nmi_flushed")->action = watch_the_requester;
	stall_point("nmi_flushed")->arg = &served;
	stall_point("nmi_flushed")->cpu = (int)mm_other_cpu(0);
	stall_arm(stall_point("nmi_flushed"), NULL, 0, 0, 0);
	EXPECT_EQ(space_unmap(r.s, BASE, PAGE_SIZE), 0);
	WRITE_ONCE(served.returned, 1);
	store_release(&r.go, 1u);
	mm_join(t);
	EXPECT_EQ(stall_point("nmi_flushed")->hits, 1);
	stall_release(stall_point("nmi_flushed"));
	EXPECT_EQ(served.too_early, 0);
	space_put(r.s);
}

// A CPU in the middle of its switch from one space to another, with interrupts off.
struct change {
	struct space *from, *to;
	vaddr_t va;
	u32 there, returned;
	unsigned stale;		// reads that succeeded after the unmaps
};

static unsigned readable(vaddr_t va)
{
	u64 v;

	return !arch_user_read64_nofault(va, &v);
}

static void wait_in_the_switch(struct stall_point *p, void *arg)
{
	struct change *c = arg;

	readable(c->va);	// whichever of the two roots is loaded now, the CPU caches the page
	store_release(&c->there, 1u);
	spin_until(load_acquire(&c->returned), "the unmaps", -1);
	c->stale += readable(c->va);
}

static int switch_over(void *arg)
{
	struct change *c = arg;
	u64 v;

	space_attach(c->from);
	EXPECT_EQ(arch_user_read64(c->va, &v), 0);
	space_detach();
	preempt_disable();
	space_attach(c->to);
	c->stale += readable(c->va);
	preempt_enable();
	space_detach();
	return 0;
}

// Both spaces unmap the page while the CPU is held there: both unmaps return, and nothing stale is left.
static unsigned unmap_in_a_switch(struct stall_point *point, unsigned round)
{
	const struct table_policy *rcu = policy_find("rcu");
	struct change c = { .from = space_create_with(rcu, flush_find("nmi")), .to = space_create_with(rcu, flush_find("nmi")),
			    .va = BASE + round * 7 * PAGE_SIZE };
	struct thread *t;

	if (!EXPECT(c.from && c.to))
		return 0;
	EXPECT_EQ(space_map(c.from, c.va, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(c.to, c.va, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	point->action = wait_in_the_switch;
	point->arg = &c;
	stall_arm(point, c.to, 0, 0, 0);
	t = mm_thread("switching", switch_over, &c, mm_other_cpu(0));
	spin_until(load_acquire(&c.there), "the switch", -1);
	EXPECT_EQ(space_unmap(c.to, c.va, PAGE_SIZE), 0);
	EXPECT_EQ(space_unmap(c.from, c.va, PAGE_SIZE), 0);
	store_release(&c.returned, 1u);
	mm_join(t);
	stall_release(point);
	space_put(c.from);
	space_put(c.to);
	return c.stale;
}

static void in_the_switch(struct stall_point *point)
{
	unsigned stale = 0;

	for (unsigned i = 0; i < 4; i++)
		stale += unmap_in_a_switch(point, i);
	EXPECT_EQ(stale, 0);
	oracle_expect_violations(true);	// the adversary reports the frames
	mutant_set(nmi_no_flush, 1);	// a processor may drop an entry by itself: one round is not enough
	for (unsigned i = 0; i < 40 && !stale; i++)
		stale = unmap_in_a_switch(point, i);
	mutant_set(nmi_no_flush, 0);
	oracle_expect_violations(false);
	EXPECT_STALE(stale);
}

TEST(flush_nmi, before_the_root_is_loaded, NEEDS_CPUS2 | NEEDS_CHECK) { in_the_switch(stall_point("tlb_joined")); }
TEST(flush_nmi, after_the_root_is_loaded, NEEDS_CPUS2 | NEEDS_CHECK) { in_the_switch(stall_point("tlb_loaded")); }
#endif

#define EACH 40

// All CPUs flush all CPUs at once. Several requests may share an NMI, but none is lost: each flush returns, and each of
// its targets has flushed since it began.
static int flush_the_others(void *space)
{
	struct flush f = { 0 };
	u64 before[NR_CPUS];

	flush_make(&f, space, 0, USER_END, 1, true);
	for (unsigned i = 0; i < EACH; i++) {
		struct cpumask targets, proved = { 0 };

		preempt_disable();
		cpumask_copy(&targets, &cpus_online);
		cpumask_clear(&targets, cpu_id());
		for_each_cpu_in(cpu, &targets)
			before[cpu] = READ_ONCE(per_cpu(counters, cpu).flush_full);
		flush_find("nmi")->flush(&f, &targets, &proved);
		EXPECT(cpumask_empty(&proved));		// an NMI proves nothing of walks with interrupts off
		for_each_cpu_in(cpu, &targets)
			EXPECT(READ_ONCE(per_cpu(counters, cpu).flush_full) > before[cpu]);
		preempt_enable();
	}
	return 0;
}

TEST(flush_nmi, all_flush_all, NEEDS_CPUS2)
{
	struct space *s = space_create();
	struct counters before, after;

	REQUIRE(s);
	counters_snapshot(&before);
	EXPECT_EQ(threads_run_on(&cpus_online, flush_the_others, s), 0);
	counters_snapshot(&after);
	EXPECT_EQ(after.flush_nmi - before.flush_nmi, EACH * nr_cpus * (nr_cpus - 1));
	EXPECT(after.flush_full - before.flush_full <= after.flush_nmi - before.flush_nmi);
	space_put(s);
}
