// SPDX-License-Identifier: MIT
// See nested/judge.h.
#include "tests/arch/nested/judge.h"
#include "kernel/steal.h"
#include "lab/oracle.h"
#include "mm/space.h"
#include "tests/load/load.h"
#include "tests/mm/help.h"

#define SAFE_MS 1000

// The watch lasts at least so long and takes at least so many looks: a hypervisor that is itself kept from running
// preempts nobody meanwhile.
#define WATCH_NS (NSEC_PER_SEC / 2)
#define WATCH_LOOKS 100000u
static struct {
	u32 inside;		// CPUs that watch: they run this and nothing else
	u32 ended;
	u32 seen;		// one of them was marked as preempted meanwhile
} watching;

static bool any_marked(void)
{
	bool marked = false;

	for_each_cpu(cpu)
		marked |= steal_preempted(cpu);
	return marked;
}

static int watch(void *unused)
{
	u64 end;

	fetch_add(&watching.inside, 1);
	spin_until(READ_ONCE(watching.inside) == nr_cpus, "the other watchers", -1);
	end = now_ns() + WATCH_NS;
	for (u32 looks = 0; (looks < WATCH_LOOKS || now_ns() < end) && !READ_ONCE(watching.seen); looks++)
		if (any_marked() && !READ_ONCE(watching.ended))		// after that, the marked CPU may be an idle one
			WRITE_ONCE(watching.seen, 1);
	fetch_add(&watching.ended, 1);
	return 0;
}

bool nested_marks_busy_cpus(void)
{
	if (!watching.seen) {
		watching.inside = watching.ended = 0;
		threads_run_on(&cpus_online, watch, NULL);
	}
	return watching.seen;
}

#if CHECK
static void convict(const struct table_policy *p, const struct flush_backend *b)
{
	struct mm_load_result r;

	REQUIRE(!run_mm_load(p, b, test_seed(), 0, &r));
	log_info("%s+%s: %lu violations, the first after %lu ms, with %lu chances", p->name, b->name, r.violations,
		 (u64)(r.convicted_ns / NSEC_PER_MSEC), r.chances);
	EXPECT(r.violations);
}

static void acquit(const struct table_policy *p, const struct flush_backend *b, struct counters *sum)
{
	struct mm_load_result r;

	REQUIRE(!run_mm_load(p, b, test_seed(), SAFE_MS, &r));
	log_info("%s+%s", p->name, b->name);
	mm_load_print(&r);
	EXPECT(mm_load_clean(&r));
	EXPECT(mm_load_evidence(&r));
	sum->flush_pv_flagged += r.counted.flush_pv_flagged;
	sum->flush_hv_calls += r.counted.flush_hv_calls;
	sum->flush_hv_fallbacks += r.counted.flush_hv_fallbacks;
	sum->flush_xen_calls += r.counted.flush_xen_calls;
	sum->flush_xen_fallbacks += r.counted.flush_xen_fallbacks;
	sum->ipi_flush += r.counted.ipi_flush;
}

void nested_judge_all(const char *flush, bool safe, struct counters *sum)
{
	const struct flush_backend *b = flush_find(flush);

	FOR_EACH_POLICY(p) {
		if (pair_verdict(*p, b).safe != safe)
			continue;
		if (safe)
			acquit(*p, b, sum);
		else
			convict(*p, b);
	}
}
#endif

struct form_scene {
	struct space *s;
	u32 attached, stop;
};

static int resident(void *arg)
{
	struct form_scene *f = arg;

	space_attach(f->s);
	preempt_disable();
	store_release(&f->attached, 1u);
	while (!load_acquire(&f->stop))		// pairs with the test's store
		cpu_relax();
	preempt_enable();
	space_detach();
	return 0;
}

struct counters nested_one_of_each(const char *flush)
{
	struct form_scene f = { .s = space_create_with(policy_find("rcu"), flush_find(flush)) };
	struct counters before, after = { 0 };
	struct thread *t;

	if (!EXPECT(f.s))
		return after;
	EXPECT_EQ(space_map(f.s, BASE, 4 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	t = mm_thread("resident", resident, &f, mm_other_cpu(0));
	while (!load_acquire(&f.attached))
		thread_yield();
	counters_snapshot(&before);
	EXPECT_EQ(space_protect(f.s, BASE, 4 * PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(space_unmap(f.s, BASE, 4 * PAGE_SIZE), 0);
	counters_snapshot(&after);
	counters_sub(&after, &after, &before);
	store_release(&f.stop, 1u);
	mm_join(t);
	space_put(f.s);
	return after;
}
