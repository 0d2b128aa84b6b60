// SPDX-License-Identifier: MIT
// A walk in an interrupt or an NMI, on a CPU that walks nowhere else: the freeing side must wait for it as for any
// other walk.
// (A walk in the middle of another is in policies.c: there the outer one may be the reason why nothing is freed.)
#include "tests/lab/history/context.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/test.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"
#include <arch/ipi.h>
#include <arch/machine.h>

#if CHECK
// Uses the policy's compiled walk, because walk_pin_fast() is not for NMIs: a put may free. Here nothing is left to be
// pinned.
static void walk(void *arg)
{
	struct context_walk *sc = arg;

	sc->got = sc->s->policy->walk(sc->s, BASE, 1, false, &sc->page);
	store_release(&sc->ended, 1u);
}

static struct context_walk *in_nmi_wanted;

static void walk_in_nmi(void)
{
	struct context_walk *sc = READ_ONCE(in_nmi_wanted);

	if (!sc || sc->cpu != cpu_id())
		return;
	WRITE_ONCE(in_nmi_wanted, NULL);
	walk(sc);
}
NMI_HANDLER(walk_in_nmi);

void context_nmi(struct context_walk *sc)
{
	WRITE_ONCE(in_nmi_wanted, sc);
	arch_send_ipi(sc->cpu, IPI_NMI);
}

static struct xcall call = { .fn = walk };

void context_interrupt(struct context_walk *sc)
{
	call.arg = sc;
	EXPECT(xcall_async(sc->cpu, &call));
}

// Holds the walk until the unmapper waits for somebody, or has returned; and then for a while.
static void hold(struct stall_point *p, void *arg)
{
	struct context_walk *sc = arg;
	u64 awaited = walk_awaited();

	store_release(&sc->there, 1u);
	spin_until(walk_awaited() != awaited || load_acquire(&sc->returned), "the unmap", -1);
	WHILE_OTHERS_RUN(2) {
		enum table_state state = mm_state(sc->upper);

		sc->too_early += state == TABLE_QUIESCED || state == TABLE_FREE;
	}
}

static int be_interrupted(void *arg)
{
	struct context_walk *sc = arg;

	preempt_disable();
	spin_until(load_acquire(&sc->ended), "the walk", -1);
	preempt_enable();
	return 0;
}

void context_unmap_under_walk(const struct table_policy *p, void (*begin)(struct context_walk *),
			      void (*held)(struct stall_point *, void *), bool busy)
{
	struct context_walk sc = { .s = space_create_with(p, flush_find("ipi")), .cpu = mm_other_cpu(0) };
	struct thread *t;

	REQUIRE(sc.s);
	EXPECT_EQ(space_map(sc.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	sc.upper = mm_table(sc.s, BASE, 2);
	stall_point("walk_level")->action = held;
	stall_point("walk_level")->arg = &sc;
	stall_arm(stall_point("walk_level"), sc.s, BASE, BASE + PAGE_SIZE, 2);
	t = busy ? mm_thread("interrupted", be_interrupted, &sc, sc.cpu) : NULL;
	begin(&sc);
	spin_until(load_acquire(&sc.there), "walker", -1);
	EXPECT_EQ(space_unmap(sc.s, BASE, PAGE_SIZE), 0);
	store_release(&sc.returned, 1u);
	spin_until(load_acquire(&sc.ended), "walker", -1);
	if (t)
		mm_join(t);
	stall_release(stall_point("walk_level"));
	EXPECT_EQ(sc.got, 0);
	EXPECT_EQ(sc.too_early, 0);
	mm_put_emptied(sc.s, sc.upper);
}

static void under_each_policy(void (*begin)(struct context_walk *))
{
	FOR_EACH_POLICY(p) {
		if (!pair_verdict(*p, flush_find("ipi")).safe)
			continue;
		context_unmap_under_walk(*p, begin, hold, false);
		context_unmap_under_walk(*p, begin, hold, true);
	}
}

TEST(history, walk_in_an_nmi_alone, NEEDS_CPUS2) { under_each_policy(context_nmi); }
TEST(history, walk_in_an_interrupt_alone, NEEDS_CPUS2) { under_each_policy(context_interrupt); }
#endif
