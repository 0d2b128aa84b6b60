// SPDX-License-Identifier: MIT
// tlb_flush=lazy: at which addresses a waiting record makes others settle, and for how long it holds its space.
#include "kernel/time.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/flush/lazy.h"
#include "mm/space.h"
#include "mm/table.h"
#include "tests/mm/help.h"

#if CHECK

// A thread on another CPU runs in the space and keeps interrupts off, so that its CPU does not sweep.
struct resident {
	struct space *s;
	struct thread *thread;
	u32 there, go;
};

static u64 settled(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.lazy_settled;
}

static int reside(void *arg)
{
	struct resident *r = arg;
	u64 before = settled();
	irqflags_t flags;

	space_attach(r->s);
	flags = irq_save();
	store_release(&r->there, 1u);
	spin_until(load_acquire(&r->go) || settled() != before, "the test", -1);	// settling waits for this CPU
	irq_restore(flags);
	space_detach();
	return 0;
}

static bool begin(struct resident *r, const char *policy, vaddr_t va)
{
	*r = (struct resident){ .s = space_create_with(policy_find(policy), flush_find("lazy")) };
	if (!EXPECT(r->s))
		return false;
	EXPECT_EQ(space_map(r->s, va, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	r->thread = mm_thread("resident", reside, r, mm_other_cpu(0));
	if (!EXPECT(r->thread))
		return false;
	spin_until(load_acquire(&r->there), "resident", -1);
	return true;
}

static void end(struct resident *r)
{
	store_release(&r->go, 1u);
	mm_join(r->thread);
	space_put(r->s);
}

// The topmost unlinked table is of level `top`: another page keeps the tables above. Mapping anything that this table
// covered settles, mapping beside it does not.
static void settles_where_it_covered(int top, bool high)
{
	u64 covered = level_size(top + 1), before = settled();
	vaddr_t va = BASE + 7 * PAGE_SIZE;
	struct resident r;

	if (!begin(&r, "rcu", va))
		return;
	if (top < PT_LEVELS - 1)
		EXPECT_EQ(space_map(r.s, BASE + 2 * covered, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_unmap(r.s, va, PAGE_SIZE), 0);
	EXPECT_EQ(READ_ONCE(r.s->deferred), 1);
	EXPECT_EQ(space_map(r.s, high ? BASE + covered : BASE - PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(settled() - before, 0);
	EXPECT_EQ(space_map(r.s, high ? BASE + covered - PAGE_SIZE : BASE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(settled() - before, 1);
	end(&r);
}

TEST(flush_lazy, as_far_as_a_waiting_table_covered, NEEDS_CPUS2)
{
	for (int top = 1; top < PT_LEVELS; top++)
		for (int high = 0; high < 2; high++)
			settles_where_it_covered(top, high);
}

struct look {
	const struct space *s;
	u64 deferred;
};

static void look(struct stall_point *p, void *arg)
{
	struct look *l = arg;

	l->deferred = READ_ONCE(l->s->deferred);
}

// A space is held as long as one of its tables is not FREE: the policy's `free` is passed the space, and flush_wait()
// looks at nothing else.
TEST(flush_lazy, space_is_held_until_its_tables_are_free, NEEDS_CPUS2)
{
	struct resident r;
	struct look l;

	if (!begin(&r, "ipi", BASE))		// its `free` frees at once
		return;
	l = (struct look){ .s = r.s };
	EXPECT_EQ(space_unmap(r.s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(READ_ONCE(r.s->deferred), 1);
	stall_point("table_freeing")->action = look;
	stall_point("table_freeing")->arg = &l;
	stall_arm(stall_point("table_freeing"), NULL, 0, 0, PT_LEVELS - 1);
	store_release(&r.go, 1u);
	flush_find("lazy")->drain();		// whichever thread finishes the record
	flush_wait(r.s);
	EXPECT_EQ(stall_point("table_freeing")->hits, 1);
	stall_release(stall_point("table_freeing"));
	EXPECT_EQ(l.deferred, 1);
	end(&r);
}

struct exit {
	struct space *s;
	struct completion go_on;
	u32 finishing, returned;
};

static void hold_what_is_swept(struct stall_point *p, void *arg)
{
	struct exit *e = arg;

	store_release(&e->finishing, 1u);
	wait_for_completion(&e->go_on);
}

static int put_the_last(void *arg)
{
	struct exit *e = arg;

	space_put(e->s);
	store_release(&e->returned, 1u);
	return 0;
}

// All CPUs have swept and left, and another thread has yet to finish the record: until then the space stays, though its
// last user has gone.
TEST(flush_lazy, exit_waits_for_who_finishes, NEEDS_CPUS2)
{
	struct thread *last;
	struct resident r;
	struct exit e = { 0 };

	if (!begin(&r, "rcu", BASE))
		return;
	e.s = r.s;
	completion_init(&e.go_on);
	stall_point("lazy_finishing")->action = hold_what_is_swept;
	stall_point("lazy_finishing")->arg = &e;
	stall_arm(stall_point("lazy_finishing"), r.s, 0, 0, 0);
	EXPECT_EQ(space_unmap(r.s, BASE, PAGE_SIZE), 0);
	store_release(&r.go, 1u);
	mm_join(r.thread);
	EXPECT(EVENTUALLY(READ_ONCE(e.finishing)));	// by the thread of the back-end, at a tick
	last = mm_thread("last user", put_the_last, &e, cpu_id());
	EXPECT(EVENTUALLY(READ_ONCE(e.returned) || (last && READ_ONCE(last->state) == THREAD_SLEEPING)));
	EXPECT(!READ_ONCE(e.returned));
	complete_all(&e.go_on);
	mm_join(last);
	EXPECT_EQ(stall_point("lazy_finishing")->hits, 1);
	stall_release(stall_point("lazy_finishing"));
}
#endif
