// SPDX-License-Identifier: MIT
// The callback of table_free=epoch: it comes again as long as anything is deferred, and it comes for what is deferred
// while it looks, or after it has found nothing. The ticks do not look (mutant epoch_no_tick), and nothing else is freed.
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/test.h"
#include "mm/table.h"
#include "tests/kernel/rcu/readers.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK

// A walk in a space of its own, on another CPU, at a point of its own; and its table.
struct scene {
	const char *point;
	int level;
	struct walk_job job;
	struct page *table;
	struct thread *walker;
};

static bool populate(struct scene *sc, const char *point, int level)
{
	*sc = (struct scene){ .point = point, .level = level,
		.job = { .s = mm_populated(policy_find("epoch"), flush_find("ipi"), PAGE_SIZE), .va = BASE } };
	if (!EXPECT(sc->job.s))
		return false;
	sc->table = mm_table(sc->job.s, BASE, 1);
	return true;
}

static bool begin_walk(struct scene *sc, unsigned cpu)
{
	stall_arm(stall_point(sc->point), sc->job.s, BASE, BASE + PAGE_SIZE, sc->level);
	sc->walker = mm_thread("walker", walk_once, &sc->job, cpu);
	if (!EXPECT(sc->walker))
		return false;
	stall_wait_parked(stall_point(sc->point));
	return true;
}

static void defer(struct scene *sc)
{
	EXPECT_EQ(space_unmap(sc->job.s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(mm_state(sc->table), TABLE_FLUSHED);
}

static void end_walk(struct scene *sc)
{
	stall_release(stall_point(sc->point));
	mm_join(sc->walker);
}

// Both are looked at first: the end of a space frees its root, and so looks at what is deferred.
static void end_both(struct scene *first, struct scene *second)
{
	EXPECT_EQ(mm_state(first->table), TABLE_FREE);
	EXPECT_EQ(mm_state(second->table), TABLE_FREE);
	mutant_set(epoch_no_tick, 0);
	space_put(first->job.s);
	space_put(second->job.s);
}

// No callback is on its way, and nothing is deferred.
static void leave_nothing(void)
{
	policies_drain();
	EXPECT(EVENTUALLY(rcu_quiet()));
	mutant_set(epoch_no_tick, 1);
}

// It has found nothing more, and comes all the same for what is deferred later.
TEST(walk, epoch_callback_comes_again_later, NEEDS_CPUS2)
{
	struct scene sc[2];

	leave_nothing();
	for (unsigned i = 0; i < 2; i++) {
		REQUIRE(populate(&sc[i], "walk_level", 2) && begin_walk(&sc[i], mm_other_cpu(0)));
		defer(&sc[i]);
		end_walk(&sc[i]);
		rcu_barrier();
	}
	end_both(&sc[0], &sc[1]);
}

// Is that grace period under way, and does it wait for this CPU alone?
static bool waits_for_only(u64 gp, unsigned only)
{
	u64 seq = READ_ONCE(rcu.seq);

	if (!rcu_seq_running(seq) || rcu_seq_completed(seq) + 1 != gp)
		return false;
	for_each_cpu(cpu)
		if (rcu_waits_for(&per_cpu(rcu_cpu, cpu)) != (cpu == only))
			return false;
	return true;
}

// It has found one batch whose walk has ended, and another whose walk has not: it comes again. The second walk began
// after its CPU had reported to the grace period of the callback, so that this comes while the walk is inside.
TEST(walk, epoch_callback_comes_until_nothing_is_deferred, NEEDS_CPUS4)
{
	struct scene first, second;
	u64 gp;

	leave_nothing();
	REQUIRE(populate(&first, "walk_level", 2) && populate(&second, "walk_leaf", 1));
	REQUIRE(begin_walk(&first, mm_other_cpu(0)));
	defer(&first);
	gp = READ_ONCE(this_cpu_ptr(&rcu_cpu)->cb.ready_at);	// the callback's
	rcu_hurry();
	EXPECT(EVENTUALLY(waits_for_only(gp, mm_other_cpu(0))));
	REQUIRE(begin_walk(&second, mm_other_cpu(1)));
	defer(&second);
	end_walk(&first);
	EXPECT(EVENTUALLY(mm_state(first.table) == TABLE_FREE));
	EXPECT_EQ(mm_state(second.table), TABLE_FLUSHED);
	end_walk(&second);
	rcu_barrier();			// the callback that is under way has returned
	rcu_barrier();			// … and the one that it has asked for
	end_both(&first, &second);
}

// While the callback looks, another CPU defers. The callback has taken its batch off the list, and may not see the new one;
// so that CPU asks for another.
struct meeting {
	struct scene first, second;
	u32 looks, deferred;
	u64 queued;		// callbacks of that CPU, by its own deferral
};

static void hold_the_look(struct stall_point *p, void *arg)
{
	struct meeting *m = arg;

	store_release(&m->looks, 1u);
	spin_until(load_acquire(&m->deferred), "the other CPU", -1);
}

static int walk_meanwhile(void *arg)
{
	struct meeting *m = arg;

	spin_until(load_acquire(&m->looks), "the callback", -1);
	return walk_once(&m->second.job);
}

static int defer_meanwhile(void *arg)
{
	struct meeting *m = arg;
	u64 *here = &this_cpu_ptr(&rcu_cpu)->cb.count, before;

	spin_until(load_acquire(&m->looks), "the callback", -1);
	stall_wait_parked(stall_point(m->second.point));
	before = READ_ONCE(*here);
	defer(&m->second);
	m->queued = READ_ONCE(*here) - before;
	store_release(&m->deferred, 1u);
	return 0;
}

TEST(walk, epoch_callback_leaves_who_defers_meanwhile_another, NEEDS_CPUS4)
{
	struct stall_point *found = stall_point("epoch_found");
	struct meeting m = { 0 };
	struct thread *deferrer;

	leave_nothing();
	REQUIRE(populate(&m.first, "walk_level", 2) && populate(&m.second, "walk_leaf", 1));
	REQUIRE(begin_walk(&m.first, mm_other_cpu(0)));
	defer(&m.first);
	stall_arm(stall_point("walk_leaf"), m.second.job.s, BASE, BASE + PAGE_SIZE, 1);
	m.second.walker = mm_thread("walker", walk_meanwhile, &m, mm_other_cpu(1));
	deferrer = mm_thread("deferrer", defer_meanwhile, &m, mm_other_cpu(2));
	REQUIRE(m.second.walker && deferrer);
	found->action = hold_the_look;
	found->arg = &m;
	found->cpu = (int)cpu_id();	// whose callback it is
	stall_arm(found, NULL, 0, 0, 0);
	end_walk(&m.first);
	mm_join(deferrer);
	EXPECT_EQ(found->hits, 1);
	stall_release(found);
	EXPECT_EQ(m.queued, 1);
	end_walk(&m.second);
	rcu_barrier();
	end_both(&m.first, &m.second);
}
#endif
