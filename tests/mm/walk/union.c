// SPDX-License-Identifier: MIT
// The context of a walk under the union of two policies: each of the two enters, steps and leaves in the context that
// it asks for, and the walk restores the context in which it began.
#include "kernel/lib.h"
#include "lab/test.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK
static struct {
	u32 entered, stepped, left;
	u32 irqs_on;		// at any of them
} watched;

static void watch(u32 *what)
{
	++*what;
	watched.irqs_on += irqs_enabled();
}

static void watching_enter(struct walk_state *w) { watch(&watched.entered); }
static bool watching_step(struct walk_state *w, int level, const pte_t *entry, pte_t value)
{
	watch(&watched.stepped);
	return true;
}
static void watching_exit(struct walk_state *w) { watch(&watched.left); }

// Not registered, and never alone: the other part of the union is a policy that frees.
static const struct table_policy watching_policy = {
	.name = "watching",
	.lineage = "of this test",
	.walker = WALKER_IRQS_OFF,
	.waits = WAIT_OWN,
	.enter = watching_enter,
	.step = watching_step,
	.exit = watching_exit,
};

// A space whose walkers follow the union of the two. Nobody else walks, and nothing is freed meanwhile.
static struct space *space_in_union(const struct table_policy *p0, const struct table_policy *p1, int leaf)
{
	struct space *s = space_create_with(policy_find("rcu"), flush_find("ipi"));

	if (!EXPECT(s))
		return NULL;
	EXPECT_EQ(space_map(s, BASE, level_size(leaf), RW, leaf, MAP_POPULATE), 0);
	s->union_of[0] = p0;
	s->union_of[1] = p1;
	space_select(s, &policy_union);
	return s;
}

static void end(struct space *s)
{
	EXPECT(cpumask_empty(&s->walkers));
	space_select(s, policy_find("rcu"));
	space_put(s);
}

enum way { BY_PIN, BY_FAST, BY_FAST_IRQS_OFF, WAYS };

static void walk(struct space *s, enum way way)
{
	bool off = way == BY_FAST_IRQS_OFF, kept;
	struct page *page = NULL;

	if (off)
		irq_disable();
	if (way == BY_PIN)
		page = policy_union.walk_one[0](s, BASE);
	else
		walk_pin_fast(s, BASE, 1, false, &page);
	kept = irqs_enabled() == !off;
	irq_enable();		// whatever state the walk left
	EXPECT(kept && preemptible());
	if (EXPECT(page))
		page_unpin(page, false);
}

static void watch_beside(const struct table_policy *other, bool first, int leaf)
{
	const struct table_policy *own = &watching_policy;
	struct space *s = first ? space_in_union(own, other, leaf) : space_in_union(other, own, leaf);

	REQUIRE(s);
	memset(&watched, 0, sizeof(watched));
	for (enum way way = 0; way < WAYS; way++)
		walk(s, way);
	EXPECT_EQ(watched.entered, WAYS);
	// More steps where a walk meets a large leaf: it walks again.
	EXPECT(watched.stepped >= (u32)WAYS * (u32)(PT_LEVELS - leaf));
	EXPECT_EQ(watched.left, WAYS);
	EXPECT_EQ(watched.irqs_on, 0);
	end(s);
}

// With interrupts on, an `ipi` walker might find its space loaded, and its CPU be made to leave the space before
// interrupts are off: then no flush would go to it any more.
TEST(walk, part_of_a_union_has_its_context, 0)
{
	FOR_EACH_POLICY(p)
		for (int leaf = 1; leaf <= 2; leaf++)
			for (int first = 0; first < 2; first++)
				watch_beside(*p, first, leaf);
}

static bool irqs_were_on;

static void look(struct stall_point *p, void *arg) { irqs_were_on = irqs_enabled(); }

static void walk_looked_at(struct space *s, enum way way, bool off)
{
	irqs_were_on = true;
	stall_point("walk_leaf")->action = look;
	stall_arm(stall_point("walk_leaf"), s, 0, 0, 0);
	walk(s, way);
	EXPECT_EQ(stall_point("walk_leaf")->hits, 1);
	EXPECT(irqs_were_on != (off || way == BY_FAST_IRQS_OFF));
	stall_release(stall_point("walk_leaf"));
}

// Also where both parts keep interrupts off, and the second one finds them off. (A switch never joins a policy with
// itself.)
TEST(walk, union_leaves_its_context_as_it_was, 0)
{
	FOR_EACH_POLICY(p0) FOR_EACH_POLICY(p1) {
		bool off = (*p0)->walker == WALKER_IRQS_OFF || (*p1)->walker == WALKER_IRQS_OFF;

		if (p0 == p1)
			continue;
		for (int leaf = 1; leaf <= 2; leaf++) {
			struct space *s = space_in_union(*p0, *p1, leaf);

			REQUIRE(s);
			for (enum way way = 0; way < WAYS; way++)
				walk_looked_at(s, way, off);
			end(s);
		}
	}
}
#endif
