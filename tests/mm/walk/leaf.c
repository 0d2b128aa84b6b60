// SPDX-License-Identifier: MIT
// Walks that are held at the leaf, before and after the pin, while the page is unmapped. The walker is remote: no flush
// waits for it, whatever the policy.
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/test.h"
#include "mm/tree.h"
#include "mm/walk.h"
#include "tests/mm/frame/page/help.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK

static void go_on(struct stall_point *p, void *arg) { }

struct leaf_case {
	struct walk_job job;
	struct stall_point *point;
	struct thread *walker;
	struct page *frame;
	struct counters before;
};

// A page, a neighbour so that the tables stay, and a walker that is held on its way to the page.
static bool leaf_begin(struct leaf_case *c, const struct table_policy *p, struct stall_point *point, bool write, bool one)
{
	struct space *s = space_create_with(p, flush_find("ipi"));

	*c = (struct leaf_case){ .job = { .s = s, .va = BASE, .write = write, .one = one }, .point = point };
	if (!EXPECT(s))
		return false;
	EXPECT_EQ(space_map(s, BASE, 2 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(walk_pin_fast(s, BASE, 1, false, &c->frame), 1);
	page_unpin(c->frame, false);
	counters_snapshot(&c->before);
	stall_arm(point, s, BASE, BASE + PAGE_SIZE, 1);
	c->walker = mm_thread("walker", walk_once, &c->job, mm_other_cpu(0));
	if (!c->walker)
		return false;
	stall_wait_parked(point);
	return true;
}

// Let the walk end, and check how many pages it got and how often its second look found a change.
static void leaf_end(struct leaf_case *c, unsigned got, u64 restarts)
{
	struct counters after;

	stall_release(c->point);
	mm_join(c->walker);
	counters_snapshot(&after);
	EXPECT_EQ(c->job.got, got);
	EXPECT_EQ(after.walk_restarts - c->before.walk_restarts, restarts);
	if (c->job.got)
		page_unpin(c->job.page, false);
	space_put(c->job.s);
}

// What an unsafe policy's walker may read where a table was: a large leaf of which the first page or the next one has
// no descriptor. The walk may touch a page only if both that page and the leaf's first one have a descriptor.
static void garbage_leaf(const struct table_policy *p, paddr_t pa, bool one)
{
	struct space *s = space_create_with(p, flush_find("ipi"));
	struct page *page;
	pte_t *e;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);	// so that there is a table
	mutex_lock(&s->lock);
	e = tree_find(s, BASE, 2, NULL);
	mutex_unlock(&s->lock);
	REQUIRE(e && !pte_read(e));
	pte_write(e, pte_make_leaf(pa, 2, RW));
	for (unsigned i = 0; i < 2; i++) {
		vaddr_t va = BASE + i * PAGE_SIZE;
		bool looked_at = page_valid(pa) && page_valid(pa + i * PAGE_SIZE), got;

		stall_point("walk_leaf")->action = go_on;
		stall_arm(stall_point("walk_leaf"), s, va, va + PAGE_SIZE, 2);
		if (one)
			got = (page = s->walk_one[0](s, va)) != NULL;
		else
			got = walk_pin_fast(s, va, 1, false, &page);
		if (got)
			page_unpin(page, false);
		EXPECT_EQ(stall_point("walk_leaf")->hits, looked_at);
		EXPECT(!got || looked_at);
		stall_release(stall_point("walk_leaf"));
	}
	pte_write(e, 0);
	space_put(s);
}

TEST(walk, garbage_leaf_across_the_edge_of_memory, 0)
{
	paddr_t into_hole = page_hole() - PAGE_SIZE, out_of_hole = page_hole_end() - PAGE_SIZE;
	unsigned n = 0;

	FOR_EACH_POLICY(p) {
		if (!(*p)->distrusts)
			continue;
		for (unsigned one = 0; one < 2; one++) {
			garbage_leaf(*p, into_hole, one);
			if (page_hole_end())
				garbage_leaf(*p, out_of_hole, one);
		}
		n++;
	}
	EXPECT(n > 0);
}

// Allocate until this very frame comes: it is the warmest of this CPU's stock.
static bool take_frame(struct page *wanted)
{
	struct list others;
	struct page *p = NULL;

	list_init(&others);
	for (int i = 0; i < 64 && (p = page_alloc(0, PAGE_KERNEL, 0)) && p != wanted; i++)
		list_push_back(&others, &p->link);
	while (!list_empty(&others))
		page_put(list_entry(list_pop_front(&others), struct page, link));
	return p == wanted;
}

// The frame has another owner by now: the reference that the walker gets for a moment does not matter, and the walk
// does not return the frame, unless it fails to look again.
static void frame_reused(const struct table_policy *p, bool looks_again)
{
	struct leaf_case c;

	if (!leaf_begin(&c, p, stall_point("walk_leaf"), true, false))
		return;
	EXPECT_EQ(space_unmap(c.job.s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(READ_ONCE(c.frame->refs), 0);
	EXPECT(take_frame(c.frame));
	leaf_end(&c, !looks_again, looks_again);
	EXPECT_EQ(READ_ONCE(c.frame->refs), 1);
	EXPECT_EQ(c.frame->kind, PAGE_KERNEL);
	page_put(c.frame);
}

static void frame_freed(const struct table_policy *p)
{
	struct leaf_case c;

	if (!leaf_begin(&c, p, stall_point("walk_leaf"), true, false))
		return;
	EXPECT_EQ(space_unmap(c.job.s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(READ_ONCE(c.frame->refs), 0);
	leaf_end(&c, 0, 0);	// a count of 0 is not raised
}

// The unmapper's put is not the last: the walker's is, after its second look.
static void unmapped_when_pinned(const struct table_policy *p, bool one)
{
	struct mm_balance b;
	struct leaf_case c;

	mm_balance_begin(&b);
	if (!leaf_begin(&c, p, stall_point("walk_pinned"), false, one))
		return;
	EXPECT_EQ(READ_ONCE(c.frame->refs), 2);
	EXPECT_EQ(space_unmap(c.job.s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(READ_ONCE(c.frame->refs), 1);
	EXPECT_EQ(c.frame->kind, PAGE_ANON);
	leaf_end(&c, 0, 1);
	mm_balance_end(&b);
}

static void protected_when_pinned(const struct table_policy *p)
{
	struct leaf_case c;

	if (!leaf_begin(&c, p, stall_point("walk_pinned"), true, false))
		return;
	EXPECT_EQ(space_protect(c.job.s, BASE, PAGE_SIZE, PROT_R), 0);
	leaf_end(&c, 0, 1);
}

// The leaf alone moves; its table, and so the way to it, stays as it is.
static void moved_away(const struct table_policy *p, struct stall_point *point, bool one, bool looks_again)
{
	struct leaf_case c;

	if (!leaf_begin(&c, p, point, true, one))
		return;
	EXPECT_EQ(space_move(c.job.s, BASE, FAR + PAGE_SIZE, PAGE_SIZE), 0);
	leaf_end(&c, !looks_again, looks_again);
}

// The walk's answer is true again when it looks again.
static void moved_and_back(const struct table_policy *p, struct stall_point *point)
{
	struct leaf_case c;

	if (!leaf_begin(&c, p, point, true, false))
		return;
	EXPECT_EQ(space_map(c.job.s, FAR, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);	// so that no table is freed
	EXPECT_EQ(space_move(c.job.s, BASE, FAR + PAGE_SIZE, PAGE_SIZE), 0);
	EXPECT_EQ(space_move(c.job.s, FAR + PAGE_SIZE, BASE, PAGE_SIZE), 0);
	leaf_end(&c, 1, 0);
	EXPECT_EQ(c.job.page, c.frame);
}

// What the processor itself writes into an entry (A, D) is no change.
static void accessed_when_pinned(const struct table_policy *p)
{
	struct leaf_case c;
	pte_t *e;

	if (!leaf_begin(&c, p, stall_point("walk_pinned"), false, false))
		return;
	mutex_lock(&c.job.s->lock);
	e = tree_find(c.job.s, BASE, 1, NULL);
	mutex_unlock(&c.job.s->lock);
	EXPECT(!pte_dirty(pte_read(e)));
	space_attach(c.job.s);
	EXPECT_EQ(arch_user_write64(BASE, 1), 0);
	space_detach();
	EXPECT(pte_dirty(pte_read(e)) && pte_accessed(pte_read(e)));
	leaf_end(&c, 1, 0);
}

// The leaf is unchanged, but the entry that leads to its table has changed.
static void parent_changed_when_pinned(const struct table_policy *p, bool looks_again)
{
	struct leaf_case c;
	pte_t *e, old;

	if (!leaf_begin(&c, p, stall_point("walk_pinned"), false, false))
		return;
	mutex_lock(&c.job.s->lock);
	e = tree_find(c.job.s, BASE, 2, NULL);
	mutex_unlock(&c.job.s->lock);
	old = pte_read(e);
	pte_write(e, pte_without_write(old));
	stall_release(c.point);
	spin_until(READ_ONCE(c.walker->state) == THREAD_DEAD, "walker", -1);
	pte_write(e, old);
	leaf_end(&c, !looks_again, looks_again);
}

TEST(walk, frame_reused_before_the_pin, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		frame_reused(*p, true);
	mutant_set(walk_no_leaf_recheck, 1);
	frame_reused(policy_default(), false);
	mutant_set(walk_no_leaf_recheck, 0);
}

TEST(walk, leaf_moved_away, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		for (unsigned one = 0; one < 2; one++) {
			moved_away(*p, stall_point("walk_leaf"), one, true);
			moved_away(*p, stall_point("walk_pinned"), one, true);
		}
	mutant_set(walk_no_leaf_recheck, 1);
	moved_away(policy_find("rcu"), stall_point("walk_leaf"), false, false);
	mutant_set(walk_no_leaf_recheck, 0);
}

TEST(walk, leaf_moved_and_back, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p) {
		moved_and_back(*p, stall_point("walk_leaf"));
		moved_and_back(*p, stall_point("walk_pinned"));
	}
}

TEST(walk, frame_freed_before_the_pin, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		frame_freed(*p);
}

TEST(walk, unmapped_after_the_pin, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p) {
		unmapped_when_pinned(*p, false);
		unmapped_when_pinned(*p, true);
	}
}

TEST(walk, protected_after_the_pin, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		protected_when_pinned(*p);
}

TEST(walk, accessed_after_the_pin, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		accessed_when_pinned(*p);
}

TEST(walk, parent_changed_after_the_pin, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		parent_changed_when_pinned(*p, true);
	mutant_set(walk_no_parent_recheck, 1);
	parent_changed_when_pinned(policy_default(), false);
	mutant_set(walk_no_parent_recheck, 0);
}

TEST(walk, nothing_asked_for, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(walk_pin_fast(s, BASE, 0, false, NULL), 0);
	EXPECT_EQ(walk_pin_range(s, BASE, 0, false, NULL), 0);
	space_put(s);
}
#endif
