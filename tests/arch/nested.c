// SPDX-License-Identifier: MIT
// The bug of 2012 under a real hypervisor: it preempts walkers in the middle of their walks, because it has fewer
// processors than this machine has vCPUs (ACCEL=nested SMP=4: docs/nested.md). The load is that of mode=torture. The
// last test prints what the runner compares with the hypervisor's own counts.
#include <arch/hyperv.h>
#include "kernel/steal.h"
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/space.h"
#include "tests/load/load.h"
#include "tests/mm/help.h"

#define SAFE_MS 1000
#define MOST_ROUNDS 20

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
		marked |= READ_ONCE(per_cpu(steal_record, cpu).preempted) & STEAL_PREEMPTED;
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

// Does the hypervisor mark CPUs that it preempts while they are busy in the kernel? Some mark only those that halt or
// run in user mode.
static bool marks_busy_cpus(void)
{
	if (!watching.seen) {
		watching.inside = watching.ended = 0;
		threads_run_on(&cpus_online, watch, NULL);
	}
	return watching.seen;
}

static const char *kvm_missing(void)
{
	if (steal_owner() != STEAL_KVM)
		return "needs a hypervisor that keeps steal-time records";
	return steal_missing() ?: marks_busy_cpus() ? NULL : "the hypervisor marks no CPU that it preempts in the middle of its work";
}

static const char *hyperv_missing(void)
{
	return arch_hyperv_missing() ? "needs Hyper-V's flush hypercalls" : NULL;
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
	sum->ipi_flush += r.counted.ipi_flush;
}

// What the load finds of each pair must agree with the computed verdict.
static void judge_all(const char *flush, bool safe, struct counters *sum)
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

TEST(nested, pv_unsafe, NEEDS_CHECK | NEEDS_CPUS4)
{
	if (kvm_missing())
		SKIP(kvm_missing());
	judge_all("pv", false, NULL);
}

TEST(nested, pv_safe, NEEDS_CHECK | NEEDS_CPUS4)
{
	struct counters sum = { 0 };
	bool both = false;		// by the flag and by IPI: which CPU is preempted when is up to the hypervisor

	if (kvm_missing())
		SKIP(kvm_missing());
	for (unsigned i = 0; i < MOST_ROUNDS && !both && !test_failed(); i++) {
		judge_all("pv", true, &sum);
		both = sum.flush_pv_flagged && sum.ipi_flush > sum.flush_pv_flagged;
	}
	log_info("of %lu shootdowns %lu were left to the hypervisor", sum.ipi_flush, sum.flush_pv_flagged);
	EXPECT(both);
}

TEST(nested, hyperv_unsafe, NEEDS_CHECK | NEEDS_CPUS4)
{
	if (hyperv_missing())
		SKIP(hyperv_missing());
	judge_all("hyperv", false, NULL);
}

TEST(nested, hyperv_safe, NEEDS_CHECK | NEEDS_CPUS4)
{
	struct counters sum = { 0 };

	if (hyperv_missing())
		SKIP(hyperv_missing());
	judge_all("hyperv", true, &sum);
	log_info("%lu flush hypercalls", sum.flush_hv_calls);
	EXPECT(sum.flush_hv_calls);
	EXPECT_EQ(sum.flush_hv_fallbacks, 0);
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

// One protect (it frees no table and flushes a list of pages) and one unmap (it frees the table and flushes the whole
// space).
static struct counters one_of_each(void)
{
	struct form_scene f = { .s = space_create_with(policy_find("rcu"), flush_find("hyperv")) };
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

static void expect_calls(struct counters c, u64 calls, u64 lists, u64 extended, u64 fallbacks)
{
	EXPECT_EQ(c.flush_hv_calls, calls);
	EXPECT_EQ(c.flush_hv_lists, lists);
	EXPECT_EQ(c.flush_hv_extended, extended);
	EXPECT_EQ(c.flush_hv_fallbacks, fallbacks);
}

TEST(nested, hyperv_forms, NEEDS_CPUS2)
{
	if (hyperv_missing())
		SKIP(hyperv_missing());
	expect_calls(one_of_each(), 2, 1, 0, 0);
	arch_hyperv_extend(true);
	expect_calls(one_of_each(), 2, 1, 2, 0);
	arch_hyperv_extend(false);
}

#if CHECK
// The hypervisor refuses the hypercall: the back-end flushes by IPI instead.
TEST(nested, hyperv_fallback, NEEDS_CHECK | NEEDS_CPUS2)
{
	struct counters c;

	if (hyperv_missing())
		SKIP(hyperv_missing());
	mutant_set(hyperv_refuses, 1);
	c = one_of_each();
	mutant_set(hyperv_refuses, 0);
	expect_calls(c, 2, 0, 0, 2);
	EXPECT(c.ipi_xcall >= 2);
}
#endif

// The counts since boot, for the comparison with the hypervisor's own.
TEST(nested, totals, 0)
{
	struct counters c;

	counters_snapshot(&c);
	if (kvm_missing() && hyperv_missing())
		SKIP(kvm_missing());
	kprintf("# nested: guest flush_pv_flagged=%llu flush_hv_calls=%llu flush_hv_fallbacks=%llu\n",
		(unsigned long long)c.flush_pv_flagged, (unsigned long long)c.flush_hv_calls,
		(unsigned long long)c.flush_hv_fallbacks);
}
