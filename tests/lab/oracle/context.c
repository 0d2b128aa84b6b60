// SPDX-License-Identifier: MIT
// A walk in an interrupt or an NMI, on a CPU that walks nowhere else: whoever frees tables must wait for it as for any other.
// (A walk in the middle of another is in tests/lab/history/policies.c: there the outer one may be why nothing is freed.)
#include "kernel/lib.h"
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/oracle.h"
#include "lab/test.h"
#include "mm/table.h"
#include "mm/walk.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"
#include <arch/ipi.h>
#include <arch/machine.h>

#if CHECK
struct scene {
	struct space *s;
	struct page *upper;		// the table of level 2, which the walker is in: hazard pointers name it, too
	unsigned cpu;
	u32 there, returned, ended;
	unsigned got;
	struct page *page;
	u32 too_early;			// how often it was free while the walker was held
};

// By the policy's compiled walk: walk_pin_fast() is not for NMIs, since a put may free. Here nothing is left to be pinned.
static void walk(void *arg)
{
	struct scene *sc = arg;

	sc->got = sc->s->policy->walk(sc->s, BASE, 1, false, &sc->page);
	store_release(&sc->ended, 1u);
}

static struct scene *in_nmi_wanted;

static void walk_in_nmi(void)
{
	struct scene *sc = READ_ONCE(in_nmi_wanted);

	if (!sc || sc->cpu != cpu_id())
		return;
	WRITE_ONCE(in_nmi_wanted, NULL);
	walk(sc);
}
NMI_HANDLER(walk_in_nmi);

static void begin_in_nmi(struct scene *sc)
{
	WRITE_ONCE(in_nmi_wanted, sc);
	arch_send_ipi(sc->cpu, IPI_NMI);
}

static struct xcall call = { .fn = walk };

static void begin_in_interrupt(struct scene *sc)
{
	call.arg = sc;
	EXPECT(xcall_async(sc->cpu, &call));
}

// Until the unmapper waits for somebody, or is back; and then for a while.
static void hold(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;
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
	struct scene *sc = arg;

	preempt_disable();
	spin_until(load_acquire(&sc->ended), "the walk", -1);
	preempt_enable();
	return 0;
}

// `busy`: the walk interrupts a thread; else most likely an idle CPU.
static void unmap_under_walk(const struct table_policy *p, void (*begin)(struct scene *),
			     void (*held)(struct stall_point *, void *), bool busy)
{
	struct scene sc = { .s = space_create_with(p, flush_find("ipi")), .cpu = mm_other_cpu(0) };
	struct thread *t;

	REQUIRE(sc.s);
	EXPECT_EQ(space_map(sc.s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	sc.upper = mm_table(sc.s, BASE, 2);
	stall_walk_level.action = held;
	stall_walk_level.arg = &sc;
	stall_arm(&stall_walk_level, sc.s, BASE, BASE + PAGE_SIZE, 2);
	t = busy ? mm_thread("interrupted", be_interrupted, &sc, sc.cpu) : NULL;
	begin(&sc);
	spin_until(load_acquire(&sc.there), "walker", -1);
	EXPECT_EQ(space_unmap(sc.s, BASE, PAGE_SIZE), 0);
	store_release(&sc.returned, 1u);
	spin_until(load_acquire(&sc.ended), "walker", -1);
	if (t)
		mm_join(t);
	stall_release(&stall_walk_level);
	EXPECT_EQ(sc.got, 0);
	EXPECT_EQ(sc.too_early, 0);
	if (p->drain)
		p->drain();
	EXPECT_EQ(mm_state(sc.upper), TABLE_FREE);
	space_put(sc.s);
}

static void under_each_policy(void (*begin)(struct scene *))
{
	FOR_EACH_POLICY(p) {
		if (!pair_verdict(*p, flush_find("ipi")).safe)
			continue;
		unmap_under_walk(*p, begin, hold, false);
		unmap_under_walk(*p, begin, hold, true);
	}
}

TEST(history, walk_in_an_nmi_alone, NEEDS_CPUS2) { under_each_policy(begin_in_nmi); }
TEST(history, walk_in_an_interrupt_alone, NEEDS_CPUS2) { under_each_policy(begin_in_interrupt); }

// ---- … and the oracle sees it -------------------------------------------------------------------------------------------

static void hold_until_returned(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	store_release(&sc->there, 1u);
	spin_until(load_acquire(&sc->returned), "the unmap", -1);
}

// Under `immediate` the freer must find the walker in the two tables that it has named: of levels 2 and 3.
static void freer_finds_it(void (*begin)(struct scene *))
{
	struct violation v[8];
	unsigned found = 0;

	oracle_reset();
	oracle_expect_violations(true);
	unmap_under_walk(policy_find("immediate"), begin, hold_until_returned, false);
	oracle_expect_violations(false);
	for (unsigned i = 0, n = oracle_records(v, ARRAY_SIZE(v)); i < n; i++)
		found += !strcmp(v[i].seen_by, "freer") && v[i].level >= 2 && v[i].walker_cpu == mm_other_cpu(0);
	EXPECT_EQ(found, 2);
}

TEST(oracle, sees_a_walk_in_an_nmi, NEEDS_CPUS2) { freer_finds_it(begin_in_nmi); }
TEST(oracle, sees_a_walk_in_an_interrupt, NEEDS_CPUS2) { freer_finds_it(begin_in_interrupt); }
#endif
