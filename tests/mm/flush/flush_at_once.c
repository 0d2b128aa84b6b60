// SPDX-License-Identifier: MIT
// What each operation must have done on its return, under every back-end, also one that defers flushes: neither the CPU
// that ran it nor one that runs in the same space has any translation that the operation has taken away. Only an unmap may
// leave the other CPU's for later (tlb_flush=lazy); this CPU is always flushed at once.
//
// The other CPU caches the pages and then keeps interrupts off until somebody asks it for a flush, or the operation has
// returned: so no tick sweeps in time what nobody has flushed. Each CPU judges for itself, by the adversary's TLB, which
// holds what was primed, and by user accesses, which use the real TLB.
//
// In both modes of the adversary: in the weaker one an invalidation drops table pointers only if it says that tables are
// freed.
//
// Everything once more with a back-end that does not flush: then the same checks must find what is stale.
#include "kernel/time.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/swmmu.h"
#include "lab/test.h"
#include "mm/tlb.h"
#include "tests/mm/help.h"
#include "tests/mm/stamps.h"
#include "tests/mm/walk/hold.h"

#if CHECK
struct operation {
	const char *name;
	int (*run)(struct space *s, vaddr_t va, u64 len);
	int level;			// of the leaves
	unsigned pages;			// … from the first to the last that are affected
	bool collapsed;			// small pages at first, then collapsed into a large one
	bool reads, writes;		// what is permitted there afterwards
	bool table_goes;		// the table of the small pages is unlinked: kept, or moved
	bool may_defer;
};

struct scene {
	const struct operation *o;
	struct space *s;
	bool neighbour;			// a page that keeps the upper tables
	u32 there, returned;
	unsigned stale;			// on the other CPU
};

static int move(struct space *s, vaddr_t va, u64 len) { return space_move(s, va, FAR, ALIGN_UP(len, HUGE_SIZE)); }
static int move_pages(struct space *s, vaddr_t va, u64 len) { return space_move(s, va, FAR + PAGE_SIZE, len); }
static int protect(struct space *s, vaddr_t va, u64 len) { return space_protect(s, va, len, PROT_R); }
static int forbid(struct space *s, vaddr_t va, u64 len) { return space_protect(s, va, len, 0); }
static int collapse(struct space *s, vaddr_t va, u64 len) { return space_collapse(s, va); }
static int split(struct space *s, vaddr_t va, u64 len) { return space_split(s, va); }

#define MANY (TLB_RANGE_MAX + 4)	// a full flush
#define OP(name_, run_, level_, pages_, ...) \
	{ .name = name_, .run = run_, .level = level_, .pages = pages_, __VA_ARGS__ }
static const struct operation operations[] = {
	OP("unmap", space_unmap, 1, 3, .may_defer = true),
	OP("unmap many", space_unmap, 1, MANY, .may_defer = true),
	OP("unmap large", space_unmap, 2, 2, .may_defer = true),
	OP("unmap, synchronously", space_unmap_sync, 1, 3, .reads = false),
	OP("discard", space_discard, 1, 3, .reads = true, .writes = true),
	OP("protect", protect, 1, 3, .reads = true),
	OP("protect many", protect, 1, MANY, .reads = true),
	OP("protect large", protect, 2, 2, .reads = true),
	OP("forbid", forbid, 1, 3, .reads = false),
	OP("collapse", collapse, 1, PT_ENTRIES, .reads = true, .writes = true, .table_goes = true),
	OP("split", split, 1, PT_ENTRIES, .collapsed = true, .reads = true, .writes = true),
	OP("move", move, 1, 3, .table_goes = true),
	OP("move by pages", move_pages, 1, 3, .reads = false),
	OP("move many by pages", move_pages, 1, MANY, .reads = false),
	OP("move what was collapsed, by pages", move_pages, 1, PT_ENTRIES, .collapsed = true),
	OP("move a large page", move, 2, 1, .reads = false),
	OP("move a collapsed page", move, 1, PT_ENTRIES, .collapsed = true),
};

// First, middle and last page.
#define PROBES 3
static vaddr_t probe(const struct operation *o, unsigned i)
{
	return BASE + (o->pages - 1) * i / (PROBES - 1) * level_size(o->level);
}

static bool read_it(vaddr_t va)
{
	u64 v;

	return !arch_user_read64_nofault(va, &v);
}

static void cache_all(const struct operation *o)
{
	for (unsigned i = 0; i < PROBES; i++) {
		EXPECT(read_it(probe(o, i)) && !arch_user_write64_nofault(probe(o, i), 1));
		EXPECT(swmmu_prime(cpu_id(), probe(o, i)));
	}
}

// How many of the pages can this CPU still access as before?
static unsigned stale_here(const struct operation *o)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PROBES; i++) {
		bool stale = swmmu_has_leaf(cpu_id(), probe(o, i));

		stale |= o->table_goes && swmmu_has_table(cpu_id(), probe(o, i), 1);
		stale |= !o->reads && read_it(probe(o, i));
		stale |= !o->writes && !arch_user_write64_nofault(probe(o, i), 2);
		n += stale;
	}
	return n;
}

// How often some CPU has begun to wait for others.
static u64 asked(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.lazy_settled + walk_awaited();
}

static int reside(void *arg)
{
	struct scene *sc = arg;
	irqflags_t flags;
	u64 before;

	space_attach(sc->s);
	preempt_disable();		// no other thread: the CPU does not become lazy
	flags = irq_save();
	cache_all(sc->o);
	before = asked();
	store_release(&sc->there, 1u);
	spin_until(load_acquire(&sc->returned) || asked() != before, "the operation", -1);
	if (!load_acquire(&sc->returned)) {
		irq_restore(flags);
		spin_until(load_acquire(&sc->returned), "the operation", -1);
		flags = irq_save();
	}
	sc->stale = stale_here(sc->o);
	irq_restore(flags);
	preempt_enable();
	space_detach();
	return 0;
}

static bool build(struct scene *sc)
{
	const struct operation *o = sc->o;
	u64 len = o->pages * level_size(o->level);
	bool ok = !space_map(sc->s, BASE, ALIGN_UP(len, HUGE_SIZE), RW, o->level, MAP_POPULATE);

	if (sc->neighbour)
		ok = ok && !space_map(sc->s, BASE + 8 * HUGE_SIZE, PAGE_SIZE, RW, 1, MAP_POPULATE);
	return ok && (!o->collapsed || !space_collapse(sc->s, BASE));
}

static u64 deferred(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.lazy_deferred;
}

// Returns how many pages were stale on this CPU when the operation had returned; *there: on the other one.
static unsigned play(const struct operation *o, const struct flush_backend *b, bool neighbour, unsigned *there)
{
	// The policy is ipi: it does not wait for a CPU that only keeps preemption off, as the resident does.
	struct scene sc = { .o = o, .neighbour = neighbour, .s = space_create_with(policy_find("ipi"), b) };
	unsigned here = 0;
	struct thread *t;
	u64 before, gen;

	if (!EXPECT(sc.s) || !EXPECT(build(&sc)) || !(t = mm_thread("resident", reside, &sc, mm_other_cpu(0))))
		return 0;
	spin_until(load_acquire(&sc.there), "resident", -1);
	space_attach(sc.s);
	cache_all(o);
	before = deferred();
	gen = READ_ONCE(sc.s->gen);
	EXPECT_EQ(o->run(sc.s, BASE, o->pages * level_size(o->level)), 0);
	here = stale_here(o);
	if (!o->may_defer)
		EXPECT_EQ(deferred() - before, 0);
	if (b == &mm_flush_none)
		WRITE_ONCE(sc.s->gen, gen);	// nor may a CPU learn of the flush by the generation
	store_release(&sc.returned, 1u);
	mm_join(t);
	space_detach();
	space_put(sc.s);
	*there = sc.stale;
	return here;
}

// a processor may drop an entry at any time, and the operation may be preempted for a while
#define ROUNDS 8
static void finds_what_is_stale(const struct operation *o)
{
	unsigned here = 0, there = 0, n;

	oracle_expect_violations(true);
	for (unsigned i = 0; i < ROUNDS && !(here && there) && !test_failed(); i++) {
		here += play(o, &mm_flush_none, false, &n);
		there += n;
	}
	oracle_expect_violations(false);
	if (!here || !there)
		test_fail(__FILE__, __LINE__, "%s without a flush: stale on this CPU %u, on the other %u", o->name, here, there);
}

static void nothing_is_stale(const struct operation *o, const struct flush_backend *b, bool neighbour)
{
	unsigned there, here = play(o, b, neighbour, &there);

	if (here || (there && !(o->may_defer && b->defer)))
		test_fail(__FILE__, __LINE__, "%s, tlb_flush=%s: stale on this CPU %u, on the other %u", o->name, b->name, here, there);
}

static void all_operations(void (*scene)(const struct operation *o))
{
	swmmu_quiet(true);		// only what is primed is cached
	for (unsigned i = 0; i < ARRAY_SIZE(operations) && !test_failed(); i++)
		scene(&operations[i]);
	swmmu_quiet(false);
}

static void under_each_backend(const struct operation *o)
{
	FOR_EACH_BACKEND(b)
		if (!flush_missing(*b) && !(*b)->unseen)
			nothing_is_stale(o, *b, false);
}

static void beside_a_neighbour(const struct operation *o)
{
	FOR_EACH_BACKEND(b)
		if (!flush_missing(*b) && !(*b)->unseen)
			nothing_is_stale(o, *b, true);
}

TEST(flush_at_once, nothing_is_stale_on_return, NEEDS_CPUS2) { all_operations(under_each_backend); }
TEST(flush_at_once, without_a_flush_it_is, NEEDS_CPUS2) { all_operations(finds_what_is_stale); }

TEST(flush_at_once, nor_in_the_weakest_tlb, NEEDS_CPUS2)
{
	swmmu_set_mode(SWMMU_WEAKEST);
	all_operations(beside_a_neighbour);
	swmmu_set_mode(SWMMU_X86);
}
#endif
