// SPDX-License-Identifier: MIT
// Walks that are held at a stall point, on another CPU, while what they look at is taken away. What hangs on the policy is how
// long a table outlives its unmap; the oracle must say so when it does not live long enough.
#include "kernel/lib.h"
#include "kernel/rcu.h"
#include "kernel/stall.h"
#include "kernel/test.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "mm/oracle.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm_help.h"

#if CHECK
STALL_DECLARE(walk_level);
STALL_DECLARE(walk_leaf);
STALL_DECLARE(walk_pinned);

#define BASE 0x10000000000ull	// the start of an L3 table
#define RW (PROT_R | PROT_W)

struct walk_job {
	struct space *s;
	vaddr_t va;
	bool write;
	bool local;		// the walker runs in the space
	unsigned got;
	struct page *page;
};

static int walk_once(void *arg)
{
	struct walk_job *j = arg;

	if (j->local)
		space_attach(j->s);
	j->got = walk_pin_fast(j->s, j->va, 1, j->write, &j->page);
	if (j->local)
		space_detach();
	return 0;
}

// ---- Held at the leaf. The walker is remote: nobody's flush waits for it, whatever the policy. ----

struct leaf_case {
	struct walk_job job;
	struct stall_point *point;
	struct thread *walker;
	struct page *frame;
	struct counters before;
};

// A page with a neighbour that keeps the tables, and a walker held on its way to it.
static bool leaf_begin(struct leaf_case *c, const struct table_policy *p, struct stall_point *point, bool write)
{
	struct space *s = space_create_with(p, flush_find("ipi"));

	*c = (struct leaf_case){ .job = { .s = s, .va = BASE, .write = write }, .point = point };
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

// Let it go; how many pages it got, and how often it found at its second look that something had changed.
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

// Allocate until this very frame comes: it is the warmest of this CPU.
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

// Somebody else's by now: the reference that the walker gets for a moment does not matter, and it does not return the frame.
static void frame_reused(const struct table_policy *p)
{
	struct leaf_case c;

	if (!leaf_begin(&c, p, &stall_walk_leaf, true))
		return;
	EXPECT_EQ(space_unmap(c.job.s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(READ_ONCE(c.frame->refs), 0);
	EXPECT(take_frame(c.frame));
	leaf_end(&c, 0, 1);
	EXPECT_EQ(READ_ONCE(c.frame->refs), 1);
	EXPECT_EQ(c.frame->kind, PAGE_KERNEL);
	page_put(c.frame);
}

static void frame_freed(const struct table_policy *p)
{
	struct leaf_case c;

	if (!leaf_begin(&c, p, &stall_walk_leaf, true))
		return;
	EXPECT_EQ(space_unmap(c.job.s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(READ_ONCE(c.frame->refs), 0);
	leaf_end(&c, 0, 0);	// a count of 0 is not raised
}

// The unmapper's put is not the last: the walker's is, after its second look.
static void unmapped_when_pinned(const struct table_policy *p)
{
	struct mm_balance b;
	struct leaf_case c;

	mm_balance_begin(&b);
	if (!leaf_begin(&c, p, &stall_walk_pinned, false))
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

	if (!leaf_begin(&c, p, &stall_walk_pinned, true))
		return;
	EXPECT_EQ(space_protect(c.job.s, BASE, PAGE_SIZE, PROT_R), 0);
	leaf_end(&c, 0, 1);
}

// What the processor writes into an entry by itself is no change.
static void accessed_when_pinned(const struct table_policy *p)
{
	struct leaf_case c;
	pte_t *e;

	if (!leaf_begin(&c, p, &stall_walk_pinned, false))
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

// The leaf stands where it stood, but its table is no longer led to as it was.
static void parent_changed_when_pinned(const struct table_policy *p)
{
	struct leaf_case c;
	pte_t *e, old;

	if (!leaf_begin(&c, p, &stall_walk_pinned, false))
		return;
	mutex_lock(&c.job.s->lock);
	e = tree_find(c.job.s, BASE, 2, NULL);
	mutex_unlock(&c.job.s->lock);
	old = pte_read(e);
	pte_write(e, old & ~(pte_t)PTE_W);
	stall_release(c.point);
	spin_until(READ_ONCE(c.walker->state) == THREAD_DEAD, "walker", -1);
	pte_write(e, old);
	leaf_end(&c, 0, 1);
}

TEST(walk, frame_reused_before_the_pin, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		frame_reused(*p);
}

TEST(walk, frame_freed_before_the_pin, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		frame_freed(*p);
}

TEST(walk, unmapped_after_the_pin, NEEDS_CPUS2 | NEEDS_CHECK)
{
	FOR_EACH_POLICY(p)
		unmapped_when_pinned(*p);
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
		parent_changed_when_pinned(*p);
}

// ---- Held between an entry that names a table and that table. ----

struct level_case {
	struct walk_job job;
	struct page *table;	// the walker is about to read it
	u32 there;		// the walker is held
	u32 returned;		// the unmapper is back
	u64 hold_ns;
	u32 too_early;		// how often the walker, while held, saw what must not be yet
};

static void watch(struct level_case *c, bool unmap_may_return)
{
	for (u64 end = now_ns() + c->hold_ns; now_ns() < end;) {
		enum table_state state = mm_state(c->table);

		c->too_early += state == TABLE_QUIESCED || state == TABLE_FREE;
		c->too_early += !unmap_may_return && READ_ONCE(c->returned);
		cpu_relax();
	}
}

// The unmap must wait for this walk.
static void hold_up_the_unmap(struct stall_point *p, void *arg)
{
	struct level_case *c = arg;

	store_release(&c->there, 1u);
	spin_until(mm_state(c->table) != TABLE_LIVE, "the unmap", -1);
	watch(c, false);
}

// The unmap returns, and the table must wait for this walk.
static void hold_up_the_free(struct stall_point *p, void *arg)
{
	struct level_case *c = arg;

	store_release(&c->there, 1u);
	spin_until(load_acquire(&c->returned), "the unmap", -1);
	watch(c, true);
}

// Nobody waits for this walk.
static void hold_up_nobody(struct stall_point *p, void *arg)
{
	struct level_case *c = arg;

	store_release(&c->there, 1u);
	spin_until(load_acquire(&c->returned), "the unmap", -1);
}

// Hold a walk at the entry of `level`; unmap; let the walk end. What the oracle says of it is the caller's business.
static void level_run(struct level_case *c, const char *policy, bool local, int level, bool keep_upper,
		      void (*action)(struct stall_point *, void *))
{
	struct space *s = space_create_with(policy_find(policy), flush_find("ipi"));
	struct thread *walker;

	*c = (struct level_case){ .job = { .s = s, .va = BASE, .local = local }, .hold_ns = 2 * NSEC_PER_MSEC };
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	if (keep_upper)		// another L1 table under the same L2 table
		EXPECT_EQ(space_map(s, BASE + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	c->table = mm_table(s, BASE, level - 1);
	REQUIRE(c->table);
	stall_walk_level.action = action;
	stall_walk_level.arg = c;
	stall_arm(&stall_walk_level, s, BASE, BASE + PAGE_SIZE, level);
	walker = mm_thread("walker", walk_once, &c->job, mm_other_cpu(0));
	REQUIRE(walker);
	spin_until(load_acquire(&c->there), "walker", -1);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	if (!strcmp(policy, "rcu") && !local)
		EXPECT_EQ(mm_state(c->table), TABLE_FLUSHED);
	if (strcmp(policy, "rcu"))
		EXPECT_EQ(mm_state(c->table), TABLE_FREE);
	store_release(&c->returned, 1u);
	mm_join(walker);
	EXPECT_EQ(stall_walk_level.hits, 1);
	stall_release(&stall_walk_level);
	EXPECT_EQ(c->job.got, 0);
	EXPECT_EQ(c->too_early, 0);
	rcu_barrier();
	EXPECT_EQ(mm_state(c->table), TABLE_FREE);
	EXPECT(mm_poisoned(c->table));
	EXPECT(cpumask_empty(&s->walkers));
	space_put(s);
}

// Under a safe policy no table goes under a held walk, at whatever level, and the oracle has nothing to say.
static void safe_levels(const char *policy, bool local, void (*action)(struct stall_point *, void *))
{
	u64 violations = oracle_violations();
	struct counters before, after;
	struct mm_balance b;
	struct level_case c;

	mm_balance_begin(&b);
	counters_snapshot(&before);
	for (int level = 2; level <= PT_LEVELS; level++)
		level_run(&c, policy, local, level, false, action);
	counters_snapshot(&after);
	EXPECT_EQ(oracle_violations() - violations, 0);
	EXPECT_EQ(after.ipi_walker - before.ipi_walker, !strcmp(policy, "ipi") && !local ? PT_LEVELS - 1 : 0);
	mm_balance_end(&b);
}

TEST(walk, ipi_unmap_waits_for_a_local_walk, NEEDS_CPUS2 | NEEDS_CHECK) { safe_levels("ipi", true, hold_up_the_unmap); }
TEST(walk, ipi_unmap_waits_for_a_remote_walk, NEEDS_CPUS2 | NEEDS_CHECK) { safe_levels("ipi", false, hold_up_the_unmap); }
// The walker's CPU has the space loaded, so it is the flush that waits.
TEST(walk, rcu_flush_waits_for_a_local_walk, NEEDS_CPUS2 | NEEDS_CHECK) { safe_levels("rcu", true, hold_up_the_unmap); }
TEST(walk, rcu_table_waits_for_a_remote_walk, NEEDS_CPUS2 | NEEDS_CHECK) { safe_levels("rcu", false, hold_up_the_free); }

static void convicted(unsigned times, bool local, int level, bool keep_upper)
{
	unsigned found = 0;
	struct level_case c;

	oracle_expect_violations(true);
	for (unsigned i = 0; i < times; i++) {
		u64 violations = oracle_violations();

		level_run(&c, "immediate", local, level, keep_upper, hold_up_nobody);
		found += oracle_violations() > violations;
	}
	oracle_expect_violations(false);
	EXPECT_EQ(found, times);
}

// Each single time. (Tables above, which a walker is in as well, are lost for good when they are hit: few times only.)
TEST(walk, immediate_is_convicted_100_of_100, NEEDS_CPUS2 | NEEDS_CHECK) { convicted(100, true, 2, true); }
TEST(walk, immediate_is_convicted_at_each_level, NEEDS_CPUS2 | NEEDS_CHECK)
{
	for (int level = 2; level <= PT_LEVELS; level++) {
		convicted(3, true, level, false);
		convicted(3, false, level, false);
	}
}

// What the oracle says is what happened.
TEST(walk, violation_record, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct violation v[4];
	struct level_case c;
	unsigned n;

	oracle_reset();
	oracle_expect_violations(true);
	level_run(&c, "immediate", true, 2, true, hold_up_nobody);
	oracle_expect_violations(false);
	n = oracle_records(v, ARRAY_SIZE(v));
	REQUIRE(n == 1 && oracle_violations() == 1);
	EXPECT(!strcmp(v->policy, "immediate") && !strcmp(v->flush, "ipi") && !strcmp(v->seen_by, "walker"));
	EXPECT_EQ(v->table, page_to_phys(c.table));
	EXPECT_EQ(v->level, 1);
	EXPECT_EQ(v->walker_cpu, mm_other_cpu(0));
	EXPECT_EQ(v->va, BASE);
	EXPECT(v->depth > 0 && v->walker_pc);
}

// The walker is inside the upper tables: it is the freer who sees it there.
TEST(walk, violation_seen_by_the_freer, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct violation v[4];
	struct level_case c;
	unsigned n, by_freer = 0;

	oracle_reset();
	oracle_expect_violations(true);
	level_run(&c, "immediate", true, 2, false, hold_up_nobody);
	oracle_expect_violations(false);
	n = oracle_records(v, ARRAY_SIZE(v));
	for (unsigned i = 0; i < n; i++)
		by_freer += !strcmp(v[i].seen_by, "freer") && v[i].level >= 2 && v[i].walker_cpu == mm_other_cpu(0);
	EXPECT_EQ(by_freer, 2);
}

// ---- A walk in an interrupt, inside a walk that it interrupts. ----

struct nested {
	struct level_case outer;
	struct space *s;
	unsigned got;
	u32 done;
};

static void walk_inside(void *arg)
{
	struct nested *n = arg;
	struct page *page;

	n->got = walk_pin_fast(n->s, BASE, 1, true, &page);
	if (n->got)
		page_unpin(page, false);
	store_release(&n->done, 1u);
}

static void wait_for_interrupt(struct stall_point *p, void *arg)
{
	struct nested *n = arg;

	store_release(&n->outer.there, 1u);
	spin_until(load_acquire(&n->done), "the inner walk", -1);
	spin_until(load_acquire(&n->outer.returned), "the unmap", -1);
}

// The inner walk pins its page, and what the outer one has published is still seen: an unmap is convicted by the freer.
TEST(walk, interrupted_by_a_walk, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct nested n = { .s = space_create() };
	struct space *s = space_create_with(policy_find("immediate"), flush_find("ipi"));
	struct violation v[4];
	struct thread *walker;

	REQUIRE(n.s && s);
	n.outer.job = (struct walk_job){ .s = s, .va = BASE };
	EXPECT_EQ(space_map(n.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	stall_walk_level.action = wait_for_interrupt;
	stall_walk_level.arg = &n;
	stall_arm(&stall_walk_level, s, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_once, &n.outer.job, mm_other_cpu(0));
	REQUIRE(walker);
	spin_until(load_acquire(&n.outer.there), "walker", -1);
	xcall_one(mm_other_cpu(0), walk_inside, &n);
	EXPECT_EQ(n.got, 1);
	oracle_reset();
	oracle_expect_violations(true);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(oracle_records(v, ARRAY_SIZE(v)), 2);		// levels 3 and 2, by the freer; level 1 is not read yet
	store_release(&n.outer.returned, 1u);
	mm_join(walker);
	oracle_expect_violations(false);
	stall_release(&stall_walk_level);
	space_put(n.s);
	space_put(s);
}
#endif
