// SPDX-License-Identifier: MIT
// Real bugs of collapse, reuse and move: each scene passes on the kernel as it is, and fails when the step is taken out
// that was missing in the kernel with the bug. docs/tables.md tells the stories.
#include "kernel/errno.h"
#include "kernel/time.h"
#include "lab/mutant.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/tree.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/stamps.h"
#include "tests/mm/walk/hold.h"

#if CHECK

#define MARK 0x5ec4e7ull		// what the next owner of a frame writes into it

// A walker on another CPU, which is in no CPU mask but what its policy makes it join. It is held while the table that
// it is in, or about to enter, changes its meaning.
struct held {
	struct space *s;
	struct page *table, *page;
	const pte_t *entry;		// the one that leads to the table
	pte_t old;
	bool forever;			// until the operation has returned; otherwise only until it waits
	u32 there, returned;
	unsigned got;
	bool too_early;
};

static int walk_one(void *arg)
{
	struct held *h = arg;

	h->got = walk_pin_fast(h->s, BASE, 1, false, &h->page);
	return 0;
}

static void hold(struct stall_point *point, void *arg)
{
	struct held *h = arg;
	u64 awaited = walk_awaited();

	store_release(&h->there, 1u);
	spin_until(READ_ONCE(h->returned) || (!h->forever && pte_read(h->entry) != h->old && walk_awaited() != awaited),
		   "the operation", -1);
	h->too_early = !h->forever && (READ_ONCE(h->returned) || mm_state(h->table) == TABLE_QUIESCED);
}

// A walker that has left the read side without a page may hold a reference until its next step. That is no pin, but an
// operation that comes just then takes it for one (-EBUSY). The walker drops it by itself.
static int patiently(int (*operation)(struct space *, vaddr_t), struct held *h)
{
	int err;

	while ((err = operation(h->s, BASE)) == -EBUSY)
		thread_yield();
	return err;
}

static int collapse_and_split(struct held *h)
{
	int err = patiently(space_collapse, h);

	return err ? err : patiently(space_split, h);
}

static int collapse_alone(struct held *h) { return patiently(space_collapse, h); }

static int collapse_and_unmap(struct held *h)
{
	int err = patiently(space_collapse, h);

	return err ? err : space_unmap(h->s, BASE, HUGE_SIZE);
}

// Moves the range and faults a page in: the page is in the table that the walker is about to read, and never was at
// BASE.
static int move_and_refill(struct held *h)
{
	int err = space_move(h->s, BASE, FAR, HUGE_SIZE);

	return err ? err : space_fault(h->s, FAR, true);
}

// Holds a walk to BASE at the point, runs the operation, and lets the walk go. Returns the violations that the oracle
// saw.
static u64 held_during(struct held *h, const struct table_policy *p, struct stall_point *point, bool forever,
		       bool populated, int (*operation)(struct held *))
{
	u64 violations = oracle_violations();
	struct thread *walker;

	*h = (struct held){ .s = space_create_with(p, flush_find("ipi")), .forever = forever };
	if (!EXPECT(h->s))
		return 0;
	EXPECT_EQ(space_map(h->s, BASE, HUGE_SIZE, RW, 1, populated ? MAP_POPULATE : 0), 0);
	EXPECT_EQ(space_fault(h->s, BASE + PAGE_SIZE, true), 0);
	h->table = mm_table(h->s, BASE, 1);
	mutex_lock(&h->s->lock);
	h->entry = tree_find(h->s, BASE, 2, NULL);
	mutex_unlock(&h->s->lock);
	h->old = pte_read(h->entry);
	point->action = hold;
	point->arg = h;
	stall_arm(point, h->s, BASE, BASE + PAGE_SIZE, point == stall_point("walk_level") ? 2 : 1);
	walker = mm_thread("walker", walk_one, h, mm_other_cpu(0));
	if (!walker)
		return 0;
	spin_until(load_acquire(&h->there), "walker", -1);
	EXPECT_EQ(operation(h), 0);
	store_release(&h->returned, 1u);
	mm_join(walker);
	EXPECT_EQ(point->hits, 1);
	stall_release(point);
	return oracle_violations() - violations;
}

static void end_held(struct held *h)
{
	if (h->got)
		page_unpin(h->page, false);
	space_put(h->s);
}

// While the walker is inside the L1 table, no policy lets the collapse take that. (At walk_level the walker of `hazard`
// has not entered it yet, and finds the entry changed when it does; so there only the oracle judges.)
static void safe(struct stall_point *point, int (*operation)(struct held *))
{
	FOR_EACH_POLICY(p) {
		struct mm_balance b;
		struct held h;

		if (!pair_verdict(*p, flush_find("ipi")).safe)
			continue;
		mm_balance_begin(&b);
		EXPECT_EQ(held_during(&h, *p, point, false, true, operation), 0);
		if (point == stall_point("walk_leaf"))
			EXPECT(!h.too_early);
		EXPECT_EQ(h.got, 0);
		end_held(&h);
		mm_balance_end(&b);
	}
}

TEST(history, collapse_waits_for_walkers, NEEDS_CPUS2 | NEEDS_CHECK)
{
	safe(stall_point("walk_leaf"), collapse_and_unmap);
	safe(stall_point("walk_level"), collapse_and_unmap);
}

TEST(history, reuse_waits_for_walkers, NEEDS_CPUS2 | NEEDS_CHECK)
{
	safe(stall_point("walk_leaf"), collapse_and_split);
	safe(stall_point("walk_level"), collapse_and_split);
}

// Without the wait the oracle must report at least so many violations.
static void convicted_without_wait(struct stall_point *point, int (*operation)(struct held *), u64 least)
{
	u64 violations;
	struct held h;

	oracle_expect_violations(true);
	mutant_set(collapse_no_wait, 1);
	violations = held_during(&h, policy_find("rcu"), point, true, true, operation);
	mutant_set(collapse_no_wait, 0);
	oracle_expect_violations(false);
	EXPECT(violations >= least);
	end_held(&h);
}

// The table is kept under the walker, and neither freed nor reused yet.
TEST(history, collapse_no_wait_keeps_under_a_walker, NEEDS_CPUS2 | NEEDS_CHECK)
{
	convicted_without_wait(stall_point("walk_level"), collapse_alone, 1);
	convicted_without_wait(stall_point("walk_leaf"), collapse_alone, 1);
}

// The table is freed under the walker, which enters a table that is FREE, or is in it when it becomes so.
TEST(history, collapse_no_wait_frees_under_a_walker, NEEDS_CPUS2 | NEEDS_CHECK)
{
	convicted_without_wait(stall_point("walk_level"), collapse_and_unmap, 1);
	convicted_without_wait(stall_point("walk_leaf"), collapse_and_unmap, 2);
}

// The table is not freed but deposited, and then used for a split (as in CVE-2025-38085, where a table gets another
// meaning): the walker is in it when it is kept, when it is reused, and when it gets its new birth number.
TEST(history, collapse_no_wait_reuses_under_a_walker, NEEDS_CPUS2 | NEEDS_CHECK)
{
	convicted_without_wait(stall_point("walk_leaf"), collapse_and_split, 3);
}

// A move does not wait for walkers of the table: a walker checks what it finds there by the entry that led to the
// table.
TEST(history, walker_in_a_moved_table, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct held h;

	FOR_EACH_POLICY(p) {
		if (!pair_verdict(*p, flush_find("ipi")).safe)
			continue;
		EXPECT_EQ(held_during(&h, *p, stall_point("walk_level"), false, false, move_and_refill), 0);
		EXPECT_EQ(h.got, 0);
		end_held(&h);
		EXPECT_EQ(held_during(&h, *p, stall_point("walk_leaf"), false, true, move_and_refill), 0);
		EXPECT_EQ(h.got, 0);
		end_held(&h);
	}
	mutant_set(walk_no_parent_recheck, 1);
	held_during(&h, policy_find("rcu"), stall_point("walk_level"), true, false, move_and_refill);
	mutant_set(walk_no_parent_recheck, 0);
	EXPECT(h.got == 1 && h.page == frame_at(h.s, FAR));	// a page that never was at BASE
	end_held(&h);
}

// A CPU that runs in the space and has used its pages: what does it see there after the operation?
#define PROBES 16
struct observed {
	struct space *s;
	vaddr_t va;
	unsigned step;			// from probe to probe, in pages
	u32 ready, go, seen, done;
	u64 value[PROBES];
	unsigned readable;
};

static vaddr_t probe(const struct observed *o, unsigned i) { return o->va + (u64)(1 + i * o->step) * PAGE_SIZE; }

static int observe(void *arg)
{
	struct observed *o = arg;
	u64 v;

	space_attach(o->s);
	preempt_disable();		// no switch that would load a root
	for (unsigned i = 0; i < PROBES; i++)
		EXPECT_EQ(arch_user_read64_nofault(probe(o, i), &v), 0);
	store_release(&o->ready, 1u);
	spin_until(load_acquire(&o->go), "the operation", -1);
	for (unsigned i = 0; i < PROBES; i++)
		o->readable += !arch_user_read64_nofault(probe(o, i), &o->value[i]);
	store_release(&o->seen, 1u);
	spin_until(load_acquire(&o->done), "the end of the operation", -1);
	preempt_enable();
	space_detach();
	return 0;
}

static struct thread *begin_observed(struct observed *o, unsigned step)
{
	struct thread *t;

	// ipi does not wait for a CPU that only keeps preemption off, as the observer does.
	*o = (struct observed){ .s = space_create_with(policy_find("ipi"), flush_find("ipi")), .va = BASE, .step = step };
	if (!EXPECT(o->s))
		return NULL;
	EXPECT_EQ(space_map(o->s, BASE, HUGE_SIZE, RW, 1, step == 1 ? 0 : MAP_POPULATE), 0);
	for (unsigned i = 0; i < PROBES; i++)
		EXPECT_EQ(space_fault(o->s, probe(o, i), true), 0);
	t = mm_thread("observer", observe, o, mm_other_cpu(0));
	if (t)
		spin_until(load_acquire(&o->ready), "observer", -1);
	return t;
}

static void end_observed(struct observed *o, struct thread *t)
{
	store_release(&o->done, 1u);
	mm_join(t);
	space_put(o->s);
}

static void look(struct observed *o)
{
	store_release(&o->go, 1u);
	spin_until(load_acquire(&o->seen), "observer", -1);
}

// How many pages does another CPU still see in their old frames, after a collapse?
static unsigned stale_after_collapse(void)
{
	struct observed o;
	struct thread *t = begin_observed(&o, 31);
	unsigned stale = 0;

	if (!t)
		return 0;
	EXPECT_EQ(space_collapse(o.s, BASE), 0);
	for (unsigned i = 0; i < PROBES; i++)
		*(u64 *)page_to_virt(frame_at(o.s, probe(&o, i))) = MARK + i;
	look(&o);
	EXPECT_EQ(o.readable, PROBES);
	for (unsigned i = 0; i < PROBES; i++)
		stale += o.value[i] != MARK + i;
	end_observed(&o, t);
	return stale;
}

#define ROUNDS 20	// a processor may drop an entry at any time

// FreeBSD: one INVLPG after a promotion, which leaves 511 small translations. (This test uses the machine's own TLB,
// and needs luck; history.collapse_leaves_no_small_leaf uses the adversary, and needs none.)
TEST(history, collapse_flushes_every_small_page, NEEDS_HW | NEEDS_CPUS2 | NEEDS_CHECK)
{
	unsigned stale = 0;

	EXPECT_EQ(stale_after_collapse(), 0);
	oracle_expect_violations(true);	// the adversary's
	mutant_set(collapse_one_invlpg, 1);
	for (unsigned i = 0; i < ROUNDS && !stale && !test_failed(); i++)
		stale = stale_after_collapse();
	mutant_set(collapse_one_invlpg, 0);
	oracle_expect_violations(false);
	EXPECT_STALE(stale);
}

// The mover has dropped the lock. The new place is unmapped, by a flush that does not cover the old one, and the frames
// get new owners.
static void unmap_and_reuse(struct stall_point *point, void *arg)
{
	struct page *taken[4 * PROBES], *frame[PROBES];
	struct observed *o = arg;
	unsigned n;

	for (unsigned i = 0; i < PROBES; i++)
		frame[i] = frame_at(o->s, probe(o, i) - BASE + FAR);
	EXPECT_EQ(space_unmap(o->s, FAR, HUGE_SIZE), 0);
	for (n = 0; n < ARRAY_SIZE(taken) && (taken[n] = page_alloc(0, PAGE_KERNEL, PG_ZERO)); n++)
		for (unsigned i = 0; i < PROBES; i++)
			if (taken[n] == frame[i])
				*(u64 *)page_to_virt(taken[n]) = MARK;
	look(o);
	while (n--)
		page_put(taken[n]);
}

static unsigned readable_after_move(unsigned *foreign)
{
	struct observed o;
	struct thread *t = begin_observed(&o, 1);

	if (!t)
		return 0;
	stall_point("move_unlocked")->action = unmap_and_reuse;
	stall_point("move_unlocked")->arg = &o;
	stall_arm(stall_point("move_unlocked"), o.s, BASE, BASE + PAGE_SIZE, 2);
	EXPECT_EQ(space_move(o.s, BASE, FAR, HUGE_SIZE), 0);
	EXPECT_EQ(stall_point("move_unlocked")->hits, 1);
	stall_release(stall_point("move_unlocked"));
	for (unsigned i = 0; i < o.readable && i < PROBES; i++)
		*foreign += o.value[i] == MARK;
	end_observed(&o, t);
	return o.readable;
}

// CVE-2018-18281: mremap dropped the page-table locks before it flushed the old range. (The adversary shows it in
// history.move_leaves_no_old_leaf.)
TEST(history, move_flushes_before_it_unlocks, NEEDS_HW | NEEDS_CPUS2 | NEEDS_CHECK)
{
	unsigned foreign = 0;

	EXPECT_EQ(readable_after_move(&foreign), 0);
	oracle_expect_violations(true);	// the adversary's
	mutant_set(move_flush_after_unlock, 1);
	for (unsigned i = 0; i < ROUNDS && !foreign && !test_failed(); i++)
		readable_after_move(&foreign);
	mutant_set(move_flush_after_unlock, 0);
	oracle_expect_violations(false);
	EXPECT_STALE(foreign);
}
#endif
