// SPDX-License-Identifier: MIT
// The two grace periods of policies that look again at what they have kept (`drain` in mm/policy/): when it returns,
// everything is FREE that was kept before. The first is for the walkers that it is kept for, the second for another CPU
// that has just found a table free.
#include "kernel/rcu/rcu.h"
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/table.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK

struct keeper {
	const char *policy;
	const char *no_retry;		// mutant: nothing is freed except by a later `free` or the drain
	const char *draining, *found;	// stall points: the drain is about to look; a CPU has found tables free
};
static const struct keeper hazard = { "hazard", "hazard_no_retry", "hazard_draining", "hazard_found" };
static const struct keeper epoch = { "epoch", "epoch_no_retry", "epoch_draining", "epoch_found" };

struct scene {
	const struct keeper *keeper;
	struct walk_job job;
	struct page *table;		// kept
	struct completion look;
	u32 draining, found, drained;
	enum table_state state;		// of the table, when the drain had returned
};

static struct thread *walker;

// The walker is in the table.
static bool begin_a_walk(struct scene *sc, const struct keeper *k)
{
	*sc = (struct scene){ .keeper = k,
		.job = { .s = space_create_with(policy_find(k->policy), flush_find("ipi")), .va = BASE } };
	completion_init(&sc->look);
	rcu_barrier();			// no scan of an earlier test is left; with the mutant no new one comes by itself
	if (!EXPECT(sc->job.s) || !EXPECT_EQ(space_map(sc->job.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0))
		return false;
	sc->table = mm_table(sc->job.s, BASE, 1);
	stall_arm(stall_point("walk_leaf"), sc->job.s, BASE, BASE + PAGE_SIZE, 1);
	walker = mm_thread("walker", walk_once, &sc->job, mm_other_cpu(0));
	if (!walker)
		return false;
	stall_wait_parked(stall_point("walk_leaf"));
	return true;
}

// The table is unmapped, and so kept.
static bool unmap(struct scene *sc)
{
	EXPECT_EQ(space_unmap(sc->job.s, BASE, PAGE_SIZE), 0);
	return EXPECT_EQ(mm_state(sc->table), TABLE_FLUSHED);
}

static bool unmap_under_a_walk(struct scene *sc, const struct keeper *k) { return begin_a_walk(sc, k) && unmap(sc); }

static void end_the_walk(struct scene *sc)
{
	stall_release(stall_point("walk_leaf"));
	mm_join(walker);
	EXPECT_EQ(sc->job.got, 0);
}

static int drain(void *arg)
{
	struct scene *sc = arg;

	policy_find(sc->keeper->policy)->drain();
	sc->state = mm_state(sc->table);
	store_release(&sc->drained, 1u);
	return 0;
}

static void drain_waits_for_the_walk(const struct keeper *k)
{
	struct thread *drainer;
	struct scene sc;

	mutant_turn_or_fail(k->no_retry, true);		// nothing is freed meanwhile except by the drain
	if (unmap_under_a_walk(&sc, k)) {
		drainer = mm_thread("drainer", drain, &sc, cpu_id());
		EXPECT(EVENTUALLY(READ_ONCE(sc.drained) || (drainer && READ_ONCE(drainer->state) == THREAD_SLEEPING)));
		EXPECT(!sc.drained);
		end_the_walk(&sc);
		mm_join(drainer);
		EXPECT_EQ(sc.state, TABLE_FREE);
		space_put(sc.job.s);
	}
	mutant_turn_or_fail(k->no_retry, false);
}

TEST(walk, hazard_drain_waits_for_who_names, NEEDS_CPUS2) { drain_waits_for_the_walk(&hazard); }
TEST(walk, epoch_drain_waits_for_who_walks, NEEDS_CPUS2) { drain_waits_for_the_walk(&epoch); }

static void let_another_find_it(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	WRITE_ONCE(sc->draining, 1);
	wait_for_completion(&sc->look);
}

// Hold the finder until the drain waits, and then long enough for the drain to overtake it; or until the drain has
// returned.
static void hold_what_is_found(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;
	u64 waits = policy_waits();

	store_release(&sc->found, 1u);
	spin_until(policy_waits() != waits || load_acquire(&sc->drained), "the drain", -1);
	WHILE_OTHERS_RUN(8)
		if (READ_ONCE(sc->drained))
			break;
}

// Every `free` looks at what is kept.
static int free_another(void *keeper)
{
	const struct keeper *k = keeper;
	struct space *s = space_create_with(policy_find(k->policy), flush_find("ipi"));

	if (!EXPECT(s))
		return 0;
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	space_put(s);
	return 0;
}

static void drain_waits_for_who_has_found(const struct keeper *k)
{
	struct stall_point *draining = stall_point(k->draining), *found = stall_point(k->found);
	struct thread *drainer, *finder;
	struct scene sc;

	mutant_turn_or_fail(k->no_retry, true);
	if (unmap_under_a_walk(&sc, k)) {
		end_the_walk(&sc);
		draining->action = let_another_find_it;
		draining->arg = &sc;
		stall_arm(draining, NULL, 0, 0, 0);
		found->action = hold_what_is_found;
		found->arg = &sc;
		found->cpu = (int)mm_other_cpu(0);
		stall_arm(found, NULL, 0, 0, 0);
		drainer = mm_thread("drainer", drain, &sc, cpu_id());
		EXPECT(EVENTUALLY(READ_ONCE(sc.draining)));
		finder = mm_thread("finder", free_another, (void *)k, mm_other_cpu(0));
		EXPECT(EVENTUALLY(READ_ONCE(sc.found)));
		complete_all(&sc.look);
		mm_join(drainer);
		mm_join(finder);
		EXPECT_EQ(sc.state, TABLE_FREE);
		EXPECT_EQ(found->hits, 1);
		stall_release(draining);
		stall_release(found);
		space_put(sc.job.s);
	}
	mutant_turn_or_fail(k->no_retry, false);
}

TEST(walk, hazard_drain_waits_for_who_has_found, NEEDS_CPUS2) { drain_waits_for_who_has_found(&hazard); }
TEST(walk, epoch_drain_waits_for_who_has_found, NEEDS_CPUS2) { drain_waits_for_who_has_found(&epoch); }

// Unmap a table while another CPU has emptied the list and has finished its look: the list is not empty then, whatever
// that CPU has found.
static void unmap_behind_another_look(struct scene *first, struct scene *second)
{
	struct stall_point *found = stall_point(first->keeper->found);
	struct thread *finder;

	found->action = hold_what_is_found;
	found->arg = first;
	found->cpu = (int)mm_other_cpu(1);
	stall_arm(found, NULL, 0, 0, 0);
	finder = mm_thread("finder", free_another, (void *)first->keeper, mm_other_cpu(1));
	EXPECT(EVENTUALLY(READ_ONCE(first->found)));
	unmap(second);
	store_release(&first->drained, 1u);	// the finder goes on
	mm_join(finder);
	EXPECT_EQ(found->hits, 1);
	stall_release(found);
}

static void list_refilled_behind_a_look(const struct keeper *k)
{
	struct scene first, second;

	mutant_turn_or_fail(k->no_retry, true);
	if (unmap_under_a_walk(&first, k)) {
		end_the_walk(&first);
		if (begin_a_walk(&second, k)) {
			unmap_behind_another_look(&first, &second);
			end_the_walk(&second);
			policy_find(k->policy)->drain();
			EXPECT_EQ(mm_state(first.table), TABLE_FREE);
			EXPECT_EQ(mm_state(second.table), TABLE_FREE);
			space_put(second.job.s);
		}
		space_put(first.job.s);
	}
	mutant_turn_or_fail(k->no_retry, false);
}

TEST(walk, hazard_list_refilled_behind_a_look, NEEDS_CPUS4) { list_refilled_behind_a_look(&hazard); }
TEST(walk, epoch_list_refilled_behind_a_look, NEEDS_CPUS4) { list_refilled_behind_a_look(&epoch); }
#endif
