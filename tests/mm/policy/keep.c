// SPDX-License-Identifier: MIT
// Policies that keep tables: what stays linked, what must make way and is laid aside, and what goes when the space ends
// or gets another policy.
#include "kernel/errno.h"
#include "lab/inject.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/pending.h"
#include "mm/policy/switch.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/stamps.h"
#include "tests/mm/walk/hold.h"

#define FOR_EACH_KEEPER(it) FOR_EACH_POLICY(it) if ((*it)->keeps)

static unsigned laid_aside(const struct space *s)
{
	unsigned n = 0;

	list_for_each(it, &s->aside)
		n++;
	return n;
}

static struct counters since(const struct counters *before)
{
	struct counters now;

	counters_snapshot(&now);
	counters_sub(&now, &now, before);
	return now;
}

// Maps a page and unmaps it again: the table of level 1 stays, empty. Returns it.
static struct page *leave_empty(struct space *s, vaddr_t va)
{
	struct page *table;

	EXPECT_EQ(space_map(s, va, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	table = mm_table(s, va, 1);
	EXPECT_EQ(space_unmap(s, va, PAGE_SIZE), 0);
	EXPECT(table && mm_table(s, va, 1) == table && mm_state(table) == TABLE_LIVE && !table->private);
	return table;
}

static bool keeper_exists(void)
{
	FOR_EACH_KEEPER(p)
		return true;
	return false;
}

TEST(keep, fields, 0)
{
	EXPECT(keeper_exists());
	FOR_EACH_KEEPER(p)
		EXPECT((*p)->leave && (*p)->waits == WAIT_OWN);
}

// Whatever empties it, a table stays, is counted once, and is used again.
static void stays(const struct table_policy *p)
{
	struct counters before, d;
	struct mm_balance b;
	struct page *table;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create_with(p, flush_find("ipi"));
	REQUIRE(s);
	counters_snapshot(&before);
	table = leave_empty(s, BASE);
	EXPECT_EQ(space_unmap(s, BASE, level_size(2)), 0);		// nothing is there
	EXPECT_EQ(space_map(s, BASE, level_size(2), RW, 1, 0), 0);
	EXPECT_EQ(space_fault(s, BASE + PAGE_SIZE, true), 0);
	EXPECT(mm_table(s, BASE, 1) == table && table->private == 1);
	EXPECT_EQ(space_discard(s, BASE, level_size(2)), 0);
	EXPECT(mm_table(s, BASE, 1) == table && table->private == 0);
	EXPECT_EQ(space_fault(s, BASE, true), 0);
	EXPECT_EQ(space_move(s, BASE, FAR, level_size(2)), 0);		// the upper table of the old place stays, empty
	EXPECT(mm_table(s, FAR, 1) == table && mm_table(s, BASE, 2) && !mm_table(s, BASE, 2)->private);
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	d = since(&before);
	EXPECT_EQ(d.tables_emptied, 4);
	EXPECT_EQ(d.tables_unlinked, 0);
	EXPECT_EQ(d.tables_allocated, 5);
	space_put(s);
	d = since(&before);
	EXPECT_EQ(d.tables_freed, 6);		// and the root
	mm_balance_end(&b);
}

TEST(keep, tables_stay_until_the_space_ends, 0)
{
	FOR_EACH_KEEPER(p)
		stays(*p);
}

// ---- What must make way ---------------------------------------------------------------------------------------------

static int map_large(struct space *s) { return space_map(s, BASE, HUGE_SIZE, RW, 2, MAP_POPULATE); }

static int fault_large(struct space *s)
{
	int err = space_map(s, BASE, HUGE_SIZE, RW, 2, 0);

	return err ?: space_fault(s, BASE + 7 * PAGE_SIZE, true);
}

static int move_there(struct space *s)
{
	int err = space_map(s, FAR, HUGE_SIZE, RW, 1, MAP_POPULATE);

	return err ?: space_move(s, FAR, BASE, HUGE_SIZE);
}

// The empty table at BASE is unlinked, flushed, and laid aside as it is, without a credit. Nobody waits for it.
static void makes_way(const struct table_policy *p, const struct flush_backend *f, int (*takes_its_place)(struct space *))
{
	u64 waiting = tables_waiting();
	struct mm_balance b;
	struct page *table;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create_with(p, f);
	REQUIRE(s);
	space_attach(s);
	table = leave_empty(s, BASE);
	EXPECT_EQ(takes_its_place(s), 0);
	EXPECT(frame_at(s, BASE) && mm_table(s, BASE, 1) != table);
	EXPECT(zero_pages(BASE, PT_ENTRIES) == PT_ENTRIES);
	EXPECT(mm_state(table) == TABLE_FLUSHED && page_is_zero(table));
	EXPECT_EQ(laid_aside(s), 1);
	EXPECT_EQ(mm_table(s, BASE, 2)->private, 1);
	EXPECT_EQ(pending_in_use(), 0);
	EXPECT_EQ(tables_waiting(), waiting);
	space_detach();
	space_put(s);
	EXPECT_EQ(mm_state(table), TABLE_FREE);
	mm_balance_end(&b);
}

TEST(keep, table_makes_way, NEEDS_CHECK)
{
	FOR_EACH_KEEPER(p) {
		FOR_EACH_BACKEND(f) {
			if (flush_missing(*f))
				continue;
			makes_way(*p, *f, map_large);
			makes_way(*p, *f, fault_large);
			makes_way(*p, *f, move_there);
		}
	}
}

// A page of 1 GiB takes the place of a whole subtree. (There may be no such page to be had; the subtree has made way by
// then.)
static void subtree_makes_way(const struct table_policy *p)
{
	struct page *table[3];
	struct mm_balance b;
	struct space *s;
	int err;

	mm_balance_begin(&b);
	s = space_create_with(p, flush_find("ipi"));
	REQUIRE(s);
	table[0] = leave_empty(s, BASE);
	table[1] = leave_empty(s, BASE + 5 * level_size(2));
	table[2] = mm_table(s, BASE, 2);
	err = space_map(s, BASE, level_size(3), RW, 3, MAP_POPULATE);
	EXPECT(err == 0 || err == -ENOMEM);
	EXPECT_EQ(s->mapped, err ? 0 : level_size(3) >> PAGE_SHIFT);
	EXPECT(!mm_table(s, BASE, 2) && mm_table(s, BASE, 3));
	EXPECT_EQ(laid_aside(s), 3);
	for (unsigned i = 0; i < 3; i++)
		EXPECT(mm_state(table[i]) == TABLE_FLUSHED && page_is_zero(table[i]));
	space_put(s);
	mm_balance_end(&b);
}

TEST(keep, subtree_makes_way, 0)
{
	if (!arch_has_page_size(3))
		SKIP("the CPU has no 1 GiB pages");
	FOR_EACH_KEEPER(p)
		subtree_makes_way(*p);
}

#if CHECK
// A fault for want of memory: the nth allocation fails. The tables that it has made by then stay, and nothing is mapped.
static void fault_in_vain(struct space *s, vaddr_t va, int level, u64 nth)
{
	EXPECT_EQ(space_map(s, va, level_size(level), RW, level, 0), 0);
	inject_alloc_failure(nth);
	EXPECT_EQ(space_fault(s, va, true), -ENOMEM);
	EXPECT(inject_fired());
	inject_alloc_failure(0);
	EXPECT_EQ(space_unmap(s, va, level_size(level)), 0);
	EXPECT_EQ(s->mapped, 0);
}

// A space may end that has never had a page: its tables have stayed empty, and have made way for large pages that were
// not to be had. Each of them is freed then, and only once.
static void ends_without_a_page(const struct table_policy *p)
{
	u64 waiting = tables_waiting();
	struct counters before, d;
	struct page *table[3];
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	counters_snapshot(&before);
	s = space_create_with(p, flush_find("ipi"));
	REQUIRE(s);
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		fault_in_vain(s, BASE + i * HUGE_SIZE, 1, i ? 2 : PT_LEVELS);	// after its tables
		table[i] = mm_table(s, BASE + i * HUGE_SIZE, 1);
		REQUIRE(table[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		fault_in_vain(s, BASE + i * HUGE_SIZE, 2, 1);			// after the table has made way
	EXPECT_EQ(laid_aside(s), 2);
	EXPECT(mm_state(table[0]) == TABLE_FLUSHED && mm_state(table[1]) == TABLE_FLUSHED);
	EXPECT_EQ(mm_state(table[2]), TABLE_LIVE);
	space_put(s);
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		EXPECT_EQ(mm_state(table[i]), TABLE_FREE);
	d = since(&before);
	EXPECT_EQ(d.tables_allocated, PT_LEVELS + 2);
	EXPECT_EQ(d.tables_freed, PT_LEVELS + 2);
	EXPECT_EQ(d.frees_l1, 3);
	EXPECT_EQ(d.tables_kept, 0);
	EXPECT_EQ(tables_waiting(), waiting);
	mm_balance_end(&b);
}

TEST(keep, space_ends_without_ever_having_had_a_page, NEEDS_CHECK)
{
	FOR_EACH_KEEPER(p)
		ends_without_a_page(*p);
}
#endif

// More tables than there are credits: whoever waited for theirs would wait until the space ends.
TEST(keep, what_is_laid_aside_holds_no_credit, 0)
{
	enum { BOUND = 64 };
	u64 max = pending_set_max(BOUND);

	FOR_EACH_KEEPER(p) {
		struct space *s = space_create_with(*p, flush_find("ipi"));
		struct mm_balance b;

		REQUIRE(s);
		for (unsigned i = 0; i < BOUND + 8; i++) {
			leave_empty(s, BASE);
			EXPECT_EQ(map_large(s), 0);
			EXPECT_EQ(space_unmap(s, BASE, HUGE_SIZE), 0);
		}
		EXPECT_EQ(laid_aside(s), BOUND + 8);
		EXPECT_EQ(pending_in_use(), 0);
		mm_balance_begin(&b);
		mm_balance_end(&b);		// does not wait for them either
		space_put(s);
	}
	pending_set_max(max);
}

// Whether a space has something laid aside, something mapped, or neither: all are pruned, at either end of the user half.
static void all_are_pruned(const struct table_policy *from)
{
	struct space *s[2] = { space_create_with(from, flush_find("ipi")), space_create_with(from, flush_find("ipi")) };
	const struct policy_pair usual = { policy_default(), flush_default() };
	u64 waiting = tables_waiting();
	struct counters before;
	struct page *table[5];

	REQUIRE(s[0] && s[1]);
	counters_snapshot(&before);
	for (unsigned i = 0; i < 3; i++) {
		vaddr_t va = BASE + i * HUGE_SIZE;

		table[i] = leave_empty(s[0], va);
		EXPECT_EQ(space_map(s[0], va, HUGE_SIZE, RW, 2, MAP_POPULATE), 0);
		EXPECT_EQ(space_unmap(s[0], va, HUGE_SIZE), 0);
	}
	table[3] = leave_empty(s[0], USER_END - HUGE_SIZE);
	table[4] = leave_empty(s[1], BASE);
	EXPECT(laid_aside(s[0]) == 3 && laid_aside(s[1]) == 0);
	EXPECT_EQ(policy_switch_all(policy_find("rcu"), flush_find("ipi")), 0);
	policies_drain();
	for (unsigned i = 0; i < 2; i++)
		EXPECT(laid_aside(s[i]) == 0 && page_of(s[i]->root_pa)->private == 0);
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		EXPECT_EQ(mm_state(table[i]), TABLE_FREE);
	EXPECT_EQ(since(&before).tables_kept, 0);
	EXPECT_EQ(tables_waiting(), waiting);
	EXPECT_EQ(policy_switch_all(usual.policy, usual.backend), 0);
	space_put(s[0]);
	space_put(s[1]);
}

TEST(keep, switch_of_all_prunes_all, NEEDS_CHECK)
{
	FOR_EACH_KEEPER(p)
		all_are_pruned(*p);
}

#if CHECK

// Not even a back-end that defers may leave the table in other CPUs' caches when something else stands in its place.
TEST(keep, table_makes_way_at_once, NEEDS_CPUS2)
{
	FOR_EACH_KEEPER(p) {
		struct mm_resident r = { .s = space_create_with(*p, flush_find("lazy")) };
		struct page *table;
		struct thread *t;

		REQUIRE(r.s);
		t = mm_thread("resident", mm_reside, &r, mm_other_cpu(0));
		REQUIRE(t);
		spin_until(load_acquire(&r.there), "the resident", -1);
		table = leave_empty(r.s, BASE);
		flush_drain();
		EXPECT_EQ(map_large(r.s), 0);
		EXPECT_EQ(mm_state(table), TABLE_FLUSHED);
		EXPECT_EQ(load_acquire(&r.s->deferred), 0);
		store_release(&r.go, 1u);
		mm_join(t);
		space_put(r.s);
	}
}

// A walker has read the entry of the table when a large leaf takes its place; it goes on when the leaf is there.
struct held {
	struct walk_job job;
	struct page *table;
	u32 there, go;
	enum table_state seen;		// of the table, before the walker went on
};

static void hold(struct stall_point *p, void *arg)
{
	struct held *h = arg;

	store_release(&h->there, 1u);
	spin_until(load_acquire(&h->go), "the large leaf", -1);
	WHILE_OTHERS_RUN(2)
		h->seen = mm_state(h->table);
}

static struct thread *walk_into(struct held *h, struct space *s)
{
	struct thread *walker;

	*h = (struct held){ .job = { .s = s, .va = BASE }, .table = leave_empty(s, BASE) };
	stall_point("walk_level")->action = hold;
	stall_point("walk_level")->arg = h;
	stall_arm(stall_point("walk_level"), s, BASE, BASE + PAGE_SIZE, 2);
	walker = mm_thread("walker", walk_once, &h->job, mm_other_cpu(0));
	if (EXPECT(walker))
		spin_until(load_acquire(&h->there), "walker", -1);
	return walker;
}

static void end_walk(struct held *h, struct thread *walker)
{
	store_release(&h->go, 1u);
	mm_join(walker);
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(h->seen, TABLE_FLUSHED);
	if (h->job.got)
		page_unpin(h->job.page, false);
}

TEST(keep, walker_may_be_inside, NEEDS_CPUS2)
{
	FOR_EACH_KEEPER(p) {
		u64 violations = oracle_violations();
		struct space *s = space_create_with(*p, flush_find("ipi"));
		struct counters before;
		struct thread *walker;
		struct held h;

		REQUIRE(s);
		counters_snapshot(&before);
		walker = walk_into(&h, s);
		EXPECT_EQ(since(&before).emptied_during_walk, 0);
		leave_empty(s, FAR);
		EXPECT_EQ(since(&before).emptied_during_walk, 1);
		EXPECT_EQ(map_large(s), 0);
		end_walk(&h, walker);
		EXPECT_EQ(h.job.got, 0);	// nobody has told it to look again
		EXPECT(page_is_zero(h.table));
		EXPECT_EQ(oracle_violations() - violations, 0);
		space_put(s);
		EXPECT_EQ(mm_state(h.table), TABLE_FREE);
	}
}

// ---- A switch to another policy -------------------------------------------------------------------------------------

struct switching {
	struct held held;
	struct thread *walker;
	struct space *s;
};

// All walkers follow the union, and tables are freed under the old policy: a walker comes, and its table is laid aside.
static void replace_under_a_walker(struct stall_point *p, void *arg)
{
	struct switching *w = arg;

	w->walker = walk_into(&w->held, w->s);
	EXPECT_EQ(map_large(w->s), 0);
	EXPECT_EQ(laid_aside(w->s), 1);
}

// The freer has changed, and the space has left the old policy. The walker is still there.
static void let_the_walker_go(struct stall_point *p, void *arg)
{
	struct switching *w = arg;

	EXPECT_EQ(laid_aside(w->s), 0);
	end_walk(&w->held, w->walker);
}

static void arm(const char *name, struct switching *w, void (*action)(struct stall_point *, void *))
{
	stall_point(name)->action = action;
	stall_point(name)->arg = w;
	stall_arm(stall_point(name), w->s, 0, 0, 0);
}

static void switches_under_a_walker(const struct table_policy *from, const struct table_policy *to)
{
	struct switching w = { .s = space_create_with(from, flush_find("ipi")) };
	u64 violations = oracle_violations();

	REQUIRE(w.s);
	arm("switch_union", &w, replace_under_a_walker);
	arm("switch_moved", &w, let_the_walker_go);
	EXPECT_EQ(space_switch_pair(w.s, to, flush_find("ipi")), 0);
	EXPECT(stall_point("switch_union")->hits == 1 && stall_point("switch_moved")->hits == 1);
	stall_release(stall_point("switch_union"));
	stall_release(stall_point("switch_moved"));
	EXPECT_EQ(mm_state(w.held.table), TABLE_FREE);
	EXPECT_EQ(oracle_violations() - violations, 0);
	space_put(w.s);
}

static bool may_follow(const struct table_policy *p)
{
	return !p->keeps && pair_verdict(p, flush_find("ipi")).safe;
}

// (Not to a policy whose walkers are targets: then the flush itself waits for the held walker, before anything is laid
// aside.)
TEST(keep, switch_waits_for_walkers_of_what_was_laid_aside, NEEDS_CPUS2)
{
	FOR_EACH_KEEPER(from)
		FOR_EACH_POLICY(to)
			if (may_follow(*to) && !(*to)->walkers_are_targets)
				switches_under_a_walker(*from, *to);
}

// After the switch only those tables are left that lead to a page: neither linked nor laid aside is anything kept.
static void prunes(const struct table_policy *from, const struct table_policy *to)
{
	struct page *aside, *empty, *used, *upper;
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create_with(from, flush_find("ipi"));
	REQUIRE(s);
	aside = leave_empty(s, BASE);
	EXPECT_EQ(map_large(s), 0);
	empty = leave_empty(s, BASE + HUGE_SIZE);
	leave_empty(s, FAR);
	upper = mm_table(s, FAR, 3);
	EXPECT_EQ(space_map(s, BASE + 2 * HUGE_SIZE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	used = mm_table(s, BASE + 2 * HUGE_SIZE, 1);
	EXPECT_EQ(space_switch_pair(s, to, flush_find("ipi")), 0);
	EXPECT_EQ(laid_aside(s), 0);
	EXPECT_EQ(page_of(s->root_pa)->private, 1);
	EXPECT_EQ(mm_table(s, BASE, 2)->private, 2);
	EXPECT(mm_table(s, BASE + 2 * HUGE_SIZE, 1) == used && leaf_level(s, BASE) == 2);
	if (to->drain)
		to->drain();
	EXPECT(mm_state(aside) == TABLE_FREE && mm_state(empty) == TABLE_FREE && mm_state(upper) == TABLE_FREE);
	EXPECT_EQ(space_switch_pair(s, from, flush_find("ipi")), 0);		// and back
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	EXPECT(mm_table(s, BASE + 2 * HUGE_SIZE, 1) == used && !used->private);
	space_put(s);
	mm_balance_end(&b);
}

TEST(keep, switch_prunes, NEEDS_CHECK)
{
	FOR_EACH_KEEPER(from)
		FOR_EACH_POLICY(to)
			if (may_follow(*to))
				prunes(*from, *to);
}
#endif
