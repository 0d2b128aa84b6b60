// SPDX-License-Identifier: MIT
// Walks that are preempted in the middle, and flushes of CPUs that are preempted (docs/stolen-time.md).
//
// The thief preempts the walker at the stall point between the entry that names a table and that table, by an NMI that
// the walker's CPU sends to itself. Meanwhile another CPU unmaps. Under tlb_flush=pv with table_free=ipi the flush does
// not wait, and nothing else does: the bug of 2012.
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/table.h"
#include "mm/tlb.h"
#include "tests/lab/thief_help.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#define PV "pv"

static bool have_pv(void) { return !flush_missing(flush_find(PV)); }

#if CHECK

#define RESUME_NS (200 * NSEC_PER_USEC)	// after the unmapper has begun to flush

struct robbed_walk {
	struct walk_job job;
	unsigned cpu;		// of the walker
	bool let_go;		// … is released while the unmapper flushes; otherwise when the unmap has returned
	u32 there;
	bool robbed_still;	// when the unmap returned
	enum table_state state;	// of the table, then
	u64 wait_ns;		// how long the unmap took
};

static void be_robbed(struct stall_point *p, void *arg)
{
	struct robbed_walk *r = arg;

	preempt_disable();
	r->cpu = cpu_id();
	store_release(&r->there, 1u);
	thief_rob(cpu_id(), 0);
	preempt_enable();
}

// Runs in the unmapper, with the entries cleared: the walker's CPU is to run again soon, by itself.
static void let_go_soon(struct stall_point *p, void *arg) { thief_release_in(((struct robbed_walk *)arg)->cpu, RESUME_NS); }

static void arm(struct stall_point *p, void (*action)(struct stall_point *, void *), struct robbed_walk *r, int level)
{
	p->action = action;
	p->arg = r;
	stall_arm(p, r->job.s, BASE, BASE + PAGE_SIZE, level);
}

static void unmap_meanwhile(struct robbed_walk *r)
{
	struct page *table = mm_table(r->job.s, BASE, 1);
	u64 start = now_ns();

	EXPECT_EQ(space_unmap(r->job.s, BASE, PAGE_SIZE), 0);
	r->wait_ns = now_ns() - start;
	r->state = mm_state(table);
	r->robbed_still = thief_robs(r->cpu);
}

// One round. The space has a second L1 table, which keeps all tables above the first one.
static void walk_robbed(struct robbed_walk *r)
{
	struct thread *walker;

	EXPECT_EQ(space_map(r->job.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	r->there = 0;
	r->job.va = BASE;
	arm(stall_point("walk_level"), be_robbed, r, 2);
	walker = mm_thread("walker", walk_once, &r->job, mm_other_cpu(0));
	REQUIRE(walker);
	spin_until(load_acquire(&r->there), "walker", -1);
	thief_wait_robbed(r->cpu);
	if (r->let_go)
		arm(stall_point("flush_gen"), let_go_soon, r, 0);
	unmap_meanwhile(r);
	thief_release(r->cpu);
	mm_join(walker);
	stall_release(stall_point("flush_gen"));
	EXPECT_EQ(stall_point("walk_level")->hits, 1);
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(r->job.got, 0);
}

struct tally {
	unsigned violated, returned_early;	// rounds
	unsigned held;				// … after whose unmap the table waited for the walker
	u64 longest_ns;
};

// Every other walk is of a space that is not loaded on the walker's CPU.
static struct tally walks_robbed(const struct table_policy *p, const struct flush_backend *b, unsigned rounds, bool let_go)
{
	struct robbed_walk r = { .job.s = space_create_with(p, b), .let_go = let_go };
	struct tally t = { 0 };

	if (!EXPECT(r.job.s) || !EXPECT_EQ(space_map(r.job.s, BASE + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0))
		return t;
	for (unsigned i = 0; i < rounds && !test_failed(); i++) {
		u64 violations = oracle_violations();

		// What the last round deferred may wait for CPUs that walk. If it did so on this CPU, nobody would
		// release the next walker meanwhile.
		if (b->drain)
			b->drain();
		r.job.local = i % 2 == 0;
		walk_robbed(&r);
		t.violated += oracle_violations() > violations;
		t.returned_early += r.robbed_still;
		t.longest_ns = MAX(t.longest_ns, r.wait_ns);
		t.held += r.state == TABLE_FLUSHED;
	}
	space_put(r.job.s);
	if (p->drain)
		p->drain();
	log_info("%s+%s: %u walks preempted, %u violations, %u unmaps did not wait, longest unmap %llu us", b->name, p->name,
		 rounds, t.violated, t.returned_early, (unsigned long long)(t.longest_ns / 1000));
	return t;
}

// The walk is hit every time …
TEST(stolen, the_bug_of_2012, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct tally t;

	NEEDS_THE_THIEF();
	oracle_expect_violations(true);
	t = walks_robbed(policy_find("ipi"), flush_find(PV), 100, false);
	oracle_expect_violations(false);
	EXPECT_EQ(t.violated, 100);
	EXPECT_EQ(t.returned_early, 100);
}

// … and with `rcu` never: the table waits for the walker, the unmapper for nobody.
TEST(stolen, pv_rcu_does_not_wait, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct tally t;
	struct mm_balance b;

	NEEDS_THE_THIEF();
	mm_balance_begin(&b);
	t = walks_robbed(policy_find("rcu"), flush_find(PV), 100, false);
	EXPECT_EQ(t.violated, 0);
	EXPECT_EQ(t.returned_early, 100);
	EXPECT_EQ(t.held, 100);
	mm_balance_end(&b);
}

// A CPU that is flushed by its flag has taken no call. A policy that believed it had would not wait for the walk.
TEST(stolen, flag_is_not_proof, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct robbed_walk r = { .job.local = true };
	u64 violations = oracle_violations();

	NEEDS_THE_THIEF();
	r.job.s = space_create_with(policy_find("auto"), flush_find(PV));
	REQUIRE(r.job.s);
	EXPECT_EQ(space_map(r.job.s, BASE + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	oracle_expect_violations(true);
	mutant_set(flush_claims_targets, 1);
	walk_robbed(&r);
	mutant_set(flush_claims_targets, 0);
	oracle_expect_violations(false);
	EXPECT(r.robbed_still);
	EXPECT(oracle_violations() > violations);
	space_put(r.job.s);
}

// … nor with tlb_flush=ipi: the unmapper waits for the preempted CPU.
TEST(stolen, ipi_ipi_waits, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct tally t;

	NEEDS_THE_THIEF();
	t = walks_robbed(policy_find("ipi"), flush_find("ipi"), 100, true);
	EXPECT_EQ(t.violated, 0);
	EXPECT_EQ(t.returned_early, 0);
}

// 100 times where there is time (seconds=: the configuration all-pairs), otherwise ten.
TEST(stolen, no_safe_pair_is_hit, NEEDS_CPUS2 | NEEDS_CHECK)
{
	unsigned rounds = opt_seconds ? 100 : 10;

	NEEDS_THE_THIEF();
	FOR_EACH_BACKEND(b) {
		FOR_EACH_POLICY(p)
			if (!flush_missing(*b) && pair_verdict(*p, *b).safe)
				EXPECT_EQ(walks_robbed(*p, *b, rounds, true).violated, 0);
	}
}
#endif

// A CPU that has the page in its TLB, and looks again when the unmap has returned.
struct observer {
	struct space *s;
	vaddr_t va;
	unsigned cpu;
	u32 ready, returned;
	bool stale;
	bool switched;		// preempted in the middle of the switch to the space
	bool deaf;		// keeps interrupts off, so that no interrupt handler is preempted with its locks
};

static bool can_read(vaddr_t va)
{
	u64 value;

	return !arch_user_read64_nofault(va, &value);
}

static int observe(void *arg)
{
	struct observer *o = arg;
	irqflags_t flags;

	space_attach(o->s);
	preempt_disable();
	flags = irq_save();
	if (!o->deaf)
		irq_restore(flags);
	if (!o->switched) {
		EXPECT(can_read(o->va));
		o->cpu = cpu_id();
		store_release(&o->ready, 1u);
	}
	spin_until(load_acquire(&o->returned), "the unmap", -1);
	o->stale = can_read(o->va);
	if (o->deaf)
		irq_restore(flags);
	preempt_enable();
	space_detach();
	return 0;
}

// Takes another page each time, because an emulator's TLB has one way. The neighbour keeps the table.
static bool observer_begin(struct observer *o, unsigned number)
{
	*o = (struct observer){ .s = space_create_with(policy_find("rcu"), flush_find(PV)),
		.va = BASE + number % 32 * 7 * PAGE_SIZE };
	return EXPECT(o->s) && EXPECT_EQ(space_map(o->s, o->va, 2 * PAGE_SIZE, PROT_R | PROT_W, 1, MAP_POPULATE), 0);
}

static bool observer_end(struct observer *o, struct thread *t)
{
	store_release(&o->returned, 1u);
	mm_join(t);
	space_put(o->s);
	return o->stale;
}

// Whoever owns the records: CPUs that run, or that a real hypervisor preempts, drop what was unmapped.
TEST(stolen, pv_leaves_nothing_stale, NEEDS_CPUS2)
{
	if (!have_pv())
		SKIP("nobody owns the steal-time records");
	for (unsigned i = 0; i < 20 && !test_failed(); i++) {
		struct observer o;
		struct thread *t;

		REQUIRE(observer_begin(&o, i));
		t = mm_thread("observer", observe, &o, mm_other_cpu(i));
		spin_until(load_acquire(&o.ready), "observer", -1);
		EXPECT_EQ(space_unmap(o.s, o.va, PAGE_SIZE), 0);
		EXPECT(!observer_end(&o, t));
	}
}

// A preempted CPU is flagged, not interrupted, and flushes before it goes on. Returns true if something stale was read.
static bool unmap_while_robbed(unsigned number)
{
	struct counters before, after;
	struct observer o;
	struct thread *t;

	if (!observer_begin(&o, number))
		return false;
	o.deaf = true;
	t = mm_thread("observer", observe, &o, mm_other_cpu(number));
	spin_until(load_acquire(&o.ready), "observer", -1);
	thief_rob(o.cpu, 0);
	thief_wait_robbed(o.cpu);
	counters_snapshot(&before);
	EXPECT_EQ(space_unmap(o.s, o.va, PAGE_SIZE), 0);
	EXPECT(thief_robs(o.cpu));
	thief_release(o.cpu);
	thief_wait_back(o.cpu);
	counters_snapshot(&after);
	EXPECT_EQ(after.flush_pv_flagged - before.flush_pv_flagged, 1);
	return observer_end(&o, t);
}

TEST(stolen, flag_is_honoured, NEEDS_CPUS2)
{
	struct counters before, after;

	NEEDS_THE_THIEF();
	counters_snapshot(&before);
	for (unsigned i = 0; i < 20 && !test_failed(); i++)
		EXPECT(!unmap_while_robbed(i));
	counters_snapshot(&after);
	EXPECT_EQ(after.theft_flushes - before.theft_flushes, 20);
}

#if CHECK

#define MUTANT_ROUNDS 40	// a processor may drop an entry at any time: once is not enough to conclude that it never keeps one

// The same without the hypervisor's flush must read something stale: otherwise there was nothing to be flushed.
TEST(stolen, flag_must_be_honoured, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_HW)
{
	bool stale = false;

	NEEDS_THE_THIEF();
	oracle_expect_violations(true);
	mutant_set(steal_no_flush, 1);
	for (unsigned i = 0; i < MUTANT_ROUNDS && !stale && !test_failed(); i++)
		stale = unmap_while_robbed(i);
	mutant_set(steal_no_flush, 0);
	oracle_expect_violations(false);
	EXPECT_STALE(stale);
}

// The flag is set when the CPU is just about to run again, after its hypervisor has looked at the record.
static bool unmap_while_returning(unsigned number)
{
	struct observer o;
	struct thread *t;

	if (!observer_begin(&o, number))
		return false;
	o.deaf = true;
	t = mm_thread("observer", observe, &o, mm_other_cpu(number));
	spin_until(load_acquire(&o.ready), "observer", -1);
	thief_rob(o.cpu, 0);
	thief_wait_robbed(o.cpu);
	stall_arm(stall_point("steal_returning"), NULL, 0, 0, 0);
	thief_release(o.cpu);
	stall_wait_parked(stall_point("steal_returning"));
	EXPECT_EQ(space_unmap(o.s, o.va, PAGE_SIZE), 0);
	stall_release(stall_point("steal_returning"));
	thief_wait_back(o.cpu);
	return observer_end(&o, t);
}

// CVE-2019-3016: KVM cleared `preempted` by a plain store, and with it a flag that had been set after it had looked.
TEST(stolen, cve_2019_3016, NEEDS_CPUS2 | NEEDS_CHECK | NEEDS_HW)
{
	bool stale = false;

	NEEDS_THE_THIEF();
	for (unsigned i = 0; i < 10 && !test_failed(); i++)
		EXPECT(!unmap_while_returning(i));
	oracle_expect_violations(true);
	mutant_set(steal_plain_store, 1);
	for (unsigned i = 0; i < MUTANT_ROUNDS && !stale && !test_failed(); i++)
		stale = unmap_while_returning(i);
	mutant_set(steal_plain_store, 0);
	oracle_expect_violations(false);
	EXPECT_STALE(stale);
}

static void rob_in_the_switch(struct stall_point *p, void *arg)
{
	struct observer *o = arg;

	if (p == stall_point("tlb_loaded"))
		EXPECT(can_read(o->va));
	o->cpu = cpu_id();
	store_release(&o->ready, 1u);
	thief_rob(cpu_id(), 0);
}

// A CPU is preempted in the middle of a switch of address space, before or after the root is loaded: it is flagged, and
// reads nothing stale.
static void switch_robbed(struct stall_point *p, unsigned number)
{
	struct observer o;
	struct thread *t;

	if (!observer_begin(&o, number))
		return;
	o.switched = true;
	p->action = rob_in_the_switch;
	p->arg = &o;
	stall_arm(p, o.s, 0, 0, 0);
	t = mm_thread("observer", observe, &o, mm_other_cpu(number));
	spin_until(load_acquire(&o.ready), "observer", -1);
	thief_wait_robbed(o.cpu);
	EXPECT_EQ(space_unmap(o.s, o.va, PAGE_SIZE), 0);
	EXPECT(thief_robs(o.cpu));
	thief_release(o.cpu);
	thief_wait_back(o.cpu);
	EXPECT(!observer_end(&o, t));
	stall_release(p);
}

TEST(stolen, in_a_switch_of_space, NEEDS_CPUS2 | NEEDS_CHECK)
{
	NEEDS_THE_THIEF();
	for (unsigned i = 0; i < 10 && !test_failed(); i++) {
		switch_robbed(stall_point("tlb_joined"), i);
		switch_robbed(stall_point("tlb_loaded"), i);
	}
}
#endif
