// SPDX-License-Identifier: MIT
// Switching from and to an unsafe pair: the computed verdict on each state on the way, and that it is true.
#include "kernel/lib.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/policy/switch.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

static const struct switch_state *state(const char *name)
{
	for (unsigned i = 0; i < NR_SWITCH_STATES; i++)
		if (!strcmp(switch_states[i].name, name))
			return &switch_states[i];
	return NULL;
}

static bool safe_in(const char *name, const char *from, const char *to)
{
	const struct policy_pair old = { policy_find(from), flush_find("ipi") }, new = { policy_find(to), flush_find("ipi") };

	return switch_state_verdict(state(name), &old, &new).safe;
}

// While tables are freed under the unsafe policy, a union is as safe as its other part makes the flush: only `ipi` has
// its walkers join a mask, with interrupts off.
TEST(switch, states_after_an_unsafe_pair, 0)
{
	FOR_EACH_POLICY(p) {
		const char *name = (*p)->name;
		bool immediate = !strcmp(name, "immediate"), ipi = !strcmp(name, "ipi");

		EXPECT(!safe_in("joining", "immediate", name));
		EXPECT_EQ(safe_in("union", "immediate", name), ipi);
		EXPECT_EQ(safe_in("moved", "immediate", name), ipi);
		EXPECT_EQ(safe_in("drained", "immediate", name), !immediate);
		EXPECT_EQ(safe_in("leaving", "immediate", name), !immediate);
	}
}

TEST(switch, states_before_an_unsafe_pair, 0)
{
	FOR_EACH_POLICY(p) {
		const char *name = (*p)->name;
		bool immediate = !strcmp(name, "immediate"), ipi = !strcmp(name, "ipi");

		EXPECT_EQ(safe_in("joining", name, "immediate"), !immediate);
		EXPECT_EQ(safe_in("union", name, "immediate"), !immediate);
		EXPECT_EQ(safe_in("moved", name, "immediate"), ipi);
		EXPECT_EQ(safe_in("drained", name, "immediate"), ipi);
		EXPECT(!safe_in("leaving", name, "immediate"));
	}
}

#define KINDS 12	// of policies, by what they declare

static struct table_policy made_up(unsigned kind)
{
	static const enum free_wait waits[] = { WAIT_FLUSH, WAIT_REST, WAIT_OWN };

	return (struct table_policy){ .name = "made up", .walker = kind & 1 ? WALKER_IRQS_OFF : WALKER_PREEMPT_OFF,
		.walkers_are_targets = kind & 2, .waits = waits[kind / 4] };
}

// May the policy free, with its walkers following the union of it and the other one?
static bool may_free(const struct table_policy *p, const struct table_policy *other, const struct flush_backend *b)
{
	// In the mask, and with interrupts off since before it joined: one of the two parts does both.
	bool target = (p->walkers_are_targets && p->walker == WALKER_IRQS_OFF) ||
		      (other->walkers_are_targets && other->walker == WALKER_IRQS_OFF);
	bool irqs_off = p->walker == WALKER_IRQS_OFF || other->walker == WALKER_IRQS_OFF;

	return p->waits == WAIT_OWN || (p->waits == WAIT_REST && (irqs_off || !b->reports)) ||
	       (p->waits == WAIT_FLUSH && target && b->proves_irqs_off_walks_ended);
}

// Every combination of what two policies and a back-end can declare, under the union of the two.
TEST(switch, verdict_on_a_union_is_computed, 0)
{
	for (unsigned i = 0; i < KINDS * KINDS * 4; i++) {
		const struct table_policy p0 = made_up(i / 4 % KINDS), p1 = made_up(i / 4 / KINDS);
		const struct flush_backend b = { .name = "made up", .proves_irqs_off_walks_ended = i & 1, .reports = i & 2 };
		const struct policy_pair old = { &p0, &b }, new = { &p1, &b };
		bool old_frees = may_free(&p0, &p1, &b), new_frees = may_free(&p1, &p0, &b);

		EXPECT_EQ(switch_state_verdict(state("union"), &old, &new).safe, old_frees);
		EXPECT_EQ(switch_state_verdict(state("moved"), &old, &new).safe, old_frees && new_frees);
		EXPECT_EQ(switch_state_verdict(state("drained"), &old, &new).safe, new_frees);
	}
}

#if CHECK

struct scene {
	struct walk_job job;
	u32 there, back;
};

static void hold(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;
	u64 awaited = walk_awaited();

	store_release(&sc->there, 1u);
	spin_until(walk_awaited() != awaited || load_acquire(&sc->back), "the unmap", -1);
}

// In the state "union": a walk on another CPU, which runs in no space, has read the leaf; the page and its tables are
// unmapped.
static void walk_and_unmap(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;
	struct thread *walker;

	stall_point("walk_leaf")->action = hold;
	stall_point("walk_leaf")->arg = sc;
	stall_arm(stall_point("walk_leaf"), sc->job.s, BASE, BASE + PAGE_SIZE, 1);
	walker = mm_thread("walker", walk_once, &sc->job, mm_other_cpu(0));
	REQUIRE(walker);
	spin_until(load_acquire(&sc->there), "walker", -1);
	EXPECT_EQ(space_unmap(sc->job.s, BASE, PAGE_SIZE), 0);
	store_release(&sc->back, 1u);
	mm_join(walker);
	EXPECT_EQ(stall_point("walk_leaf")->hits, 1);
	stall_release(stall_point("walk_leaf"));
}

static u64 unmap_in_union(const struct table_policy *from, const struct table_policy *to)
{
	u64 violations = oracle_violations();
	struct space *s = space_create_with(from, flush_find("ipi"));
	struct scene sc = { .job = { .s = s, .va = BASE } };

	if (!EXPECT(s))
		return 0;
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	stall_point("switch_union")->action = walk_and_unmap;
	stall_point("switch_union")->arg = &sc;
	stall_arm(stall_point("switch_union"), s, 0, 0, 0);
	EXPECT_EQ(space_switch_pair(s, to, flush_find("ipi")), 0);
	EXPECT_EQ(stall_point("switch_union")->hits, 1);
	stall_release(stall_point("switch_union"));
	EXPECT_EQ(sc.job.got, 0);
	EXPECT(cpumask_empty(&s->walkers));
	space_put(s);
	return oracle_violations() - violations;
}

// The verdict computed for the state "union" is what is observed there.
TEST(switch, union_with_an_unsafe_policy, NEEDS_CPUS2)
{
	const struct table_policy *immediate = policy_find("immediate");

	FOR_EACH_POLICY(to) {
		if (*to == immediate)
			continue;
		oracle_expect_violations(true);
		EXPECT_EQ(unmap_in_union(immediate, *to) == 0, safe_in("union", "immediate", (*to)->name));
		oracle_expect_violations(false);
	}
}
#endif
