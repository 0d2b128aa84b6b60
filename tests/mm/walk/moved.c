// SPDX-License-Identifier: MIT
// A table moves away and back again while a walker is inside it. The walker finds leaf and parent as they were, and yet
// may take what was never at its address: a page that was mapped only elsewhere, or a permission that the page had only
// elsewhere. Only the count of moves tells.
#include "kernel/panic.h"
#include "lab/mutant.h"
#include "lab/test.h"
#include "mm/policy/switch.h"
#include "mm/tree.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/stamps.h"
#include "tests/mm/walk/hold.h"

#if CHECK

#define HERE (BASE + PAGE_SIZE)			// the walk's address; the page before it is mapped throughout
#define THERE (FAR + PAGE_SIZE)

enum form { PAGE_OF_ELSEWHERE, PERMISSION_OF_ELSEWHERE };
enum way { BY_PIN, BY_FAST, BY_RANGE, WAYS };	// the walk of one page; of n pages; the second page of a range

struct scene {
	struct space *s;
	enum form form;
	enum way way;
	bool awaited;			// the flush of a move waits for the walker
	struct page *page;		// in the leaf while the table is elsewhere
	u32 go, inside, moved, pinned, look, looked, back, ended;
	unsigned got;
	struct page *pages[2];
};

static int walk_here(void *arg)
{
	struct scene *c = arg;
	bool write = c->form == PERMISSION_OF_ELSEWHERE;

	spin_until(load_acquire(&c->go), "the scene", -1);
	if (c->way == BY_RANGE)
		c->got = walk_pin_fast(c->s, BASE, 2, write, c->pages);
	else if (c->way == BY_FAST)
		c->got = walk_pin_fast(c->s, HERE, 1, write, c->pages);
	else
		c->got = !walk_pin(c->s, HERE, write, c->pages);
	store_release(&c->ended, 1u);
	return 0;
}

// Hold the walker until the table has moved. If the move waits for it, it must go on.
static void until_moved(struct stall_point *p, void *arg)
{
	struct scene *c = arg;
	u64 awaited = walk_awaited();

	store_release(&c->inside, 1u);
	spin_until(load_acquire(&c->moved) || (c->awaited && walk_awaited() != awaited), "the move", -1);
}

static void until_told_to_look(struct stall_point *p, void *arg)
{
	struct scene *c = arg;

	store_release(&c->pinned, 1u);
	spin_until(load_acquire(&c->look), "the third move", -1);
}

static void until_back(struct stall_point *p, void *arg)
{
	struct scene *c = arg;

	store_release(&c->looked, 1u);
	spin_until(load_acquire(&c->back), "the way back", -1);
}

// The move is counted, nothing has moved: only now does the walk begin. (Called by the mover, which has the lock.)
static void let_the_walk_begin(struct stall_point *p, void *arg)
{
	struct scene *c = arg;
	bool stands = pte_present(pte_read(tree_find(c->s, BASE, 2, NULL)));

	EXPECT_EQ(c->s->moves, 1);
	EXPECT(stands);
	store_release(&c->go, 1u);
	if (stands)
		spin_until(load_acquire(&c->inside), "walker", -1);
}

static void arm(struct stall_point *p, struct scene *c, void (*action)(struct stall_point *, void *), int level)
{
	p->action = action;
	p->arg = c;
	stall_arm(p, c->s, HERE, HERE + PAGE_SIZE, level);
}

static struct stall_point *entry_of(const struct scene *c) { return c->way == BY_RANGE ? stall_point("walk_on") : stall_point("walk_level"); }

// A third move has been counted. It moves the table once the walker has read the leaf or the parent, whichever it reads
// first.
static void let_the_walk_look(struct stall_point *p, void *arg)
{
	struct scene *c = arg;

	store_release(&c->look, 1u);
	spin_until(load_acquire(&c->looked) || load_acquire(&c->ended), "walker", -1);
}

// A table with a page at BASE, and at HERE none or one that is read-only. Neighbours keep the upper tables at both
// places, so that a move frees none and no policy waits.
static bool set_up(struct scene *c, const struct table_policy *p, enum form form, enum way way)
{
	*c = (struct scene){ .s = space_create_with(p, flush_find("ipi")), .form = form, .way = way,
		.awaited = p->walkers_are_targets };
	if (!EXPECT(c->s))
		return false;
	EXPECT_EQ(space_map(c->s, BASE, 2 * HUGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_fault(c->s, BASE, true), 0);
	EXPECT_EQ(space_fault(c->s, BASE + HUGE_SIZE, true), 0);
	EXPECT_EQ(space_map(c->s, FAR + HUGE_SIZE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	if (form == PERMISSION_OF_ELSEWHERE) {
		EXPECT_EQ(space_protect(c->s, HERE, PAGE_SIZE, PROT_R), 0);
		EXPECT_EQ(space_fault(c->s, HERE, false), 0);
	}
	arm(stall_point("walk_leaf_again"), c, until_back, 1);
	arm(entry_of(c), c, until_moved, way == BY_RANGE ? 1 : 2);
	return true;
}

// Make the leaf one that a walk for HERE must not take. We hold a reference to the page, so that it is not reused.
static void change_there(struct scene *c)
{
	if (c->form == PERMISSION_OF_ELSEWHERE)
		EXPECT_EQ(space_protect(c->s, THERE, PAGE_SIZE, RW), 0);
	EXPECT_EQ(walk_pin(c->s, THERE, true, &c->page), 0);
}

static void change_back(struct scene *c)
{
	if (c->form == PERMISSION_OF_ELSEWHERE)
		EXPECT_EQ(space_protect(c->s, THERE, PAGE_SIZE, PROT_R), 0);
	else
		EXPECT_EQ(space_discard(c->s, THERE, PAGE_SIZE), 0);
}

static void tear_down(struct scene *c)
{
	stall_release(stall_point("walk_leaf_again"));
	stall_release(entry_of(c));
	for (unsigned i = 0; i < c->got; i++)
		page_unpin(c->pages[i], false);
	page_unpin(c->page, false);
	space_put(c->s);
}

static bool pinned_what_never_was_here(const struct scene *c)
{
	return c->got == (c->way == BY_RANGE ? 2 : 1) && c->pages[c->got - 1] == c->page;
}

// Move away before the walker reads the leaf, and back before it reads the parent again.
static void go_and_come_back(struct scene *c)
{
	struct thread *walker = mm_thread("walker", walk_here, c, mm_other_cpu(0));

	REQUIRE(walker);
	store_release(&c->go, 1u);
	spin_until(load_acquire(&c->inside), "walker", -1);
	EXPECT_EQ(space_move(c->s, BASE, FAR, HUGE_SIZE), 0);
	change_there(c);
	store_release(&c->moved, 1u);
	spin_until(load_acquire(&c->looked) || load_acquire(&c->ended), "walker", -1);
	change_back(c);
	EXPECT_EQ(space_move(c->s, FAR, BASE, HUGE_SIZE), 0);
	store_release(&c->back, 1u);
	mm_join(walker);
}

// True: the walk took what never was at HERE.
static bool there_and_back(const struct table_policy *p, enum form form, enum way way)
{
	struct scene c;
	bool wrong;

	if (!set_up(&c, p, form, way))
		return false;
	go_and_come_back(&c);
	wrong = pinned_what_never_was_here(&c);
	tear_down(&c);
	return wrong;
}

static void under_each_safe_policy(enum form form)
{
	FOR_EACH_POLICY(p) {
		for (enum way way = 0; way < WAYS && pair_verdict(*p, flush_find("ipi")).safe; way++) {
			struct mm_balance b;

			mm_balance_begin(&b);
			EXPECT(!there_and_back(*p, form, way));
			mm_balance_end(&b);
		}
	}
	mutant_set(walk_no_moves_recheck, 1);
	for (enum way way = 0; way < WAYS; way++)
		EXPECT(there_and_back(policy_find("rcu"), form, way));
	mutant_set(walk_no_moves_recheck, 0);
}

TEST(walk, page_of_another_address, NEEDS_CPUS2 | NEEDS_CHECK)
{
	under_each_safe_policy(PAGE_OF_ELSEWHERE);
}

// The page is at its address throughout, but may be written only at the other one.
TEST(walk, permission_of_another_address, NEEDS_CPUS2 | NEEDS_CHECK)
{
	under_each_safe_policy(PERMISSION_OF_ELSEWHERE);
}

static void in_the_union(struct stall_point *p, void *scene)
{
	struct scene *c = scene;

	EXPECT(c->s->policy == &policy_union);
	go_and_come_back(c);
}

static void during_a_switch(const struct table_policy *old, const struct table_policy *new, enum form form, enum way way)
{
	struct scene c;

	if (!set_up(&c, old, form, way))
		return;
	c.awaited |= new->walkers_are_targets;
	stall_point("switch_union")->action = in_the_union;
	stall_point("switch_union")->arg = &c;
	stall_arm(stall_point("switch_union"), c.s, 0, 0, 0);
	EXPECT_EQ(space_switch_pair(c.s, new, flush_find("ipi")), 0);
	EXPECT_EQ(stall_point("switch_union")->hits, 1);
	EXPECT(!pinned_what_never_was_here(&c));
	stall_release(stall_point("switch_union"));
	tear_down(&c);
}

// Whether a move may come and go during a walk must be asked of the union itself: it waits for nothing and promises
// nothing, and with its two policies it may be that no flush waits for its walkers.
TEST(walk, moved_during_a_switch, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(new) {
		const struct table_policy *old = policy_find((*new)->waits == WAIT_OWN ? "rcu" : "hazard");

		if (*new == old || !pair_verdict(*new, flush_find("ipi")).safe)
			continue;
		for (enum way way = 0; way < WAYS; way++) {
			during_a_switch(old, *new, PAGE_OF_ELSEWHERE, way);
			during_a_switch(old, *new, PERMISSION_OF_ELSEWHERE, way);
		}
	}
}

// Three moves. When the walker, which has its reference, looks again, two are over. The third has been counted and
// takes the table away between the walker's looks at leaf and parent. At HERE the leaf never permitted this access. A
// walker that looked at the parent first would find it unchanged, and then the leaf as it is elsewhere.
static void away_between_two_looks(const struct table_policy *p, enum way way)
{
	struct thread *walker;
	struct scene c;

	if (!set_up(&c, p, PERMISSION_OF_ELSEWHERE, way))
		return;
	arm(stall_point("walk_pinned"), &c, until_told_to_look, 1);
	walker = mm_thread("walker", walk_here, &c, mm_other_cpu(0));
	if (!EXPECT(walker))
		return;
	store_release(&c.go, 1u);
	spin_until(load_acquire(&c.inside), "walker", -1);
	EXPECT_EQ(space_move(c.s, BASE, FAR, HUGE_SIZE), 0);
	change_there(&c);
	store_release(&c.moved, 1u);
	spin_until(load_acquire(&c.pinned) || load_acquire(&c.ended), "walker", -1);
	change_back(&c);
	EXPECT_EQ(space_move(c.s, FAR, BASE, HUGE_SIZE), 0);
	stall_point("move_begun")->action = let_the_walk_look;
	stall_point("move_begun")->arg = &c;
	stall_arm(stall_point("move_begun"), c.s, 0, 0, 0);
	EXPECT_EQ(space_move(c.s, BASE, FAR, HUGE_SIZE), 0);
	EXPECT_EQ(stall_point("move_begun")->hits, 1);
	EXPECT_EQ(space_protect(c.s, THERE, PAGE_SIZE, RW), 0);
	store_release(&c.back, 1u);
	mm_join(walker);
	EXPECT(!pinned_what_never_was_here(&c));
	stall_release(stall_point("move_begun"));
	stall_release(stall_point("walk_pinned"));
	tear_down(&c);
}

TEST(walk, move_between_its_looks, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		for (enum way way = 0; way < WAYS && pair_verdict(*p, flush_find("ipi")).safe; way++)
			away_between_two_looks(*p, way);
}

// A walk that begins after the move was counted and while the old entry still stands: to this walk the count does not
// grow, but it finds the parent changed.
static void begun_before_the_walk(const struct table_policy *p, enum form form, enum way way)
{
	struct thread *walker;
	struct scene c;

	if (!set_up(&c, p, form, way))
		return;
	stall_point("move_begun")->action = let_the_walk_begin;
	stall_point("move_begun")->arg = &c;
	stall_arm(stall_point("move_begun"), c.s, 0, 0, 0);
	store_release(&c.back, 1u);		// the walker need not wait for it
	walker = mm_thread("walker", walk_here, &c, mm_other_cpu(0));
	if (!EXPECT(walker))
		return;
	EXPECT_EQ(space_move(c.s, BASE, FAR, HUGE_SIZE), 0);
	EXPECT_EQ(stall_point("move_begun")->hits, 1);
	change_there(&c);
	store_release(&c.moved, 1u);
	mm_join(walker);
	EXPECT(!pinned_what_never_was_here(&c));
	stall_release(stall_point("move_begun"));
	tear_down(&c);
}

TEST(walk, move_begun_before_it, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p) {
		if (!pair_verdict(*p, flush_find("ipi")).safe)
			continue;
		for (enum way way = 0; way < WAYS; way++) {
			begun_before_the_walk(*p, PAGE_OF_ELSEWHERE, way);
			begun_before_the_walk(*p, PERMISSION_OF_ELSEWHERE, way);
		}
	}
}
#endif
