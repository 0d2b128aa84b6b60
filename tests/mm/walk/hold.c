// SPDX-License-Identifier: MIT
// See walk/hold.h.
#include "tests/mm/walk/hold.h"
#include "kernel/lib.h"
#include "kernel/rcu/rcu.h"
#include "lab/test.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm/help.h"

#if CHECK
int walk_once(void *arg)
{
	struct walk_job *j = arg;

	if (j->local)
		space_attach(j->s);
	j->got = j->one ? !walk_pin(j->s, j->va, j->write, &j->page) : walk_pin_fast(j->s, j->va, 1, j->write, &j->page);
	if (j->local)
		space_detach();
	return 0;
}

static void watch(struct held_walk *h, bool unmap_may_return)
{
	WHILE_OTHERS_RUN(2) {
		enum table_state state = mm_state(h->table);

		h->too_early += state == TABLE_QUIESCED || state == TABLE_FREE;
		h->too_early += !unmap_may_return && READ_ONCE(h->returned);
	}
}

u64 policy_waits(void)
{
	u64 n = 0;

	for_each_cpu(cpu)
		n += READ_ONCE(per_cpu(counters, cpu).ipi_sync) + READ_ONCE(per_cpu(counters, cpu).rcu_waits) +
		     READ_ONCE(per_cpu(counters, cpu).free_polled);
	return n;
}

u64 walk_awaited(void)
{
	u64 n = policy_waits();

	for_each_cpu(cpu)
		n += READ_ONCE(per_cpu(counters, cpu).ipi_flush) + READ_ONCE(per_cpu(counters, cpu).ipi_walker);
	return n;
}

// Hold the walk until the unmapper has decided what to wait for: for this CPU; otherwise it soon returns, too early.
void hold_up_the_unmap(struct stall_point *p, void *arg)
{
	struct held_walk *h = arg;
	u64 awaited = walk_awaited();

	store_release(&h->there, 1u);
	spin_until(walk_awaited() != awaited || READ_ONCE(h->returned), "the unmap", -1);
	watch(h, false);
}

void hold_up_the_free(struct stall_point *p, void *arg)
{
	struct held_walk *h = arg;

	store_release(&h->there, 1u);
	spin_until(load_acquire(&h->returned), "the unmap", -1);
	watch(h, true);
}

void hold_up_nobody(struct stall_point *p, void *arg)
{
	struct held_walk *h = arg;

	store_release(&h->there, 1u);
	spin_until(load_acquire(&h->returned), "the unmap", -1);
}

void hold_walk(struct held_walk *h, const char *policy, bool local, int level, bool keep_upper,
	       void (*action)(struct stall_point *, void *))
{
	const struct table_policy *p = policy_find(policy);
	struct space *s = space_create_with(p, flush_find("ipi"));
	bool flush_waits = local && p->walker == WALKER_IRQS_OFF;
	struct thread *walker;

	*h = (struct held_walk){ .job = { .s = s, .va = BASE, .local = local } };
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	if (keep_upper)		// another L1 table under the same L2 table
		EXPECT_EQ(space_map(s, BASE + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	h->table = mm_table(s, BASE, level - 1);
	REQUIRE(h->table);
	stall_point("walk_level")->action = action;
	stall_point("walk_level")->arg = h;
	stall_arm(stall_point("walk_level"), s, BASE, BASE + PAGE_SIZE, level);
	walker = mm_thread("walker", walk_once, &h->job, mm_other_cpu(0));
	REQUIRE(walker);
	spin_until(load_acquire(&h->there), "walker", -1);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	if (p->drain && !flush_waits)
		EXPECT_EQ(mm_state(h->table), TABLE_FLUSHED);
	if (!p->drain)
		EXPECT_EQ(mm_state(h->table), TABLE_FREE);
	store_release(&h->returned, 1u);
	mm_join(walker);
	EXPECT_EQ(stall_point("walk_level")->hits, 1);
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(h->job.got, 0);
	EXPECT_EQ(h->too_early, 0);
	if (p->drain)
		p->drain();
	EXPECT_EQ(mm_state(h->table), TABLE_FREE);
	EXPECT(mm_poisoned(h->table));
	EXPECT(cpumask_empty(&s->walkers));
	space_put(s);
}
#endif
