// SPDX-License-Identifier: MIT
// What a flush proves: back-ends report the CPUs that have taken its call, and a policy that waits for the rest
// (table_free=auto) does not interrupt these once more.
#include "kernel/lib.h"
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/flush/flush.h"
#include "tests/mm/help.h"
#include "tests/mm/told.h"
#include "tests/mm/walk/hold.h"

#if CHECK

// ---- A walk that begins between the flush and `free` ---------------------------------------------------------------
// Its CPU runs in the space, so the flush goes to it. It begins after the tables were unlinked and cannot reach them: to
// wait for it is needless. The unmapper looks at the slots while the walk is under way.

struct late_walk {
	struct walk_job job;
	struct mm_resident resident;
	u32 go, there, returned;
	bool awaited;		// by the policy's own means, while the walk was held
};

static int walk_late(void *arg)
{
	struct late_walk *l = arg;

	space_attach(l->job.s);
	preempt_disable();	// its CPU stays in the space
	store_release(&l->resident.there, 1u);
	spin_until(load_acquire(&l->go), "the flush", -1);
	preempt_enable();
	l->job.local = false;	// it is there already
	walk_once(&l->job);
	space_detach();
	return 0;
}

static void hold_late(struct stall_point *p, void *arg)
{
	struct late_walk *l = arg;
	u64 waits = policy_waits();

	store_release(&l->there, 1u);
	spin_until(policy_waits() != waits || load_acquire(&l->returned), "the unmapper", -1);
	l->awaited = policy_waits() != waits;
}

// In whoever releases what was flushed.
static void begin_walk(struct stall_point *p, void *arg)
{
	struct late_walk *l = arg;

	store_release(&l->go, 1u);
	spin_until(load_acquire(&l->there), "the walk", -1);
}

static void arm(const char *name, void (*action)(struct stall_point *, void *), struct late_walk *l)
{
	stall_point(name)->action = action;
	stall_point(name)->arg = l;
	stall_arm(stall_point(name), l->job.s, 0, 0, 0);
}

// `flushed`: the stall point between flush and `free`. True: the policy has waited for the walk.
static bool waits_for_late_walk(const char *policy, const char *flush, const char *flushed)
{
	struct late_walk l = { .job = { .s = mm_populated(policy_find(policy), flush_find(flush), PAGE_SIZE), .va = BASE } };
	struct thread *walker;

	if (!EXPECT(l.job.s))
		return false;
	walker = mm_thread("late", walk_late, &l, mm_other_cpu(0));
	if (!EXPECT(walker))
		return false;
	spin_until(load_acquire(&l.resident.there), "the walker", -1);
	arm("walked_published", hold_late, &l);
	arm(flushed, begin_walk, &l);
	EXPECT_EQ(space_unmap(l.job.s, BASE, PAGE_SIZE), 0);
	flush_drain();
	store_release(&l.returned, 1u);
	mm_join(walker);
	EXPECT_EQ(stall_point(flushed)->hits, 1);
	EXPECT_EQ(stall_point("walked_published")->hits, 1);
	stall_release(stall_point(flushed));
	stall_release(stall_point("walked_published"));
	EXPECT_EQ(l.job.got, 0);
	space_put(l.job.s);
	return l.awaited;
}

TEST(proved, call_is_not_made_twice, NEEDS_CPUS2)
{
	struct counters before, c;

	counters_snapshot(&before);
	EXPECT(!waits_for_late_walk("auto", "ipi", "gather_flushed"));
	c = mm_counted_since(&before);
	EXPECT_EQ(c.walkers_awaited, 0);
	EXPECT(waits_for_late_walk("targeted", "ipi", "gather_flushed"));
	c = mm_counted_since(&before);
	EXPECT_EQ(c.walkers_awaited, 1);
	EXPECT_EQ(c.walkers_proved, 1);
}

// An NMI proves nothing of a walk with interrupts off, so the policy waits as targeted does.
TEST(proved, nothing_by_an_nmi, NEEDS_CPUS2)
{
	struct counters before, c;

	counters_snapshot(&before);
	EXPECT(waits_for_late_walk("auto", "nmi", "gather_flushed"));
	EXPECT(waits_for_late_walk("targeted", "nmi", "gather_flushed"));
	c = mm_counted_since(&before);
	EXPECT_EQ(c.walkers_awaited, 2);
	EXPECT_EQ(c.walkers_proved, 0);
}

// The report travels with a deferred record.
TEST(proved, by_a_sweep, NEEDS_CPUS2)
{
	EXPECT(!waits_for_late_walk("auto", "lazy", "lazy_finishing"));
	EXPECT(waits_for_late_walk("targeted", "lazy", "lazy_finishing"));
}

// ---- A walk that the flush does not wait for -----------------------------------------------------------------------

struct early_walk {
	struct walk_job job;
	u32 there, returned;
};

// Until the policy waits for it, or the unmap has returned too early.
static void hold_early(struct stall_point *p, void *arg)
{
	struct early_walk *w = arg;
	u64 waits = policy_waits();

	store_release(&w->there, 1u);
	spin_until(policy_waits() != waits || load_acquire(&w->returned), "the unmapper", -1);
}

static u64 unmap_under_early_walk(const char *policy, const char *flush, bool local)
{
	struct early_walk w = { .job = { .s = mm_populated(policy_find(policy), flush_find(flush), PAGE_SIZE), .va = BASE,
					 .local = local } };
	u64 violations = oracle_violations();
	struct thread *walker;

	if (!EXPECT(w.job.s))
		return 0;
	stall_point("walk_level")->action = hold_early;
	stall_point("walk_level")->arg = &w;
	stall_arm(stall_point("walk_level"), w.job.s, 0, 0, 2);
	walker = mm_thread("walker", walk_once, &w.job, mm_other_cpu(0));
	if (!EXPECT(walker))
		return 0;
	spin_until(load_acquire(&w.there), "the walker", -1);
	EXPECT_EQ(space_unmap(w.job.s, BASE, PAGE_SIZE), 0);
	store_release(&w.returned, 1u);
	mm_join(walker);
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(w.job.got, 0);
	space_put(w.job.s);
	return oracle_violations() - violations;
}

// A walker of a space that its CPU has not loaded is in no mask: nobody was asked to flush, and nothing is proved.
TEST(proved, nothing_of_remote_walkers, NEEDS_CPUS2)
{
	EXPECT_EQ(unmap_under_early_walk("auto", "ipi", false), 0);
	EXPECT_EQ(unmap_under_early_walk("auto", "nmi", false), 0);
}

// … so a wait for it is not counted as one in vain.
TEST(proved, nothing_is_counted_where_nobody_was_asked, NEEDS_CPUS2)
{
	struct counters before, c;

	counters_snapshot(&before);
	EXPECT_EQ(unmap_under_early_walk("targeted", "ipi", false), 0);
	c = mm_counted_since(&before);
	EXPECT_EQ(c.walkers_awaited, 1);
	EXPECT_EQ(c.walkers_proved, 0);
}

// A target that has taken an NMI only is in the middle of its walk.
TEST(proved, target_is_not_proof, NEEDS_CPUS2)
{
	EXPECT_EQ(unmap_under_early_walk("auto", "nmi", true), 0);
	oracle_expect_violations(true);
	mutant_set(flush_claims_targets, 1);
	EXPECT(unmap_under_early_walk("auto", "nmi", true) > 0);
	mutant_set(flush_claims_targets, 0);
	oracle_expect_violations(false);
}

// Every walker is found, not only the first.
static void waits_for_both(const char *policy)
{
	const char *const points[] = { "walked_published", "walk_level" };
	struct space *s = mm_populated(policy_find(policy), flush_find("ipi"), PAGE_SIZE);
	struct thread *walker[2];
	struct early_walk w[2];
	struct counters before, c;

	REQUIRE(s);
	for (unsigned i = 0; i < 2; i++) {
		w[i] = (struct early_walk){ .job = { .s = s, .va = BASE } };
		stall_point(points[i])->action = hold_early;
		stall_point(points[i])->arg = &w[i];
		stall_arm(stall_point(points[i]), s, 0, 0, i ? 2 : 0);
		walker[i] = mm_thread("walker", walk_once, &w[i].job, mm_other_cpu(i));
		REQUIRE(walker[i]);
		spin_until(load_acquire(&w[i].there), "the walker", -1);
	}
	counters_snapshot(&before);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	c = mm_counted_since(&before);
	EXPECT_EQ(c.walkers_awaited, 2);
	EXPECT_EQ(c.walkers_proved, 0);		// nobody was asked to flush
	for (unsigned i = 0; i < 2; i++) {
		store_release(&w[i].returned, 1u);
		mm_join(walker[i]);
		stall_release(stall_point(points[i]));
	}
	space_put(s);
}

TEST(proved, two_walkers_are_waited_for, NEEDS_CPUS4)
{
	waits_for_both("auto");
	waits_for_both("targeted");
}

// ---- What a policy is told -------------------------------------------------------------------------------------------

// One unmap, while another CPU runs in the space and takes whatever call comes; what it counts, and what mm_told_policy
// is told of it.
static struct counters unmap_beside_resident(const struct table_policy *p, const char *flush, struct mm_told *told)
{
	struct mm_resident r = { .s = mm_populated(p, flush_find(flush), PAGE_SIZE) };
	struct counters before, c = { 0 };
	struct thread *t;

	if (!EXPECT(r.s))
		return c;
	t = mm_thread("resident", mm_reside, &r, mm_other_cpu(0));
	if (!EXPECT(t))
		return c;
	spin_until(load_acquire(&r.there), "the resident", -1);
	counters_snapshot(&before);
	EXPECT_EQ(space_unmap(r.s, BASE, PAGE_SIZE), 0);
	flush_drain();
	c = mm_counted_since(&before);
	*told = mm_told;
	store_release(&r.go, 1u);
	mm_join(t);
	space_put(r.s);
	return c;
}

// The other CPU is all that the policy is told of, or nobody is.
static void tells_of_resident(const char *flush, bool calls)
{
	struct mm_told told = { 0 };

	unmap_beside_resident(&mm_told_policy, flush, &told);
	EXPECT(told.any);
	EXPECT_EQ(cpumask_weight(&told.proved), calls);
	EXPECT_EQ(cpumask_test(&told.proved, mm_other_cpu(0)), calls);
}

TEST(proved, policy_is_told_who, NEEDS_CPUS2)
{
	struct space *s;

	tells_of_resident("ipi", true);
	tells_of_resident("lazy", true);
	tells_of_resident("nmi", false);
	s = mm_populated(&mm_told_policy, flush_find("ipi"), PAGE_SIZE);
	REQUIRE(s);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	EXPECT(!mm_told.any);		// the flush found nobody to go to
	space_put(s);
}

// A CPU that is proved and walks nothing is no walker that was waited for in vain.
TEST(proved, nothing_is_counted_where_nobody_walks, NEEDS_CPUS2)
{
	const char *const policies[] = { "targeted", "auto" }, *const backends[] = { "ipi", "lazy", "nmi" };
	struct mm_told unused;

	for (unsigned i = 0; i < ARRAY_SIZE(policies); i++) {
		for (unsigned k = 0; k < ARRAY_SIZE(backends); k++) {
			struct counters c = unmap_beside_resident(policy_find(policies[i]), backends[k], &unused);

			EXPECT_EQ(c.tables_unlinked, PT_LEVELS - 1);
			EXPECT_EQ(c.walkers_awaited, 0);
			EXPECT_EQ(c.walkers_proved, 0);
			EXPECT_EQ(c.ipi_sync, 0);
		}
	}
}

// ---- Is the report true? --------------------------------------------------------------------------------------------

// Flushes by NMI, and reports its targets all the same.
static void lying_flush(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	flush_find("nmi")->flush(f, targets, proved);
	cpumask_or(proved, targets);
}

// Flushes by IPI, and reports CPUs that were no targets, too.
static void broad_flush(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	flush_find("ipi")->flush(f, targets, proved);
	cpumask_or(proved, &cpus_online);
}

// Flushes by IPI, and reports one CPU more.
static unsigned one_more;
static void generous_flush(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	flush_find("ipi")->flush(f, targets, proved);
	cpumask_set(proved, one_more);
}

// Reports truly, and says that it does not report: the verdict would be computed from that.
static void silent_flush(const struct flush *f, const struct cpumask *targets, struct cpumask *proved)
{
	flush_find("ipi")->flush(f, targets, proved);
}

static const struct flush_backend lying = { .name = "lying", .reports = true, .flush = lying_flush };
static const struct flush_backend broad = { .name = "broad", .reports = true, .flush = broad_flush };
static const struct flush_backend generous = { .name = "generous", .reports = true, .flush = generous_flush };
static const struct flush_backend silent = { .name = "silent", .flush = silent_flush };

struct deaf {
	struct space *s;	// NULL: it runs in none
	u32 there, go;
	bool hears;		// interrupts are on
};

// A CPU that can take no call, or one that can.
static int reside_deaf(void *arg)
{
	struct deaf *d = arg;
	irqflags_t flags;

	if (d->s)
		space_attach(d->s);
	preempt_disable();
	flags = irq_save();
	if (d->hears)
		irq_restore(flags);
	store_release(&d->there, 1u);
	spin_until(load_acquire(&d->go), "the flush", -1);
	if (!d->hears)
		irq_restore(flags);
	preempt_enable();
	if (d->s)
		space_detach();
	return 0;
}

// How many reports are false.
static u64 reports_of(const struct flush_backend *b, bool hears)
{
	struct deaf d = { .s = mm_populated(policy_find("rcu"), b, 2 * PAGE_SIZE), .hears = hears };
	u64 violations;
	struct violation v = { 0 };
	struct thread *t;

	if (!EXPECT(d.s))
		return 0;
	t = mm_thread("deaf", reside_deaf, &d, mm_other_cpu(0));
	if (!EXPECT(t))
		return 0;
	spin_until(load_acquire(&d.there), "the other CPU", -1);
	oracle_reset();
	EXPECT_EQ(space_unmap(d.s, BASE, PAGE_SIZE), 0);
	violations = oracle_violations();
	if (violations && EXPECT_EQ(oracle_records(&v, 1), 1)) {
		EXPECT_EQ(v.kind, VIOLATION_UNPROVED);
		EXPECT_EQ(v.walker_cpu == mm_other_cpu(0), b != &broad);
		EXPECT(!strcmp(v.flush, b->name) && !strcmp(v.policy, "rcu"));
	}
	store_release(&d.go, 1u);
	mm_join(t);
	space_put(d.s);
	oracle_reset();
	return violations;
}

TEST(proved, false_report_is_found, NEEDS_CPUS2)
{
	EXPECT_EQ(reports_of(flush_find("ipi"), true), 0);
	EXPECT_EQ(reports_of(flush_find("nmi"), false), 0);
	oracle_expect_violations(true);
	EXPECT_EQ(reports_of(&lying, false), 1);
	EXPECT_EQ(reports_of(&silent, true), 1);
	EXPECT(reports_of(&broad, true) >= 1);		// this CPU at least: none calls itself. An idle one may take a call
	oracle_expect_violations(false);
}

// The report of the target is true, and does not make that of the other CPU true, whichever comes first.
static void reports_one_more(unsigned target, unsigned other)
{
	struct deaf d[2] = { { .s = mm_populated(policy_find("rcu"), &generous, PAGE_SIZE), .hears = true } };
	const unsigned cpu[2] = { target, other };
	struct violation v = { 0 };
	struct thread *t[2];

	REQUIRE(d[0].s);
	one_more = other;
	for (unsigned i = 0; i < 2; i++) {
		t[i] = mm_thread("deaf", reside_deaf, &d[i], cpu[i]);
		REQUIRE(t[i]);
		spin_until(load_acquire(&d[i].there), "the other CPU", -1);
	}
	oracle_reset();
	EXPECT_EQ(space_unmap(d[0].s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(oracle_violations(), 1);
	EXPECT_EQ(oracle_records(&v, 1), 1);
	EXPECT_EQ(v.kind, VIOLATION_UNPROVED);
	EXPECT_EQ(v.walker_cpu, other);
	for (unsigned i = 0; i < 2; i++) {
		store_release(&d[i].go, 1u);
		mm_join(t[i]);
	}
	space_put(d[0].s);
	oracle_reset();
}

TEST(proved, false_report_beside_a_true_one_is_found, NEEDS_CPUS4)
{
	oracle_expect_violations(true);
	reports_one_more(mm_other_cpu(0), mm_other_cpu(1));
	reports_one_more(mm_other_cpu(1), mm_other_cpu(0));
	oracle_expect_violations(false);
}
#endif
