// SPDX-License-Identifier: MIT
// What the adversary excuses: a cached entry that its CPU will drop by itself before it uses it. The page may be freed
// meanwhile; but a CPU that then fails to drop the entry is found, each time, when it goes on.
#include "kernel/cpumask.h"
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/inval.h"
#include "mm/space.h"
#include "mm/tlb.h"
#include "tests/lab/thief_help.h"
#include "tests/mm/help.h"

#if CHECK

#define WITH(mutant, what) do { \
	oracle_expect_violations(true); \
	mutant_set(mutant, 1); \
	what; \
	mutant_set(mutant, 0); \
	oracle_expect_violations(false); \
} while (0)

struct scene {
	struct space *s;	// two pages; one is unmapped, the other keeps the tables
	unsigned cpu;
	u32 ready, primed_again, paid, returned;
	struct completion wake;
	bool left;		// the entry is still there when the CPU goes on
	u64 before;
};

static struct thread *begin(struct scene *sc, const char *flush, int (*fn)(void *))
{
	*sc = (struct scene){ .s = space_create_with(policy_find("rcu"), flush_find(flush)), .cpu = mm_other_cpu(0) };
	completion_init(&sc->wake);
	if (!EXPECT(sc->s) || !EXPECT_EQ(space_map(sc->s, BASE, 2 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0))
		return NULL;
	swmmu_quiet(true);	// nothing is cached but what is primed
	sc->before = swmmu_violations();
	return mm_thread("resident", fn, sc, sc->cpu);
}

static u64 end(struct scene *sc, struct thread *t)
{
	u64 found;

	store_release(&sc->returned, 1u);
	complete_all(&sc->wake);
	mm_join(t);
	found = swmmu_violations() - sc->before;
	space_put(sc->s);
	swmmu_quiet(false);
	return found;
}

// The page is freed while the entry is still cached.
static void unmap_owed(struct scene *sc)
{
	EXPECT_EQ(space_unmap(sc->s, BASE, PAGE_SIZE), 0);
	EXPECT(swmmu_has_leaf(sc->cpu, BASE));
	EXPECT_EQ(swmmu_violations(), sc->before);
}

static int stay(void *arg)
{
	struct scene *sc = arg;
	irqflags_t flags;

	space_attach(sc->s);
	flags = irq_save();	// pv and nmi do not mind; and no interrupt handler is preempted with its locks
	EXPECT(swmmu_prime(cpu_id(), BASE));
	store_release(&sc->ready, 1u);
	spin_until(load_acquire(&sc->returned), "the unmap", -1);
	sc->left = swmmu_has_leaf(cpu_id(), BASE);
	irq_restore(flags);
	space_detach();
	return 0;
}

// The CPU is preempted during the unmap. `returning`: its hypervisor has already looked at the record for the last
// time. Returns the violations, and 100 more if the entry was still there when the CPU went on; so do those below.
static u64 robbed(bool returning)
{
	struct scene sc;
	struct thread *t = begin(&sc, "pv", stay);

	if (!EXPECT(t))
		return 0;
	spin_until(load_acquire(&sc.ready), "resident", -1);
	thief_rob(sc.cpu, 0);
	thief_wait_robbed(sc.cpu);
	if (returning) {
		stall_arm(stall_point("steal_returning"), NULL, 0, 0, 0);
		thief_release(sc.cpu);
		stall_wait_parked(stall_point("steal_returning"));
	}
	unmap_owed(&sc);
	if (returning)
		stall_release(stall_point("steal_returning"));
	thief_release(sc.cpu);
	thief_wait_back(sc.cpu);
	return end(&sc, t) + (sc.left ? 100 : 0);
}

TEST(adversary, robbed_cpu_owes_its_flush, NEEDS_CPUS2)
{
	NEEDS_THE_THIEF();
	EXPECT_EQ(robbed(false), 0);
	WITH(steal_no_flush, EXPECT_EQ(robbed(false), 101));
}

// CVE-2019-3016, made to happen each time.
TEST(adversary, flag_lost_on_the_way_back, NEEDS_CPUS2)
{
	NEEDS_THE_THIEF();
	EXPECT_EQ(robbed(true), 0);
	WITH(steal_plain_store, EXPECT_EQ(robbed(true), 101));
}

static int sleep_meanwhile(void *arg)
{
	struct scene *sc = arg;

	space_attach(sc->s);
	EXPECT(swmmu_prime(cpu_id(), BASE));
	store_release(&sc->ready, 1u);
	wait_for_completion(&sc->wake);
	preempt_disable();
	sc->left = swmmu_has_leaf(cpu_id(), BASE);
	store_release(&sc->paid, 1u);
	spin_until(load_acquire(&sc->returned), "the unmap", -1);	// not lazy again meanwhile
	preempt_enable();
	space_detach();
	return 0;
}

static void wait_asleep(struct scene *sc, struct thread *t)
{
	while (!load_acquire(&sc->ready) || READ_ONCE(t->state) != THREAD_SLEEPING || !READ_ONCE(per_cpu(cpu_tlb, sc->cpu).lazy))
		thread_yield();
}

// A CPU in lazy TLB mode is not interrupted, and catches up before the thread goes on.
static u64 lazy(void)
{
	struct scene sc;
	struct thread *t = begin(&sc, "ipi", sleep_meanwhile);

	if (!EXPECT(t))
		return 0;
	wait_asleep(&sc, t);
	unmap_owed(&sc);
	return end(&sc, t) + (sc.left ? 100 : 0);
}

TEST(adversary, lazy_cpu_owes_its_catching_up, NEEDS_CPUS2)
{
	EXPECT_EQ(lazy(), 0);
	WITH(tlb_no_catch_up, EXPECT_EQ(lazy(), 101));
}

// A CPU that is about to leave lazy TLB mode still counts as lazy and is not interrupted: only after that may it look
// for what it has missed.
static u64 lazy_no_more(void)
{
	struct scene sc;
	struct thread *t = begin(&sc, "ipi", sleep_meanwhile);

	if (!EXPECT(t))
		return 0;
	wait_asleep(&sc, t);
	stall_point("tlb_unlazying")->action = NULL;
	stall_arm(stall_point("tlb_unlazying"), sc.s, 0, 0, 0);
	complete_all(&sc.wake);
	stall_wait_parked(stall_point("tlb_unlazying"));
	unmap_owed(&sc);
	stall_release(stall_point("tlb_unlazying"));
	return end(&sc, t) + (sc.left ? 100 : 0);
}

TEST(adversary, lazy_cpu_catches_up_with_what_comes_at_the_last_moment, NEEDS_CPUS2)
{
	EXPECT_EQ(lazy_no_more(), 0);
	WITH(tlb_no_catch_up, EXPECT_EQ(lazy_no_more(), 101));
}

static void pay_meanwhile(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	complete_all(&sc->wake);
	spin_until(load_acquire(&sc->paid), "the CPU that owed", -1);
}

// The CPU catches up after it was seen to owe a flush and before its entry is marked as excused, so its own look for
// marks finds none.
static u64 paid_before_the_mark(void)
{
	struct scene sc;
	struct thread *t = begin(&sc, "ipi", sleep_meanwhile);

	if (!EXPECT(t))
		return 0;
	wait_asleep(&sc, t);
	stall_point("swmmu_excusing")->action = pay_meanwhile;
	stall_point("swmmu_excusing")->arg = &sc;
	stall_arm(stall_point("swmmu_excusing"), NULL, BASE, BASE + PAGE_SIZE, 0);
	EXPECT_EQ(space_unmap(sc.s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(stall_point("swmmu_excusing")->hits, 1);
	stall_release(stall_point("swmmu_excusing"));
	return end(&sc, t) + (sc.left ? 100 : 0);
}

TEST(adversary, paid_before_the_mark, NEEDS_CPUS2)
{
	EXPECT_EQ(paid_before_the_mark(), 0);
	WITH(tlb_no_catch_up, EXPECT_EQ(paid_before_the_mark(), 101));
}

static void let_unmap(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	store_release(&sc->ready, 1u);
	spin_until(load_acquire(&sc->returned), "the unmap", -1);
}

static int walk_meanwhile(void *arg)
{
	struct scene *sc = arg;
	irqflags_t flags;

	space_attach(sc->s);
	preempt_disable();
	stall_point("swmmu_read")->action = let_unmap;
	stall_point("swmmu_read")->arg = sc;
	stall_point("swmmu_read")->cpu = (int)cpu_id();
	stall_arm(stall_point("swmmu_read"), NULL, BASE, BASE + PAGE_SIZE, 1);
	EXPECT_EQ(swmmu_prime(cpu_id(), BASE), MUTANT(swmmu_no_reread));
	stall_release(stall_point("swmmu_read"));
	sc->left = swmmu_has_leaf(cpu_id(), BASE);
	flags = irq_save();
	inval_user();
	irq_restore(flags);
	preempt_enable();
	space_detach();
	return 0;
}

// An NMI flushes in the middle of a walk that has read the entry: the walk must not cache what it
// read before.
static bool nmi_in_a_walk(void)
{
	struct scene sc;
	struct thread *t = begin(&sc, "nmi", walk_meanwhile);

	if (!EXPECT(t))
		return false;
	spin_until(load_acquire(&sc.ready), "walk", -1);
	EXPECT_EQ(space_unmap(sc.s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(end(&sc, t), 0);
	return sc.left;
}

TEST(adversary, nmi_in_the_middle_of_its_walk, NEEDS_CPUS2)
{
	EXPECT(!nmi_in_a_walk());
	WITH(swmmu_no_reread, EXPECT(nmi_in_a_walk()));
}

static u64 nmis_asked_for(void)
{
	u64 n = 0;

	for_each_cpu(cpu)
		n += READ_ONCE(per_cpu(counters, cpu).flush_nmi);
	return n;
}

// Runs in the NMI, after its flush: the CPU caches the page again, and only then the flush for that is requested.
static void cache_again(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;
	u64 asked = nmis_asked_for();

	EXPECT(swmmu_prime(cpu_id(), BASE));
	store_release(&sc->primed_again, 1u);
	spin_until(nmis_asked_for() != asked, "the second request", -1);
}

static int flush_first(void *arg)
{
	struct scene *sc = arg;
	struct flush f = { 0 };
	struct cpumask target = { 0 }, proved = { 0 };

	flush_make(&f, sc->s, 0, USER_END, 1, false);
	cpumask_set(&target, sc->cpu);
	preempt_disable();
	flush_find("nmi")->flush(&f, &target, &proved);
	preempt_enable();
	return 0;
}

// The second flush is requested while the first is being served. Returns the violations of the second.
static u64 two_requests(void)
{
	struct scene sc;
	struct thread *t = begin(&sc, "nmi", stay), *first;

	if (!EXPECT(t))
		return 0;
	spin_until(load_acquire(&sc.ready), "resident", -1);
	stall_point("nmi_flushed")->action = cache_again;
	stall_point("nmi_flushed")->arg = &sc;
	stall_point("nmi_flushed")->cpu = (int)sc.cpu;
	stall_arm(stall_point("nmi_flushed"), NULL, 0, 0, 0);
	first = mm_thread("first", flush_first, &sc, mm_other_cpu(1));
	if (EXPECT(first)) {
		spin_until(load_acquire(&sc.primed_again), "the first flush", -1);
		EXPECT_EQ(space_unmap(sc.s, BASE, PAGE_SIZE), 0);
		mm_join(first);
	}
	stall_release(stall_point("nmi_flushed"));
	return end(&sc, t) + (sc.left ? 100 : 0);
}

TEST(adversary, request_while_another_is_served, NEEDS_CPUS4)
{
	EXPECT_EQ(two_requests(), 0);
	WITH(nmi_late_ticket, EXPECT_EQ(two_requests(), 101));
}

// A CPU's entry was excused because the CPU owed a flush. Now it owes none any more, has not dropped the entry, and
// goes on: that is found at its next access at the latest.
TEST(adversary, access_with_what_was_owed, 0)
{
	struct space *s = space_create();
	u64 before = swmmu_violations();
	struct page *page;
	irqflags_t flags;
	paddr_t pa;

	REQUIRE(s);
	swmmu_quiet(true);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(s);
	flags = irq_save();
	EXPECT(swmmu_prime(cpu_id(), BASE) && swmmu_access(BASE, false, &pa));
	page = page_of(pa);
	oracle_expect_violations(true);
	WRITE_ONCE(this_cpu_ptr(&cpu_tlb)->lazy, 1);
	swmmu_page_freed(page, 0);
	WRITE_ONCE(this_cpu_ptr(&cpu_tlb)->lazy, 0);
	EXPECT_EQ(swmmu_violations() - before, 0);
	EXPECT(swmmu_access(BASE, false, &pa));
	EXPECT_EQ(swmmu_violations() - before, 1);
	EXPECT(swmmu_access(BASE, false, &pa));		// reported once
	EXPECT_EQ(swmmu_violations() - before, 1);
	oracle_expect_violations(false);
	irq_restore(flags);
	space_detach();
	space_put(s);
	swmmu_quiet(false);
}

// Entries that swmmu_vouch() declares flushed count no more, and are dropped before anything is cached or used again.
TEST(adversary, what_was_vouched_for_is_not_used, 0)
{
	struct space *s = space_create();
	u64 before = swmmu_violations();
	irqflags_t flags;

	REQUIRE(s);
	swmmu_quiet(true);
	EXPECT_EQ(space_map(s, BASE, 2 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(s);
	flags = irq_save();
	EXPECT(swmmu_prime(cpu_id(), BASE));
	swmmu_vouch(cpu_id());
	EXPECT(swmmu_has_leaf(cpu_id(), BASE));
	EXPECT(swmmu_prime(cpu_id(), BASE + PAGE_SIZE));
	EXPECT(!swmmu_has_leaf(cpu_id(), BASE));
	irq_restore(flags);
	space_detach();
	space_put(s);
	swmmu_quiet(false);
	EXPECT_EQ(swmmu_violations(), before);
}
#endif
