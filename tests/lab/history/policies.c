// SPDX-License-Identifier: MIT
// What each policy stands on, shown twice by the same scene: a walk is held in a gap between two steps while its tables
// are taken away. With all steps in place nobody is harmed; with one step taken out (a mutant) the oracle reports.
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/inject.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/tree.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"
#include <arch/ipi.h>
#include <arch/machine.h>

#if CHECK
STALL_DECLARE(hazard_read);
MUTANT_DECLARE(ipi_no_join);
MUTANT_DECLARE(targeted_no_publish);
MUTANT_DECLARE(targeted_one_slot);
MUTANT_DECLARE(hazard_no_reread);
MUTANT_DECLARE(hazard_no_retry);
MUTANT_DECLARE(hazard_one_level);
STALL_DECLARE(targeted_entered);
MUTANT_DECLARE(batch_no_grace_period);
MUTANT_DECLARE(rcu_fallback_no_sync);
MUTANT_DECLARE(rcu_sync_fallback_no_wait);
MUTANT_DECLARE(rcu_page_no_grace_period);

struct scene {
	const char *policy;
	struct stall_point *point;	// where the walk is held
	int level;			// of the entry that it has read there
	bool no_memory;			// the unmapper can allocate nothing
	void (*nested)(struct scene *);	// a walk in the middle of the held walk
	void (*after)(struct scene *);	// the walk has ended, nothing has been drained
	struct walk_job job;
	struct page *table[PT_LEVELS];	// by level - 1
	u32 there, returned;
	u64 awaited;
};

static u64 fallbacks(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.table_fallbacks;
}

// A walk of another space in an NMI, by the policy's compiled walk: walk_pin_fast() is not for NMIs, since a put may
// free. Here the mapping keeps the page.
static struct {
	struct space *s;
	u32 wanted;
	unsigned got;
	struct page *page;
} inner;

static void walk_in_nmi(void)
{
	if (!READ_ONCE(inner.wanted))
		return;
	inner.got = inner.s->policy->walk(inner.s, BASE, 1, false, &inner.page);
	WRITE_ONCE(inner.wanted, 0);
}
NMI_HANDLER(walk_in_nmi);

static void nest_an_nmi(struct scene *sc)
{
	WRITE_ONCE(inner.wanted, 1);
	arch_send_ipi(cpu_id(), IPI_NMI);
	spin_until(!READ_ONCE(inner.wanted), "the walk in the NMI", -1);
	if (inner.got)
		page_unpin(inner.page, false);
}

static void nest_an_nmi_there(struct scene *sc)
{
	inner.s = sc->job.s;
	nest_an_nmi(sc);
}

static void walk_in_interrupt(void *unused)
{
	EXPECT(in_irq());
	inner.got = walk_pin_fast(inner.s, BASE, 1, false, &inner.page);
	WRITE_ONCE(inner.wanted, 0);
}
static struct xcall interrupt = { .fn = walk_in_interrupt };

// On another CPU: a call to the own one would come as no interrupt.
static void interrupt_the_walker(void *cpu) { EXPECT(xcall_async((unsigned)(uintptr_t)cpu, &interrupt)); }
static struct xcall to_be_interrupted = { .fn = interrupt_the_walker };

static void nest_an_interrupt(struct scene *sc)
{
	WRITE_ONCE(inner.wanted, 1);
	to_be_interrupted.arg = (void *)(uintptr_t)cpu_id();
	EXPECT(xcall_async(mm_other_cpu(0), &to_be_interrupted));
	spin_until(!READ_ONCE(inner.wanted), "the walk in the interrupt", -1);
	if (inner.got)
		page_unpin(inner.page, false);
}

// The walker, held: until the unmapper waits for it, as its policy may have it do, or is back. If it is back, the oracle
// will say whether that was too early.
static void hold_until_awaited(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	if (sc->nested)
		sc->nested(sc);
	sc->awaited = walk_awaited();
	store_release(&sc->there, 1u);
	spin_until(walk_awaited() != sc->awaited || load_acquire(&sc->returned), "the unmapper", -1);
}

// The same for a mutant, which does not wait.
static void hold_until_back(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	if (sc->nested)
		sc->nested(sc);
	store_release(&sc->there, 1u);
	spin_until(load_acquire(&sc->returned), "the unmapper", -1);
}

static void unmap_under_walk(struct scene *sc)
{
	struct thread *walker = mm_thread("walker", walk_once, &sc->job, mm_other_cpu(0));

	REQUIRE(walker);
	spin_until(load_acquire(&sc->there), "walker", -1);
	if (sc->no_memory)
		inject_alloc_failures_from(1);
	EXPECT_EQ(space_unmap(sc->job.s, BASE, PAGE_SIZE), 0);
	inject_alloc_failure(0);
	store_release(&sc->returned, 1u);
	mm_join(walker);
}

// One page and its tables go while a walk of another CPU, which runs in no space, is held. How often the oracle spoke.
static u64 play(struct scene *sc, void (*hold)(struct stall_point *, void *))
{
	const struct table_policy *p = policy_find(sc->policy);
	u64 violations = oracle_violations();
	struct space *s = space_create_with(p, flush_find("ipi"));

	if (!EXPECT(s))
		return 0;
	sc->there = sc->returned = 0;
	sc->job = (struct walk_job){ .s = s, .va = BASE };
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	for (int level = 1; level < PT_LEVELS; level++)
		sc->table[level - 1] = mm_table(s, BASE, level);
	sc->point->action = hold;
	sc->point->arg = sc;
	stall_arm(sc->point, s, 0, 0, sc->level);
	unmap_under_walk(sc);
	EXPECT_EQ(sc->point->hits, 1);
	stall_release(sc->point);
	EXPECT_EQ(sc->job.got, 0);
	if (sc->after)
		sc->after(sc);
	if (p->drain)
		p->drain();
	for (int level = 1; level < PT_LEVELS; level++)
		EXPECT_EQ(mm_state(sc->table[level - 1]), TABLE_FREE);
	space_put(s);
	return oracle_violations() - violations;
}

static void expect_clean(struct scene *sc)
{
	struct mm_balance b;

	mm_balance_begin(&b);
	EXPECT_EQ(play(sc, hold_until_awaited), 0);
	mm_balance_end(&b);
}

static void expect_convicted(struct scene *sc)
{
	oracle_expect_violations(true);
	EXPECT(play(sc, hold_until_back) > 0);
	oracle_expect_violations(false);
}

#define WITH(mutant, what) do { mutant_set(mutant, 1); what; mutant_set(mutant, 0); } while (0)

// The oracle speaks twice: the walker is no target, and a table of its path is freed.
TEST(history, remote_walker_in_no_mask, NEEDS_CPUS2)
{
	struct scene sc = { .policy = "ipi", .point = &stall_walk_level, .level = 2 };
	struct violation v[2] = { 0 };

	expect_clean(&sc);
	oracle_reset();
	WITH(ipi_no_join, expect_convicted(&sc));
	EXPECT_EQ(oracle_records(v, 2), 2);
	EXPECT_EQ(v[0].kind, VIOLATION_NO_TARGET);
	EXPECT_EQ(v[1].kind, VIOLATION_WALK);
}

TEST(history, batch_freed_before_its_grace_period, NEEDS_CPUS2)
{
	struct scene rcu = { .policy = "rcu", .point = &stall_walk_level, .level = 2 };
	struct scene rcu_sync = { .policy = "rcu-sync", .point = &stall_walk_level, .level = 3 };

	expect_clean(&rcu);
	expect_clean(&rcu_sync);
	WITH(batch_no_grace_period, expect_convicted(&rcu); expect_convicted(&rcu_sync));
}

TEST(history, table_freed_before_its_grace_period, NEEDS_CPUS2)
{
	struct scene sc = { .policy = "rcu-page", .point = &stall_walk_level, .level = 2 };

	expect_clean(&sc);
	WITH(rcu_page_no_grace_period, expect_convicted(&sc));
}

TEST(history, fallback_that_does_not_wait, NEEDS_CPUS2)
{
	struct scene rcu = { .policy = "rcu", .point = &stall_walk_level, .level = 2, .no_memory = true };
	struct scene rcu_sync = { .policy = "rcu-sync", .point = &stall_walk_level, .level = 2, .no_memory = true };
	u64 before = fallbacks();

	expect_clean(&rcu);
	EXPECT_EQ(fallbacks() - before, 1);		// one wait for all tables
	expect_clean(&rcu_sync);
	WITH(rcu_fallback_no_sync, expect_convicted(&rcu));
	WITH(rcu_sync_fallback_no_wait, expect_convicted(&rcu_sync));
}

// The Dekker race: were the slot not visible before the first read, the freer would look at it in vain.
TEST(history, targeted_dekker, NEEDS_CPUS2)
{
	struct scene sc = { .policy = "targeted", .point = &stall_walk_level, .level = 4 };
	struct scene entered = { .policy = "targeted", .point = &stall_targeted_entered };

	expect_clean(&sc);
	expect_clean(&entered);		// published, nothing read
	WITH(targeted_no_publish, expect_convicted(&sc));
}

static void begin_inner(const char *policy)
{
	inner.s = space_create_with(policy_find(policy), flush_find("ipi"));
	REQUIRE(inner.s);
	EXPECT_EQ(space_map(inner.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
}

// The walk in the NMI ends; the one that it has interrupted goes on, and must still be seen.
TEST(history, targeted_nmi_nesting, NEEDS_CPUS2)
{
	struct scene sc = { .policy = "targeted", .point = &stall_walk_level, .level = 2, .nested = nest_an_nmi };

	begin_inner("targeted");
	expect_clean(&sc);
	EXPECT_EQ(inner.got, 1);
	WITH(targeted_one_slot, expect_convicted(&sc));
	space_put(inner.s);
}

// The entry is read, the table not yet named: it may go, for the entry is read again.
TEST(history, hazard_dekker, NEEDS_CPUS2)
{
	struct scene sc = { .policy = "hazard", .point = &stall_hazard_read, .level = 2 };
	struct mm_balance b;

	mm_balance_begin(&b);
	EXPECT_EQ(play(&sc, hold_until_back), 0);
	mm_balance_end(&b);
	WITH(hazard_no_reread, expect_convicted(&sc));
}

// As targeted_nmi_nesting: the inner walk withdraws its own names, not those of the walk that it has interrupted.
TEST(history, hazard_nmi_nesting, NEEDS_CPUS2)
{
	struct scene sc = { .policy = "hazard", .point = &stall_walk_level, .level = 2, .nested = nest_an_nmi };

	begin_inner("hazard");
	expect_clean(&sc);
	EXPECT_EQ(inner.got, 1);
	WITH(hazard_one_level, expect_convicted(&sc));
	space_put(inner.s);
}

// The inner walk of the same space leaves the CPU in the walkers' mask: the outer one has joined it.
TEST(history, ipi_nmi_nesting, NEEDS_CPUS2)
{
	struct scene sc = { .policy = "ipi", .point = &stall_walk_level, .level = 2, .nested = nest_an_nmi_there };

	expect_clean(&sc);
	EXPECT_EQ(inner.got, 1);
}

// The same for an interrupt: a walk by hazard pointers leaves them on.
TEST(history, hazard_interrupt_nesting, NEEDS_CPUS2)
{
	struct scene sc = { .policy = "hazard", .point = &stall_walk_level, .level = 2, .nested = nest_an_interrupt };

	begin_inner("hazard");
	expect_clean(&sc);
	EXPECT_EQ(inner.got, 1);
	WITH(hazard_one_level, expect_convicted(&sc));
	space_put(inner.s);
}

// Held with the upper tables named: those wait, while the one below, which is not named, is freed. The walker must not
// find its way to it: the upper table's entry was cleared, although the upper table itself was going.
TEST(history, hazard_detached_subtree, NEEDS_CPUS2)
{
	struct scene sc = { .policy = "hazard", .point = &stall_hazard_read, .level = 2 };

	expect_clean(&sc);
	WITH(tree_lower_entry_left, expect_convicted(&sc));
}

struct hazard_watch {
	struct scene sc;
	enum table_state upper, lower;	// when the unmapper was back
};

static void note_states(struct stall_point *p, void *arg)
{
	struct hazard_watch *w = container_of((struct scene *)arg, struct hazard_watch, sc);

	hold_until_back(p, arg);
	w->upper = mm_state(w->sc.table[1]);
	w->lower = mm_state(w->sc.table[0]);
}

TEST(walk, hazard_keeps_what_is_named, NEEDS_CPUS2)
{
	struct hazard_watch w = { .sc = { .policy = "hazard", .point = &stall_hazard_read, .level = 2 } };

	EXPECT_EQ(play(&w.sc, note_states), 0);
	EXPECT_EQ(w.upper, TABLE_FLUSHED);
	EXPECT_EQ(w.lower, TABLE_FREE);
}

static enum table_state retired_state;

static void pass_a_grace_period(struct scene *sc)
{
	EXPECT_EQ(mm_state(sc->table[0]), TABLE_FREE);
	rcu_barrier();
	retired_state = mm_state(sc->table[1]);
}

// What a walker had named is freed after it has left, though nobody frees anything any more.
TEST(walk, hazard_retired_is_freed_by_itself, NEEDS_CPUS2)
{
	struct scene sc = { .policy = "hazard", .point = &stall_hazard_read, .level = 2, .after = pass_a_grace_period };

	EXPECT_EQ(play(&sc, hold_until_back), 0);
	EXPECT_EQ(retired_state, TABLE_FREE);
	WITH(hazard_no_retry, EXPECT_EQ(play(&sc, hold_until_back), 0));
	EXPECT_EQ(retired_state, TABLE_FLUSHED);
}
#endif
