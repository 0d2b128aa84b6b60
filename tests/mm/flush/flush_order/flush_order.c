// SPDX-License-Identifier: MIT
// The orders of mm/tlb.c, each tested in every place that relies on it, by a CPU that is held in the gap:
//
//  * A CPU stays in a space's mask until it has loaded another root. Held just before the load, it still has everything
//    cached: a CPU that unlinks tables must still wait for it.
//  * A CPU reads the space's generation before it flushes everything, not after. Held just after the flush, it caches a
//    page anew, and the page is unmapped: the CPU must not take the flush for that unmap as already done.
//  * A flush increments the generation before it looks which CPUs are lazy. A CPU that comes back from lazy use just
//    after the look is not told, and must find that it is behind.
//  * A flush or an eviction that arrives after its space has been left does not affect the next space.
#include "kernel/time.h"
#include "kernel/xcall.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/swmmu.h"
#include "lab/test.h"
#include "mm/flush/lazy.h"
#include "mm/inval.h"
#include "mm/space.h"
#include "mm/tlb.h"
#include "tests/mm/help.h"
#include "tests/mm/walk/hold.h"

#if CHECK

struct scene {
	struct space *s, *other;
	unsigned cpu;			// which is held
	vaddr_t page;			// the page that is unmapped meanwhile; in the first half, with all its tables
	u32 there, go;			// the resident is ready; it may go on
	u32 held, returned;		// it is held; the unmap has returned
	u32 back;			// the resident runs in its space again
	u64 violations;			// before
	bool left;			// the page was still cached when the CPU went on
};

static bool begin(struct scene *sc, const char *flush, u64 pages)
{
	*sc = (struct scene){ .s = space_create_with(policy_find("ipi"), flush_find(flush)), .other = space_create(),
		.cpu = mm_other_cpu(0), .page = BASE + (pages - 1) * PAGE_SIZE, .violations = swmmu_violations() };
	swmmu_quiet(true);		// only what is primed is cached
	return EXPECT(sc->s && sc->other) && EXPECT_EQ(space_map(sc->s, BASE, pages * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
}

// … with a resident that is ready, or NULL.
static struct thread *begin_with(struct scene *sc, const char *flush, u64 pages, int (*resident)(void *))
{
	struct thread *t = begin(sc, flush, pages) ? mm_thread("resident", resident, sc, sc->cpu) : NULL;

	if (t)
		spin_until(load_acquire(&sc->there), "resident", -1);
	return t;
}

static void end(struct scene *sc, struct thread *resident, struct stall_point *p)
{
	store_release(&sc->go, 1u);
	mm_join(resident);
	EXPECT_EQ(p->hits, 1);
	stall_release(p);
	EXPECT_EQ(swmmu_violations() - sc->violations, 0);
	EXPECT(!sc->left);
	space_put(sc->s);
	space_put(sc->other);
	swmmu_quiet(false);
}

// Interrupts are off. Hold this CPU until the unmapper waits for it, or has returned.
static void cache_and_hold(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;
	u64 awaited = walk_awaited();

	EXPECT(swmmu_prime(cpu_id(), sc->page));
	store_release(&sc->held, 1u);
	spin_until(walk_awaited() != awaited || load_acquire(&sc->returned), "the unmap", -1);
}

static void arm(struct scene *sc, struct stall_point *p)
{
	p->action = cache_and_hold;
	p->arg = sc;
	p->cpu = (int)sc->cpu;
	stall_arm(p, NULL, 0, 0, 0);
}

static void unmap_under_it(struct scene *sc)
{
	spin_until(load_acquire(&sc->held), "resident", -1);
	EXPECT(cpumask_test(&sc->s->cpus, sc->cpu));
	EXPECT_EQ(space_unmap_sync(sc->s, sc->page, PAGE_SIZE), 0);
	store_release(&sc->returned, 1u);
}

// ---- The bit in the mask, and the root ----------------------------------------------------------------------------------

static int go_to_the_other(void *arg)
{
	struct scene *sc = arg;

	space_attach(sc->s);
	space_detach();			// the CPU holds it lazily
	store_release(&sc->there, 1u);
	spin_until(load_acquire(&sc->go), "the test", -1);
	space_attach(sc->other);
	space_detach();
	return 0;
}

TEST(flush_order, in_the_mask_until_another_spaces_root_is_loaded, NEEDS_CPUS2)
{
	struct scene sc;
	struct thread *t = begin_with(&sc, "ipi", 1, go_to_the_other);

	REQUIRE(t);
	arm(&sc, stall_point("inval_root_loading"));
	store_release(&sc.go, 1u);
	unmap_under_it(&sc);
	end(&sc, t, stall_point("inval_root_loading"));
}

static int go_lazy(void *arg)
{
	struct scene *sc = arg;

	space_attach(sc->s);
	space_detach();
	return 0;
}

static void leave(void *unused) { tlb_flush_all_here(); }
static struct xcall call = { .fn = leave };

TEST(flush_order, in_the_mask_until_the_kernels_root_is_loaded, NEEDS_CPUS2)
{
	struct thread *t;
	struct scene sc;

	REQUIRE(begin(&sc, "ipi", 1));
	mm_join(mm_thread("resident", go_lazy, &sc, sc.cpu));
	EXPECT(per_cpu(cpu_tlb, sc.cpu).loaded == sc.s && per_cpu(cpu_tlb, sc.cpu).lazy);
	arm(&sc, stall_point("inval_root_loading"));
	EXPECT(xcall_async(sc.cpu, &call));
	unmap_under_it(&sc);
	t = mm_thread("resident", go_lazy, &sc, sc.cpu);	// it has left, and can come back
	end(&sc, t, stall_point("inval_root_loading"));
}

// ---- The generation, and the flush --------------------------------------------------------------------------------------

#define MANY (TLB_RANGE_MAX + 4)	// a full flush
#define PAGES (MANY + 2)		// … and one page that keeps the tables, and the one that is unmapped last

static void note_what_is_left(struct scene *sc) { sc->left = swmmu_has_leaf(cpu_id(), sc->page); }

// With interrupts on, so that its CPU answers and sweeps; no other thread runs, so the CPU does not become lazy.
static int reside(void *arg)
{
	struct scene *sc = arg;

	space_attach(sc->s);
	preempt_disable();
	store_release(&sc->there, 1u);
	spin_until(load_acquire(&sc->go), "the test", -1);
	note_what_is_left(sc);
	preempt_enable();
	space_detach();
	return 0;
}

static void held_after_a_flush_by(const char *flush)
{
	struct scene sc;
	struct thread *t = begin_with(&sc, flush, PAGES, reside);

	REQUIRE(t);
	arm(&sc, stall_point("inval_user_done"));
	EXPECT_EQ(space_unmap(sc.s, BASE, MANY * PAGE_SIZE), 0);	// no table is freed: answered before the flush
	unmap_under_it(&sc);
	end(&sc, t, stall_point("inval_user_done"));
}

TEST(flush_order, generation_before_the_flush_in_a_shootdown, NEEDS_CPUS2) { held_after_a_flush_by("ipi"); }
TEST(flush_order, generation_before_the_flush_in_a_sweep, NEEDS_CPUS2) { held_after_a_flush_by("lazy"); }

static int drain(void *unused)
{
	flush_find("lazy")->drain();
	return 0;
}

// A sweep clears its mark before it flushes: a mark that is set after the flush stays for the next sweep.
TEST(flush_order, mark_before_the_flush_in_a_sweep, NEEDS_CPUS2)
{
	struct thread *t, *drainer;
	struct scene sc;

	REQUIRE(begin(&sc, "lazy", PAGES));
	t = mm_thread("resident", reside, &sc, sc.cpu);
	REQUIRE(t);
	spin_until(load_acquire(&sc.there), "resident", -1);
	arm(&sc, stall_point("inval_user_done"));
	EXPECT_EQ(space_unmap(sc.s, BASE, PAGE_SIZE), 0);
	spin_until(load_acquire(&sc.held), "resident", -1);
	EXPECT_EQ(space_unmap(sc.s, sc.page, PAGE_SIZE), 0);	// a second record
	store_release(&sc.returned, 1u);
	drainer = mm_thread("drainer", drain, NULL, cpu_id());
	EXPECT(EVENTUALLY(!deferred_held()));
	end(&sc, t, stall_point("inval_user_done"));	// the resident leaves, so nothing waits any more
	mm_join(drainer);
}

// As schedule() does when another thread takes the CPU over.
static void run_in(struct space *s)
{
	irqflags_t flags = irq_save();

	current->space = s;
	tlb_follow(current);
	irq_restore(flags);
}

// Runs as a kernel thread for a while: its CPU is not told of flushes, and catches up when the thread runs in its space
// again.
static int lazy_for_a_while(void *arg)
{
	struct scene *sc = arg;

	space_attach(sc->s);
	preempt_disable();
	EXPECT(swmmu_prime(cpu_id(), sc->page));
	run_in(NULL);
	store_release(&sc->there, 1u);
	spin_until(load_acquire(&sc->go), "the test", -1);
	run_in(sc->s);
	store_release(&sc->back, 1u);
	spin_until(load_acquire(&sc->returned), "the unmap", -1);
	note_what_is_left(sc);
	preempt_enable();
	space_detach();
	return 0;
}

TEST(flush_order, generation_before_the_flush_in_catching_up, NEEDS_CPUS2)
{
	struct scene sc;
	struct thread *t = begin_with(&sc, "ipi", PAGES, lazy_for_a_while);

	REQUIRE(t);
	EXPECT_EQ(space_unmap(sc.s, BASE, PAGE_SIZE), 0);
	arm(&sc, stall_point("inval_user_done"));
	store_release(&sc.go, 1u);
	unmap_under_it(&sc);
	end(&sc, t, stall_point("inval_user_done"));
}

// Runs on the unmapper's CPU, which has seen that the other CPU is lazy.
static void let_it_come_back(struct stall_point *p, void *arg)
{
	struct scene *sc = arg;

	store_release(&sc->go, 1u);
	spin_until(load_acquire(&sc->back), "resident", -1);
}

TEST(flush_order, generation_before_the_look_who_is_lazy, NEEDS_CPUS2)
{
	struct scene sc;
	struct thread *t = begin_with(&sc, "ipi", PAGES, lazy_for_a_while);

	REQUIRE(t);
	stall_point("flush_masks_read")->action = let_it_come_back;
	stall_point("flush_masks_read")->arg = &sc;
	stall_arm(stall_point("flush_masks_read"), sc.s, 0, 0, 0);
	EXPECT_EQ(space_unmap_sync(sc.s, sc.page, PAGE_SIZE), 0);
	store_release(&sc.returned, 1u);
	end(&sc, t, stall_point("flush_masks_read"));
}

static int join_it(void *arg)
{
	struct scene *sc = arg;

	space_attach(sc->s);		// held inside
	preempt_disable();
	spin_until(load_acquire(&sc->returned), "the unmap", -1);
	note_what_is_left(sc);
	preempt_enable();
	space_detach();
	return 0;
}

TEST(flush_order, generation_before_the_root_is_loaded, NEEDS_CPUS2)
{
	struct thread *t;
	struct scene sc;

	REQUIRE(begin(&sc, "ipi", PAGES));
	arm(&sc, stall_point("tlb_loaded"));
	t = mm_thread("resident", join_it, &sc, sc.cpu);
	REQUIRE(t);
	unmap_under_it(&sc);
	end(&sc, t, stall_point("tlb_loaded"));
}

// ---- A flush or an eviction after its space has been left ---------------------------------------------------------------

// The flush is requested while interrupts are off: the CPU goes to the other space before it takes the IPI. What it
// caches there is covered by that space's generations, which are behind.
static int go_over_with_a_flush_under_way(void *arg)
{
	struct scene *sc = arg;
	irqflags_t flags;
	u64 awaited;

	space_attach(sc->s);
	preempt_disable();
	flags = irq_save();
	awaited = walk_awaited();
	store_release(&sc->there, 1u);
	spin_until(walk_awaited() != awaited, "the flush", -1);
	run_in(sc->other);
	irq_restore(flags);		// the IPI is taken here
	spin_until(load_acquire(&sc->go), "the first unmap", -1);
	EXPECT(swmmu_prime(cpu_id(), sc->page));
	store_release(&sc->held, 1u);
	spin_until(load_acquire(&sc->returned), "the second unmap", -1);
	note_what_is_left(sc);
	run_in(sc->s);
	preempt_enable();
	space_detach();
	return 0;
}

TEST(flush_order, flush_of_a_space_that_has_been_left, NEEDS_CPUS2)
{
	struct thread *t;
	struct scene sc;

	REQUIRE(begin(&sc, "ipi", PAGES));
	EXPECT_EQ(space_map(sc.other, BASE, PAGES * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	for (unsigned i = 0; i < 3; i++)		// generations ahead of the other space's
		EXPECT_EQ(space_unmap(sc.s, BASE + i * PAGE_SIZE, PAGE_SIZE), 0);
	t = mm_thread("resident", go_over_with_a_flush_under_way, &sc, sc.cpu);
	REQUIRE(t);
	spin_until(load_acquire(&sc.there), "resident", -1);
	EXPECT_EQ(space_unmap(sc.s, BASE + 3 * PAGE_SIZE, PAGE_SIZE), 0);
	store_release(&sc.go, 1u);
	spin_until(load_acquire(&sc.held), "resident", -1);
	EXPECT_EQ(space_unmap_sync(sc.other, sc.page, PAGE_SIZE), 0);
	store_release(&sc.returned, 1u);
	mm_join(t);
	EXPECT_EQ(swmmu_violations() - sc.violations, 0);
	EXPECT(!sc.left);
	space_put(sc.s);
	space_put(sc.other);
	swmmu_quiet(false);
}

// The CPU holds the space lazily, and the space's last user is gone. It is asked to leave, and has just gone to the
// other space by itself.
static int go_over_when_asked_to_leave(void *arg)
{
	struct scene *sc = arg;
	irqflags_t flags;
	u64 v;

	space_attach(sc->s);
	space_detach();
	flags = irq_save();
	store_release(&sc->there, 1u);
	spin_until(xcall_waits(cpu_id()), "the eviction", -1);
	space_attach(sc->other);
	irq_restore(flags);		// the IPI is taken here
	EXPECT(tlb_space_loaded_here(sc->other));
	EXPECT_EQ(arch_user_read64_nofault(BASE, &v), 0);
	space_detach();
	return 0;
}

TEST(flush_order, eviction_from_a_space_that_has_been_left, NEEDS_CPUS2)
{
	struct thread *t;
	struct scene sc;

	REQUIRE(begin(&sc, "ipi", 1));
	EXPECT_EQ(space_unmap(sc.s, BASE, PAGE_SIZE), 0);	// so that the end of the space flushes nothing
	EXPECT_EQ(space_map(sc.other, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	t = mm_thread("resident", go_over_when_asked_to_leave, &sc, sc.cpu);
	REQUIRE(t);
	spin_until(load_acquire(&sc.there), "resident", -1);
	space_put(sc.s);
	mm_join(t);
	EXPECT_EQ(swmmu_violations() - sc.violations, 0);
	space_put(sc.other);
	swmmu_quiet(false);
}
#endif
