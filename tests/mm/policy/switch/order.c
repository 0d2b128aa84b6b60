// SPDX-License-Identifier: MIT
// Two steps of a switch (mm/policy/switch.c) that only an unmapper can tell apart: (3) takes the space's lock, and (4)
// drains the flushes before the policies.
#include "kernel/time.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/flush/lazy.h"
#include "mm/policy/switch.h"
#include "mm/table.h"
#include "tests/mm/help.h"

#if CHECK

struct scene {
	struct space *s;
	const struct table_policy *from, *to;
	const struct flush_backend *old, *new;
	u32 unmapping, switching;	// the unmapper is held; the switch is about to change freer and back-end
	u32 moved;			// … has done so
	u32 there, go;			// the reader
	struct completion unmap;
	enum table_state drained;	// of the table, when everything of the old pair had been drained
	struct page *table;
};

static bool begin(struct scene *sc)
{
	sc->s = space_create_with(sc->from, sc->old);
	completion_init(&sc->unmap);
	return EXPECT(sc->s) && EXPECT_EQ(space_map(sc->s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0) &&
	       EXPECT(sc->table = mm_table(sc->s, BASE, 1));
}

static void at(struct stall_point *p, struct scene *sc, void (*action)(struct stall_point *, void *))
{
	p->action = action;
	p->arg = sc;
	stall_arm(p, sc->s, 0, 0, 0);
}

// ---- (3): no gather sees one of the two old and the other new -----------------------------------------------------------

static void hold_the_gather(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	WRITE_ONCE(sc->unmapping, 1);
	wait_for_completion(&sc->unmap);
}

static void note_the_switch(struct stall_point *p, void *arg) { WRITE_ONCE(((struct scene *)arg)->switching, 1); }

static int unmap(void *arg)
{
	EXPECT_EQ(space_unmap(((struct scene *)arg)->s, BASE, PAGE_SIZE), 0);
	return 0;
}

static int switch_it(void *arg)
{
	struct scene *sc = arg;

	EXPECT_EQ(space_switch_pair(sc->s, sc->to, sc->new), 0);
	WRITE_ONCE(sc->moved, 1);
	return 0;
}

static bool changed(const struct scene *sc)
{
	return READ_ONCE(sc->s->freer) != sc->from || READ_ONCE(sc->s->backend) != sc->old;
}

TEST(switch, freer_waits_for_the_gather, 0)
{
	struct scene sc = { .from = policy_find("rcu-page"), .to = policy_find("ipi"), .old = flush_find("ipi"),
		.new = flush_find("lazy") };
	struct thread *unmapper, *switcher;

	REQUIRE(begin(&sc));
	at(stall_point("gather_unlinked"), &sc, hold_the_gather);
	at(stall_point("switch_union"), &sc, note_the_switch);
	unmapper = mm_thread("unmapper", unmap, &sc, CPU_ANY);
	EXPECT(EVENTUALLY(READ_ONCE(sc.unmapping)));
	switcher = mm_thread("switcher", switch_it, &sc, CPU_ANY);
	REQUIRE(unmapper && switcher);
	// Once it has passed the union, it sleeps: at the lock.
	EXPECT(EVENTUALLY(READ_ONCE(sc.switching) && (READ_ONCE(switcher->state) == THREAD_SLEEPING || READ_ONCE(sc.moved))));
	EXPECT(!changed(&sc));
	complete_all(&sc.unmap);
	mm_join(unmapper);
	mm_join(switcher);
	stall_release(stall_point("gather_unlinked"));
	stall_release(stall_point("switch_union"));
	EXPECT(sc.s->freer == sc.to && sc.s->backend == sc.new);
	EXPECT_EQ(mm_state(sc.table), TABLE_FREE);	// drained with the old policy
	space_put(sc.s);
}

// ---- (4): deferred flushes end in the old policy's `free`, so they come first -------------------------------------------

static u64 calls(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.lazy_calls;
}

// Runs in the space, and its CPU does not sweep until it is called.
static int read_with_interrupts_off(void *arg)
{
	struct scene *sc = arg;
	u64 before = calls();
	irqflags_t flags;

	space_attach(sc->s);
	flags = irq_save();
	store_release(&sc->there, 1u);
	spin_until(calls() != before || load_acquire(&sc->go), "the drain", -1);
	irq_restore(flags);
	space_detach();
	return 0;
}

static struct thread *reader;

static void leave_an_unmap_to_the_sweeps(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	reader = mm_thread("reader", read_with_interrupts_off, sc, mm_other_cpu(0));
	if (!reader)
		return;
	spin_until(load_acquire(&sc->there), "reader", -1);
	EXPECT_EQ(space_unmap(sc->s, BASE, PAGE_SIZE), 0);
	EXPECT_EQ(mm_state(sc->table), TABLE_UNLINKED);
}

static void note_what_is_drained(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	sc->drained = mm_state(sc->table);
	store_release(&sc->go, 1u);
}

TEST(switch, flushes_are_drained_before_policies, NEEDS_CPUS2)
{
	static const char *const deferring[] = { "rcu", "rcu-sync", "rcu-page", "hazard" };

	for (unsigned i = 0; i < ARRAY_SIZE(deferring); i++) {
		struct scene sc = { .from = policy_find(deferring[i]), .to = policy_find("targeted"), .old = flush_find("lazy"),
			.new = flush_find("ipi"), .drained = TABLE_LIVE };

		REQUIRE(begin(&sc));
		at(stall_point("switch_union"), &sc, leave_an_unmap_to_the_sweeps);
		at(stall_point("switch_drained"), &sc, note_what_is_drained);
		EXPECT_EQ(space_switch_pair(sc.s, sc.to, sc.new), 0);
		mm_join(reader);
		stall_release(stall_point("switch_union"));
		stall_release(stall_point("switch_drained"));
		EXPECT_EQ(sc.drained, TABLE_FREE);
		space_put(sc.s);
	}
}
#endif
