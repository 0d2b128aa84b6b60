// SPDX-License-Identifier: MIT
// Switching policy and back-end while the system runs (mm/policy/switch.c): each step is needed, which is shown by
// leaving it out; and what a switch refuses.
#include "mm/policy/switch.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

// Every state between two safe pairs is safe; if a step were left out, one would not be.
TEST(switch, states_are_safe, 0)
{
	const struct switch_state no_union = { "no union", WALKS_OLD | WALKS_NEW, FREES_OLD };
	const struct switch_state no_wait = { "no grace period", WALKS_OLD | WALKS_UNION, FREES_NEW };
	const struct switch_state no_drain = { "no drain", WALKS_NEW, FREES_OLD };
	unsigned n = 0;

	FOR_EACH_POLICY(p0) FOR_EACH_BACKEND(b0) FOR_EACH_POLICY(p1) FOR_EACH_BACKEND(b1) {
		const struct policy_pair old = { *p0, *b0 }, new = { *p1, *b1 };

		if (!pair_verdict(*p0, *b0).safe || !pair_verdict(*p1, *b1).safe || *p0 == *p1)
			continue;
		n++;
		for (unsigned i = 0; i < NR_SWITCH_STATES; i++)
			EXPECT(switch_state_verdict(&switch_states[i], &old, &new).safe);
		EXPECT(!switch_state_verdict(&no_union, &old, &new).safe);
		EXPECT(!switch_state_verdict(&no_wait, &old, &new).safe);
		EXPECT(!switch_state_verdict(&no_drain, &old, &new).safe);
	}
	EXPECT(n > 0);
}

static const char *is_missing(void) { return "made up"; }

TEST(switch, refused, 0)
{
	struct flush_backend missing = *flush_find("ipi");
	struct space *s = space_create_with(policy_find("ipi"), flush_find("ipi"));

	REQUIRE(s);
	missing.missing = is_missing;
	EXPECT_EQ(space_switch_pair(s, policy_find("rcu"), &missing), -ENODEV);
	EXPECT_EQ(policy_switch_all(policy_find("rcu"), &missing), -ENODEV);
	if (!allow_unsafe()) {
		EXPECT_EQ(space_switch_pair(s, policy_find("immediate"), flush_find("ipi")), -EPERM);
		EXPECT_EQ(space_switch_pair(s, policy_find("ipi"), &mm_flush_none), -EPERM);
		EXPECT_EQ(policy_switch_all(policy_find("immediate"), flush_find("ipi")), -EPERM);
		EXPECT(policy_default() != policy_find("immediate"));
	}
	EXPECT(s->policy == policy_find("ipi") && s->freer == s->policy && s->backend == flush_find("ipi"));
	space_put(s);
}

static bool has(const struct space *s, const char *policy)
{
	return s->policy == policy_find(policy) && s->freer == s->policy && s->backend == flush_find("ipi");
}

TEST(switch, one_space_or_all, 0)
{
	const struct policy_pair start = { policy_default(), flush_default() };
	struct space *a = space_create_with(policy_find("ipi"), flush_find("ipi"));
	struct space *b = space_create_with(policy_find("ipi"), flush_find("ipi")), *c;

	REQUIRE(a && b);
	EXPECT_EQ(space_switch_pair(a, policy_find("rcu"), flush_find("ipi")), 0);
	EXPECT(has(a, "rcu") && has(b, "ipi"));
	EXPECT(policy_default() == start.policy);
	EXPECT_EQ(policy_switch_all(policy_find("rcu-page"), flush_find("ipi")), 0);
	c = space_create();
	REQUIRE(c);
	EXPECT(has(a, "rcu-page") && has(b, "rcu-page") && has(c, "rcu-page"));
	EXPECT_EQ(policy_switch_all(start.policy, start.backend), 0);
	EXPECT(c->policy == start.policy && policy_default() == start.policy && flush_default() == start.backend);
	space_put(a);
	space_put(b);
	space_put(c);
}

#if CHECK

// A caller that has read which walk to call may call it when the space has another policy. Then the walk takes nothing
// and leaves its context as it was, whatever either policy asks of a walker; once the space has its policy again, it
// works again.
static void walks_under_its_policy_alone(struct space *s, walk_one_fn *const fn[2], const struct page *frame, bool its)
{
	for (int write = 0; write < 2; write++) {
		struct page *page = fn[write](s, BASE);

		EXPECT(irqs_enabled() && preemptible());
		EXPECT(its ? page == frame : !page);
		EXPECT_EQ(frame->refs, 1 + its);
		if (page)
			page_unpin(page, false);
	}
}

static struct page *the_frame(struct space *s)
{
	struct page *page = NULL;

	if (EXPECT_EQ(walk_pin(s, BASE, false, &page), 0))
		page_unpin(page, false);
	return page;
}

TEST(switch, walk_looks_whether_its_policy_is_still_the_spaces, 0)
{
	FOR_EACH_POLICY(p0) FOR_EACH_POLICY(p1) {
		struct space *s = space_create_with(*p0, flush_find("ipi"));
		struct page *frame;

		REQUIRE(s);
		EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		frame = the_frame(s);
		REQUIRE(frame);
		s->union_of[0] = *p0;		// nobody else walks, nothing is freed meanwhile
		s->union_of[1] = *p1;
		space_select(s, *p1);
		walks_under_its_policy_alone(s, (*p0)->walk_one, frame, *p0 == *p1);
		walks_under_its_policy_alone(s, (*p1)->walk_one, frame, true);
		walks_under_its_policy_alone(s, policy_union.walk_one, frame, false);
		space_select(s, *p0);
		walks_under_its_policy_alone(s, (*p0)->walk_one, frame, true);
		space_put(s);
	}
}

// A switch during which another CPU is held in a walk.
struct scene {
	struct space *s;
	const struct table_policy *from, *to;
	struct walk_job job;
	struct thread *walker;
	struct page *table;		// the table that the held walk is about to read, or reads
	u32 there;			// the walk is held
	u32 unmapped;			// the unmap has returned
	u32 left;			// the switch has ended, or has come where it must not come
	bool broken;			// a step is left out: the walk stays until `unmapped` and `left`
	u32 too_early;
	enum table_state at_leaving;
};

static bool scene_open(struct scene *sc, const char *from, const char *to, bool broken)
{
	*sc = (struct scene){ .from = policy_find(from), .to = policy_find(to), .broken = broken };
	sc->s = space_create_with(sc->from, flush_find("ipi"));
	if (!EXPECT(sc->s))
		return false;
	sc->job = (struct walk_job){ .s = sc->s, .va = BASE };
	EXPECT_EQ(space_map(sc->s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	sc->table = mm_table(sc->s, BASE, 1);
	return EXPECT(sc->table);
}

static void scene_close(struct scene *sc, bool may_have_got_it)
{
	mm_join(sc->walker);
	if (sc->job.got && may_have_got_it)
		page_unpin(sc->job.page, false);
	else
		EXPECT_EQ(sc->job.got, 0);
	EXPECT(sc->s->policy == sc->to && sc->s->freer == sc->to);
	EXPECT(cpumask_empty(&sc->s->walkers));
	space_put(sc->s);
}

static void do_at(struct stall_point *p, struct scene *sc, void (*action)(struct stall_point *, void *), int level)
{
	p->action = action;
	p->arg = sc;
	stall_arm(p, sc->s, level ? BASE : 0, level ? BASE + PAGE_SIZE : 0, level);
}

static void start_walk(struct scene *sc, struct stall_point *at, void (*hold)(struct stall_point *, void *), int level)
{
	do_at(at, sc, hold, level);
	sc->walker = mm_thread("walker", walk_once, &sc->job, mm_other_cpu(0));
	if (sc->walker)
		spin_until(load_acquire(&sc->there), "walker", -1);
}

static void unmap(struct scene *sc)
{
	EXPECT_EQ(space_unmap(sc->s, BASE, PAGE_SIZE), 0);
	store_release(&sc->unmapped, 1u);
}

static bool too_free(const struct page *table)
{
	enum table_state state = mm_state(table);

	return state == TABLE_QUIESCED || state == TABLE_FREE;
}

// Hold the walk until the unmapper waits for somebody or has returned; then the table must stay for a while.
static void hold_table(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;
	u64 awaited = walk_awaited();

	store_release(&sc->there, 1u);
	spin_until(walk_awaited() != awaited || load_acquire(&sc->unmapped), "the unmap", -1);
	WHILE_OTHERS_RUN(2)
		sc->too_early += too_free(sc->table);
}

static void walk_and_unmap(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	start_walk(sc, stall_point("walk_level"), hold_table, 2);
	unmap(sc);
}

// (1) While tables are freed under the old policy, a walk that begins must follow that policy too. Here `ipi` waits for
//     the CPUs in the walkers' mask, which the new policy's walker does not join.
static u64 skip_union(bool skip)
{
	u64 violations = oracle_violations();
	struct scene sc;

	if (!scene_open(&sc, "ipi", "rcu-sync", skip))
		return 0;
	mutant_set(switch_no_union, skip);
	do_at(stall_point("switch_union"), &sc, walk_and_unmap, 0);
	EXPECT_EQ(space_switch_pair(sc.s, sc.to, flush_find("ipi")), 0);
	mutant_set(switch_no_union, 0);
	scene_close(&sc, false);
	EXPECT_EQ(stall_point("switch_union")->hits, 1);
	stall_release(stall_point("switch_union"));
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(sc.too_early > 0, skip);
	return oracle_violations() - violations;
}

TEST(switch, union_is_needed, NEEDS_CPUS2)
{
	EXPECT_EQ(skip_union(false), 0);
	oracle_expect_violations(true);
	EXPECT(skip_union(true) > 0);
	oracle_expect_violations(false);
}

// The walk is held from before the switch. If the kernel is intact, it is held for a while, and the freer must not
// change meanwhile.
static void hold_switch(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	store_release(&sc->there, 1u);
	spin_until(READ_ONCE(sc->s->policy) != sc->from, "the switch", -1);
	if (sc->broken)
		spin_until(load_acquire(&sc->unmapped), "the unmap", -1);
	if (sc->broken)
		return;
	WHILE_OTHERS_RUN(2)
		sc->too_early += READ_ONCE(sc->s->freer) == sc->to;
}

static void only_unmap(struct stall_point *p, void *arg) { unmap(arg); }

// (2) A walk that began before the switch follows the old policy alone: no table may be freed under the new one before
//     that walk has ended.
static u64 skip_wait(bool skip)
{
	u64 violations = oracle_violations();
	struct scene sc;

	if (!scene_open(&sc, "rcu-sync", "ipi", skip))
		return 0;
	mutant_set(switch_no_wait, skip);
	start_walk(&sc, stall_point("walk_level"), hold_switch, 2);
	do_at(stall_point("switch_moved"), &sc, only_unmap, 0);
	EXPECT_EQ(space_switch_pair(sc.s, sc.to, flush_find("ipi")), 0);
	mutant_set(switch_no_wait, 0);
	scene_close(&sc, true);
	EXPECT_EQ(stall_point("switch_moved")->hits, 1);
	stall_release(stall_point("switch_moved"));
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(sc.too_early, 0);
	return oracle_violations() - violations;
}

TEST(switch, grace_period_is_needed, NEEDS_CPUS2)
{
	EXPECT_EQ(skip_wait(false), 0);
	oracle_expect_violations(true);
	EXPECT(skip_wait(true) > 0);
	oracle_expect_violations(false);
}

// The walk is held under the union, while a table waits under the old policy. If the kernel is intact, the selector
// must not change.
static void hold_drain(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	store_release(&sc->there, 1u);
	if (sc->broken)
		spin_until(load_acquire(&sc->left), "the switch", -1);
	spin_until(load_acquire(&sc->unmapped), "the unmap", -1);
	if (sc->broken)
		return;
	WHILE_OTHERS_RUN(2)
		sc->too_early += READ_ONCE(sc->s->policy) == sc->to;
}

static void walk_and_defer(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	start_walk(sc, stall_point("walk_level"), hold_drain, 2);
	unmap(sc);
}

static void at_leaving(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	sc->at_leaving = mm_state(sc->table);
	store_release(&sc->left, 1u);
}

// (4) Walkers follow the old policy as long as a table waits under it.
static enum table_state skip_drain(bool skip)
{
	struct scene sc;

	if (!scene_open(&sc, "rcu-page", "rcu-sync", skip))
		return TABLE_LIVE;
	mutant_set(switch_no_drain, skip);
	do_at(stall_point("switch_union"), &sc, walk_and_defer, 0);
	do_at(stall_point("switch_leaving"), &sc, at_leaving, 0);
	EXPECT_EQ(space_switch_pair(sc.s, sc.to, flush_find("ipi")), 0);
	mutant_set(switch_no_drain, 0);
	scene_close(&sc, false);
	stall_release(stall_point("switch_union"));
	stall_release(stall_point("switch_leaving"));
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(sc.too_early, 0);
	return sc.at_leaving;
}

TEST(switch, drain_is_needed, NEEDS_CPUS2)
{
	EXPECT_EQ(skip_drain(false), TABLE_FREE);
	EXPECT_EQ(skip_drain(true), TABLE_FLUSHED);
}

// The leaf was read: by now the walk has also named its table, if it uses hazard pointers.
static void walk_leaf_and_unmap(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	start_walk(sc, stall_point("walk_leaf"), hold_table, 1);
	unmap(sc);
}

static void keeps_under(struct stall_point *phase, const char *from, const char *to)
{
	struct scene sc;

	if (!scene_open(&sc, from, to, false))
		return;
	do_at(phase, &sc, walk_leaf_and_unmap, 0);
	EXPECT_EQ(space_switch_pair(sc.s, sc.to, flush_find("ipi")), 0);
	scene_close(&sc, false);
	EXPECT_EQ(phase->hits, 1);
	stall_release(phase);
	stall_release(stall_point("walk_leaf"));
	if (sc.too_early)
		test_fail(__FILE__, __LINE__, "%s to %s, %s: freed under the walk", from, to, phase->name);
}

// Each safe policy on either side of two switches. A walk is held under the union while tables are freed under the old
// policy, then under the new one: what the walk reads stays. Two partners, because the partner may be the reason: `ipi`
// waits for its walkers, whatever the policy that frees would do.
TEST(switch, union_keeps_what_either_frees, NEEDS_CPUS2)
{
	enum { MOST = 16 };
	u64 violations = oracle_violations();
	const char *safe[MOST];
	unsigned n = 0;

	FOR_EACH_POLICY(p)
		if (pair_verdict(*p, flush_find("ipi")).safe && n < MOST)
			safe[n++] = (*p)->name;
	EXPECT(n > 2);
	for (unsigned i = 0; i < n; i++) {
		for (unsigned next = 1; next <= 2; next++) {
			keeps_under(stall_point("switch_union"), safe[i], safe[(i + next) % n]);
			keeps_under(stall_point("switch_moved"), safe[i], safe[(i + next) % n]);
		}
	}
	EXPECT_EQ(oracle_violations() - violations, 0);
}

// A flush that was left to the sweeps under the old policy ends in the old policy's `free`. If the oracle finds
// something there, it reports the old policy, though the freer is the new one by then. Here the flush ends too early,
// under a walk.
static void hold_until_left(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	store_release(&sc->there, 1u);
	spin_until(load_acquire(&sc->left), "the switch", -1);
}

static void walk_and_leave_it(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	start_walk(sc, stall_point("walk_level"), hold_until_left, 2);
	unmap(sc);
}

static void end_it_now(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	EXPECT_EQ(mm_state(sc->table), TABLE_UNLINKED);
	mutant_set(lazy_no_wait, 1);
	flush_find("lazy")->drain();
	mutant_set(lazy_no_wait, 0);
	EXPECT_EQ(mm_state(sc->table), TABLE_FREE);
	store_release(&sc->left, 1u);
}

TEST(switch, violation_is_told_of_the_policy_that_freed, NEEDS_CPUS2)
{
	const struct flush_backend *lazy = flush_find("lazy");
	struct violation v = { .policy = "none" };
	struct scene sc;

	REQUIRE(scene_open(&sc, "ipi", "rcu-sync", true));
	EXPECT_EQ(space_switch_pair(sc.s, sc.from, lazy), 0);
	oracle_expect_violations(true);
	oracle_reset();
	do_at(stall_point("switch_union"), &sc, walk_and_leave_it, 0);
	do_at(stall_point("switch_moved"), &sc, end_it_now, 0);
	EXPECT_EQ(space_switch_pair(sc.s, sc.to, lazy), 0);
	scene_close(&sc, false);
	stall_release(stall_point("switch_union"));
	stall_release(stall_point("switch_moved"));
	stall_release(stall_point("walk_level"));
	oracle_expect_violations(false);
	EXPECT_EQ(stall_point("switch_moved")->hits, 1);
	EXPECT_EQ(oracle_records(&v, 1), 1);
	EXPECT(!strcmp(v.policy, "ipi"));
}
#endif
