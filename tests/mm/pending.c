// SPDX-License-Identifier: MIT
// Memory pressure: one CPU is preempted in the middle of a walk, so that no grace period can end, while another unmaps
// as fast as it can. The pages that pile up stay within pending_max, under every policy; below it nobody waits.
#include "kernel/log.h"
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/test.h"
#include "lab/thief.h"
#include "mm/pending.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/kernel/rcu/readers.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK

#define BOUND 128
#define OPERATIONS (4 * BOUND)		// these would unlink several times as many tables
struct pressure {
	u64 ns;			// how long the walker stays preempted after the unmapper has begun to wait
	u64 operations, most, waits, hurries, longest_ns;	// of the unmapper meanwhile
	struct counters before;
	u32 robbed, back, enough;
	unsigned victim;
};

static void be_robbed(struct stall_point *p, void *arg)
{
	struct pressure *pr = arg;

	pr->victim = cpu_id();
	store_release(&pr->robbed, 1u);
	thief_rob(cpu_id(), 0);
	store_release(&pr->back, 1u);
}

static struct counters counted(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c;
}

// A thread of its own, because the unmapper is waiting.
static int release_the_victim(void *arg)
{
	struct pressure *pr = arg;

	while (!READ_ONCE(pr->enough) && counted().pending_waits == pr->before.pending_waits)
		thread_sleep_ns(NSEC_PER_MSEC);
	thief_release_in(pr->victim, pr->ns);
	return 0;
}

// Map and unmap a page, each time with its own tables of all levels, until the other CPU is back. That CPU comes back
// only when this one has had to wait, or has done so many.
static void unmap_meanwhile(struct space *s, struct pressure *pr)
{
	struct thread *releaser;
	struct counters after;

	thief_wait_robbed(pr->victim);
	pr->before = counted();
	releaser = mm_thread("releaser", release_the_victim, pr, cpu_id());
	for (; !load_acquire(&pr->back) && pr->operations < OPERATIONS; pr->operations++) {
		vaddr_t va = BASE + pr->operations % 64 * level_size(4);
		u64 start;

		EXPECT_EQ(space_map(s, va, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		start = now_ns();
		EXPECT_EQ(space_unmap(s, va, PAGE_SIZE), 0);
		pr->longest_ns = MAX(pr->longest_ns, now_ns() - start);
		pr->most = MAX(pr->most, tables_waiting());
	}
	WRITE_ONCE(pr->enough, 1u);
	mm_join(releaser);
	after = counted();
	pr->waits = after.pending_waits - pr->before.pending_waits;
	pr->hurries = after.pending_hurries - pr->before.pending_hurries;
}

static void press(const struct table_policy *p, struct pressure *pr)
{
	struct space *s = space_create_with(p, flush_find("ipi")), *walked = space_create_with(p, flush_find("ipi"));
	struct walk_job job = { .s = walked, .va = BASE };
	struct thread *walker;

	REQUIRE(s && walked);
	EXPECT_EQ(space_map(walked, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	stall_point("walk_level")->action = be_robbed;
	stall_point("walk_level")->arg = pr;
	stall_arm(stall_point("walk_level"), walked, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_once, &job, mm_other_cpu(0));
	REQUIRE(walker);
	spin_until(load_acquire(&pr->robbed), "walker", -1);
	unmap_meanwhile(s, pr);
	mm_join(walker);
	stall_release(stall_point("walk_level"));
	if (job.got)
		page_unpin(job.page, false);
	space_put(s);
	space_put(walked);
	log_info("%s, a CPU preempted, for %lu ms more if somebody waits: %lu unmaps, at most %lu tables waited, %lu waits, "
		 "longest unmap %lu us", p->name, (u64)(pr->ns / NSEC_PER_MSEC), pr->operations, pr->most, pr->waits,
		 (u64)(pr->longest_ns / NSEC_PER_USEC));
}

static bool no_thief(void)
{
	if (!thief_works())
		test_skip("the thief does not own the steal-time records");
	return !thief_works();
}

static void each_policy(u64 ns)
{
	u64 old = pending_set_max(BOUND), waits = 0;
	struct mm_balance b;

	mm_balance_begin(&b);
	FOR_EACH_POLICY(p) {
		struct pressure pr = { .ns = ns };

		press(*p, &pr);
		EXPECT(pr.most <= BOUND);
		EXPECT(pr.waits || pr.operations == OPERATIONS);
		if (!(*p)->drain)		// nothing is deferred: nothing to wait for
			EXPECT_EQ(pr.waits, 0);
		waits += pr.waits;
	}
	EXPECT(waits > 0);
	mm_balance_end(&b);
	pending_set_max(old);
}

TEST(pending, bounded_while_a_cpu_is_stolen, NEEDS_CPUS2)
{
	if (!no_thief())
		each_policy(20 * NSEC_PER_MSEC);
}

TEST(pending, bounded_for_500_ms, NEEDS_CPUS2 | NEEDS_SLOW_OK)
{
	if (!no_thief())
		each_policy(500 * NSEC_PER_MSEC);
}

// Without the wait the bound does not hold.
TEST(pending, the_wait_is_needed, NEEDS_CPUS2)
{
	struct pressure pr = { .ns = 0 };
	u64 old;

	if (no_thief())
		return;
	old = pending_set_max(BOUND);
	mutant_set(pending_no_wait, 1);
	press(policy_find("rcu-page"), &pr);
	mutant_set(pending_no_wait, 0);
	EXPECT(pr.most > BOUND);
	EXPECT_EQ(pr.waits, 0);
	EXPECT(pr.hurries > 0);		// over the watermark the grace period is expedited
	rcu_barrier();
	pending_set_max(old);
}

// Nobody is preempted, and the bound is far away.
TEST(pending, nobody_waits_below, 0)
{
	struct space *s = space_create();
	u64 waits = counted().pending_waits;

	REQUIRE(s);
	for (unsigned i = 0; i < 16; i++) {
		EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	}
	space_put(s);
	EXPECT_EQ(counted().pending_waits - waits, 0);
	EXPECT(pending_max() >= 64);
}

// ---- Until the page is FREE ----------------------------------------------------------------------------------------------

struct credits {
	struct space *s;
	u32 there, go;
	s64 out_before, out;
	u64 waiting_before, waiting;
};

static void count_credits(struct stall_point *p, void *arg)
{
	struct credits *c = arg;

	c->waiting = tables_waiting();
	c->out = pending_in_use();
}

// Runs in the space, so that there is a CPU for whose sake the flush is deferred.
static int run_there(void *arg)
{
	struct credits *c = arg;
	irqflags_t flags;

	space_attach(c->s);
	flags = irq_save();
	store_release(&c->there, 1u);
	spin_until(load_acquire(&c->go), "the unmap", -1);
	irq_restore(flags);
	space_detach();
	return 0;
}

// The first of the tables is FREE: no longer counted as waiting, and its page not yet returned. Its credit is still
// out, as are those of all other tables that wait, and that of the frame if its flush was deferred.
static void count_while_freeing(const struct table_policy *p, bool defer)
{
	struct credits c = { .s = space_create_with(p, flush_find(defer ? "lazy" : "ipi")) };
	struct thread *t;

	REQUIRE(c.s);
	EXPECT_EQ(space_map(c.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	mm_settled_frames();
	c.out_before = pending_in_use();
	c.waiting_before = tables_waiting();
	t = defer ? mm_thread("resident", run_there, &c, mm_other_cpu(0)) : NULL;
	if (t)
		spin_until(load_acquire(&c.there), "resident", -1);
	stall_point("table_freeing")->action = count_credits;
	stall_point("table_freeing")->arg = &c;
	stall_arm(stall_point("table_freeing"), NULL, 0, 0, 0);
	EXPECT_EQ(space_unmap(c.s, BASE, PAGE_SIZE), 0);
	store_release(&c.go, 1u);
	if (t)
		mm_join(t);
	if (p->keeps)		// the end of the space frees its tables
		space_put(c.s);
	mm_settled_frames();
	EXPECT_EQ(stall_point("table_freeing")->hits, 1);
	stall_release(stall_point("table_freeing"));
	EXPECT(c.out - c.out_before >= (s64)(c.waiting - c.waiting_before) + 1 + defer);
	if (!p->keeps)
		space_put(c.s);
}

TEST(pending, credit_is_out_until_the_page_is_free, NEEDS_CPUS2)
{
	FOR_EACH_POLICY(p)
		count_while_freeing(*p, false);
	count_while_freeing(policy_find("immediate"), true);
}

// One thread takes all credits that a CPU keeps in order to put them into the pool. Another looks meanwhile, finds
// none, and goes to sleep. It is woken when the first thread stores the credits that it had in hand, not only when
// something is freed.
struct in_hand {
	struct thread *sleeper;
	u32 there, done;
};

static void until_the_other_sleeps(struct stall_point *p, void *arg)
{
	struct in_hand *h = arg;

	store_release(&h->there, 1u);
	spin_until(load_acquire(&h->sleeper) && READ_ONCE(h->sleeper->state) == THREAD_SLEEPING && !load_acquire(&h->sleeper->on_cpu),
		   "the other", -1);
}

static int take_one(void *unused)
{
	pending_take(1);
	return 0;
}

static int take_one_and_say(void *arg)
{
	struct in_hand *h = arg;

	pending_take(1);
	store_release(&h->done, 1u);
	return 0;
}

TEST(pending, no_wake_up_is_lost_to_credits_in_hand, NEEDS_CPUS2)
{
	u64 max = 32 * nr_cpus, kept = 8, old = pending_set_max(max);	// what a CPU keeps: a quarter of all, shared
	struct mm_balance b;
	struct in_hand h = { 0 };
	struct thread *taker, *sleeper;
	bool taken;

	mm_balance_begin(&b);
	EXPECT_EQ(pending_set_max(max), max);		// all of them are in the pool
	taken = pending_try((unsigned)(max - kept));	// the rest is kept by this CPU
	stall_point("pending_in_hand")->action = until_the_other_sleeps;
	stall_point("pending_in_hand")->arg = &h;
	stall_point("pending_in_hand")->cpu = (int)mm_other_cpu(0);
	stall_arm(stall_point("pending_in_hand"), NULL, 0, 0, 0);
	taker = mm_thread("taker", take_one, NULL, mm_other_cpu(0));
	spin_until(load_acquire(&h.there), "taker", -1);
	sleeper = mm_thread("sleeper", take_one_and_say, &h, cpu_id());
	store_release(&h.sleeper, sleeper);
	mm_join(taker);
	EXPECT(EVENTUALLY(load_acquire(&h.done)));
	stall_release(stall_point("pending_in_hand"));
	pending_put((unsigned)(max - kept));
	EXPECT(taken);
	mm_join(sleeper);
	pending_put(2);
	pending_set_max(old);
	mm_balance_end(&b);
}

// ---- One unmap has more tables than there are credits -------------------------------------------------------------------

struct large_unmap {
	struct space *s;
	u64 len;
	u32 returned;
};

static int unmap_all(void *arg)
{
	struct large_unmap *u = arg;

	EXPECT_EQ(space_unmap(u->s, BASE, u->len), 0);
	WRITE_ONCE(u->returned, 1);
	return 0;
}

// An unmap that needs more credits than there are would wait for the tables that it has collected itself. So it
// releases these first, under every policy.
TEST(pending, more_tables_than_credits_in_one_unmap, 0)
{
	enum { TABLES = 2 * BOUND };
	struct mm_balance b;

	mm_balance_begin(&b);
	FOR_EACH_POLICY(p) {
		struct large_unmap u = { .s = space_create_with(*p, flush_find("ipi")), .len = TABLES * level_size(2) };
		u64 old;
		struct thread *t;

		REQUIRE(u.s);
		EXPECT_EQ(space_map(u.s, BASE, u.len, RW, 1, 0), 0);
		for (unsigned i = 0; i < TABLES; i++)
			EXPECT_EQ(space_fault(u.s, BASE + i * level_size(2), true), 0);
		old = pending_set_max(BOUND);
		t = mm_thread("unmapper", unmap_all, &u, CPU_ANY);
		EXPECT(EVENTUALLY(READ_ONCE(u.returned)));
		pending_set_max(old);
		pending_put(0);			// wakes an unmapper that waits in vain
		mm_join(t);
		space_put(u.s);
	}
	mm_balance_end(&b);
}
#endif
