// SPDX-License-Identifier: MIT
// Walker 0 lingers: it stays in a step of a walk, or of a flush of its own CPU, until what it has read there is out of
// date. It says where, so that an unmapper is likely to change just that. Some scenes have a second step in the same
// walk. So a table or a page that is freed too early is found soon, and random delays (stall_linger) need not hit the
// right step.
//
// While it lingers, the walker is as its policy has its walkers: with interrupts on or off; preempted or not. It reads
// the tables that it watches without any protocol. They may have been freed, but are not reused before a grace period
// has passed (the quarantine of checking builds), and a walker that lingers here has at least preemption off.
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/swmmu.h"
#include "lab/test.h"
#include "lab/thief.h"
#include "mm/table.h"
#include "tests/load/parts.h"
#include "tests/mm/help.h"
#include <arch/machine.h>

#if CHECK
#define LINGER_NS (4 * NSEC_PER_MSEC)		// waits at most so long for something to begin
#define FREE_NS (20 * NSEC_PER_MSEC)		// then so long for its end, if nobody should be waiting for this walk
#define LEAST_MORE_NS (NSEC_PER_MSEC / 2)	// or at least so long, if somebody should be; at most LINGER_NS
#define MOST_LINGER_NS (2 * NSEC_PER_SEC)
#define THEFT_NS (NSEC_PER_MSEC / 2)
#define MOST_PLAN_NS (50 * NSEC_PER_MSEC)	// in which an unmapper should stand by

struct linger;
struct scene {
	const char *first, *second;		// stall points; NULL: none. The second is one of the same walk or flush
	void (*wait)(const struct linger *g), (*wait_again)(const struct linger *g);	// what to wait for there
	bool (*come_by)(struct linger *g);	// how it gets there; NULL: by a walk. False: it did not
	enum bait_kind bait;
	unsigned weight;
	bool deferred;				// only where flushes are deferred
};

struct linger {			// of walker 0, while it lingers
	struct worker *w;
	const struct scene *scene;
	unsigned at;
	struct slot s;
	unsigned page;
	vaddr_t va;
	int level;		// of the entry at which it lingers in a walk
	pte_t *entry[PT_LEVELS + 1], value[PT_LEVELS + 1];	// the path to the leaf, on arrival, by level; or NULL
	bool robbed;
	u64 ns, more_ns;	// how long it waits: for something to begin, and then for its end
};

// ---- What it waits for ----------------------------------------------------------------------------------------------

static void pass_time(const struct linger *g)
{
	if (g->robbed)
		thief_rob(cpu_id(), THEFT_NS);
	else
		cpu_relax();
}

#define WAIT_FOR(g, cond, ns) ({ \
	u64 _end = now_ns() + (ns); \
	bool _holds; \
	while (!(_holds = !!(cond)) && now_ns() < _end) \
		pass_time(g); \
	_holds; })

static struct page *table_below(const struct linger *g, int level)
{
	return g->entry[level] && pte_present(g->value[level]) && page_valid(pte_addr(g->value[level])) ?
	       page_of(pte_addr(g->value[level])) : NULL;
}

// Only a hint: a policy may hold only what the walk has named, and so not the tables below.
__attribute__((no_sanitize("thread"))) static pte_t entry_in(const pte_t *entry) { return READ_ONCE(*entry); }

static bool changed(const struct linger *g, int level) { return !pte_same(entry_in(g->entry[level]), g->value[level]); }

// Waits until the table has been unlinked. If the pair is unsafe and to be convicted, all other CPUs get to run in that
// time, however busy the host is, because some may be freeing tables of another space.
static bool wait_unlinked(const struct linger *g, const struct page *table)
{
	struct test_wait others = test_wait(1);
	u64 end = now_ns() + g->ns;

	while (now_ns() < end || (!g->w->load->safe && test_hold_on(&others))) {
		if (mm_state(table) != TABLE_LIVE)
			return true;
		pass_time(g);
	}
	return false;
}

// Waits until the table has been unlinked, and then until it is FREE, which it should not become.
static void until_gone(const struct linger *g)
{
	struct load *l = g->w->load;
	const struct page *table = table_below(g, g->level);
	bool patient = !l->safe || (irqs_enabled() && !RANDOM(g->w, 16));

	if (!table || !wait_unlinked(g, table))
		return;
	WRITE_ONCE(l->chances, l->chances + 1);
	WAIT_FOR(g, mm_state(table) == TABLE_FREE, patient ? MAX(FREE_NS, l->safe ? 0 : g->ns) : g->more_ns / 2);
}

// until_posted() waits until another sweep has been asked for; until_given() then waits until the page is freed,
// although that sweep is still to come. The CPU that asked looks again at the next tick.
static void until_posted(const struct linger *g)
{
	WAIT_FOR(g, READ_ONCE(g->w->load->posted), g->ns);
}

static void until_given(const struct linger *g)
{
	pte_t leaf = g->value[1];

	if (READ_ONCE(g->w->load->posted) && g->entry[1] && pte_present(leaf) && page_valid(pte_addr(leaf)))
		WAIT_FOR(g, !READ_ONCE(page_of(pte_addr(leaf))->refs), 2 * tick_ns());
}

// Only a hint: by now the frame may belong to anybody, who may just be zeroing it.
__attribute__((no_sanitize("thread"))) static u64 stamp_in(pte_t leaf)
{
	return READ_ONCE(*(u64 *)phys_to_virt(pte_addr(leaf)));
}

// Waits until the leaf or the entry above it has changed, and then until the frame shows another stamp (`taken`), or is
// free.
static void until_recycled(const struct linger *g)
{
	pte_t leaf = g->value[1];
	bool taken = RANDOM(g->w, 4);
	u64 stamp;

	if (!g->entry[1] || !pte_present(leaf) || !page_valid(pte_addr(leaf)))
		return;
	stamp = stamp_in(leaf);
	if (!WAIT_FOR(g, changed(g, 1) || changed(g, 2), g->ns))
		return;
	WAIT_FOR(g, taken ? stamp_in(leaf) && stamp_in(leaf) != stamp && READ_ONCE(page_of(pte_addr(leaf))->refs) :
		 !READ_ONCE(page_of(pte_addr(leaf))->refs), g->more_ns);
}

// Waits until the table has moved away and maps, in the place of this address, a page that was never mapped here.
static void until_away(const struct linger *g)
{
	const pte_t *entry;
	u64 seen;

	if (!table_below(g, 2))
		return;
	entry = (pte_t *)page_to_virt(table_below(g, 2)) + pt_index(g->va, 1);
	if (!WAIT_FOR(g, changed(g, 2), g->ns))
		return;
	WAIT_FOR(g, ({
		pte_t v = entry_in(entry);

		pte_present(v) && page_valid(pte_addr(v)) && (seen = stamp_in(v)) && !stamp_fits(g->at, g->va, seen, 0);
	}), g->more_ns);
}

static void until_back(const struct linger *g)
{
	WRITE_ONCE(g->w->load->seen_away, 1);
	if (g->entry[2])
		WAIT_FOR(g, !changed(g, 2), g->more_ns);
}

static void until_others_have_run(const struct linger *g) { WAIT_FOR(g, false, g->more_ns); }

// ---- In the step ----------------------------------------------------------------------------------------------------

// The pair decides how to linger. A walker with interrupts on answers flushes in the middle of its walk. For a walker
// with interrupts off an unsafe pair's flush must not wait: a back-end that spares preempted CPUs does not if the
// walker is preempted; the others that prove nothing interrupt it all the same. (Where a hypervisor owns the records,
// it preempts this CPU.) Under a safe pair the walker does both.
static bool linger_robbed(struct worker *w)
{
	if (irqs_enabled() || in_nmi() || !thief_works())
		return false;
	return w->load->safe ? !RANDOM(w, 4) : w->load->flush->spares_robbed;
}

static void find_path(struct linger *g)
{
	pte_t *table = g->w->load->space[g->at]->root;

	for (int level = PT_LEVELS; level >= 1; level--) {
		g->entry[level] = table ? &table[pt_index(g->va, level)] : NULL;
		g->value[level] = table ? entry_in(g->entry[level]) : 0;
		if (!pte_present(g->value[level]) || !page_valid(pte_addr(g->value[level])) || pte_leaf(g->value[level], level))
			table = NULL;
		else
			table = phys_to_virt(pte_addr(g->value[level]));
	}
}

static void arm(struct stall_point *p, const struct linger *g, void (*action)(struct stall_point *, void *))
{
	bool walks = !g->scene->come_by;

	p->action = action;
	p->arg = (void *)g;
	WRITE_ONCE(p->cpu, (int)g->w->load->lingerer);
	stall_arm(p, walks ? g->w->load->space[g->at] : NULL, walks ? g->va : 0, walks ? g->va + PAGE_SIZE : 0,
		  p == stall_point("walk_level") ? g->level : 0);
}

static void again(struct stall_point *p, void *arg)
{
	const struct linger *g = arg;

	g->scene->wait_again(g);
}

// So that there is something to flush. (In an NMI, too: a processor may fill its TLB at any time.)
static void fill_own_tlb(const struct linger *g)
{
	if (arch_current_root() == g->w->load->space[g->at]->root_pa)
		swmmu_prime(cpu_id(), g->va);
}

static void stay(struct stall_point *p, void *arg)
{
	struct linger *g = arg;
	struct load *l = g->w->load;

	find_path(g);
	g->robbed = linger_robbed(g->w);
	fill_own_tlb(g);
	if (!in_nmi() && !RANDOM(g->w, 4))
		walk_in_own_nmi();
	store_release(&l->lingering, g->at + 1);	// pairs with the unmapper's load
	g->scene->wait(g);
	if (g->scene->second)
		arm(stall_point(g->scene->second), g, again);
	else
		WRITE_ONCE(l->lingering, 0);
}

// ---- How it gets there ----------------------------------------------------------------------------------------------

static bool has_come(const struct linger *g) { return READ_ONCE(stall_point(g->scene->first)->hits); }

static bool by_range(struct linger *g)
{
	pin_fast(g->w, g->at, &g->s, 0, g->s.pages, false);
	return true;			// … even if there were not two pages
}

static bool by_joining(struct linger *g)
{
	go_in_or_out(g->w, g->w->load->nr_spaces);
	go_in_or_out(g->w, g->at);
	return has_come(g);
}

// An NMI is to come in the middle of a switch from one space to another, when flushes of both are sent to this CPU:
// only then can a second one be requested while the first is served.
static void until_nmi(struct stall_point *p, void *arg)
{
	const struct linger *g = arg;

	arm(stall_point(g->scene->first), g, stay);
	WAIT_FOR(g, has_come(g), LINGER_NS);
}

static bool by_joining_slowly(struct linger *g)
{
	struct load *l = g->w->load;

	stall_release(stall_point(g->scene->first));			// not yet
	go_in_or_out(g->w, (g->at + 1) % l->nr_spaces);
	go_in_or_out(g->w, l->nr_spaces);		// it holds that one in lazy TLB mode
	arm(stall_point("tlb_loaded"), g, until_nmi);
	go_in_or_out(g->w, g->at);
	stall_release(stall_point("tlb_loaded"));
	return has_come(g);
}

// The tick brings it there.
static bool by_waiting(struct linger *g)
{
	u64 end = now_ns() + 2 * tick_ns();

	go_in_or_out(g->w, g->at);
	while (!has_come(g) && now_ns() < end)
		read_as_user(g->w, &g->s);
	return has_come(g);
}

// No step of a walk: user memory is read while its page is unmapped.
static bool by_reading(struct linger *g)
{
	struct load *l = g->w->load;
	u64 end = now_ns() + g->ns;

	go_in_or_out(g->w, g->at);
	fill_own_tlb(g);
	store_release(&l->lingering, g->at + 1);
	for (u64 now = now_ns(); now < end; now = now_ns()) {
		u32 up = up_before(l, g->at, &g->s, g->page);

		read_as_user(g->w, &g->s);
		if (up_before(l, g->at, &g->s, g->page) != up)
			end = MIN(end, now + LEAST_MORE_NS);
	}
	return true;
}

static bool by_being_robbed(struct linger *g)
{
	if (!thief_works())
		return false;
	go_in_or_out(g->w, g->at);
	preempt_disable();
	fill_own_tlb(g);
	thief_rob(cpu_id(), LEAST_MORE_NS / 16);
	preempt_enable();
	return has_come(g);
}

static const struct scene scenes[] = {
	// The only one for unsafe pairs: the table that is about to be read is unlinked.
	{ .first = "walk_level", .wait = until_gone, .bait = BAIT_TABLES, .weight = 8 },
	// The same at later steps of the walk.
	{ .first = "walk_leaf", .wait = until_gone, .bait = BAIT_TABLES, .weight = 1 },
	{ .first = "walk_pinned", .wait = until_gone, .bait = BAIT_TABLES, .weight = 1 },
	// The frame gets another owner before it is pinned.
	{ .first = "walk_leaf", .wait = until_recycled, .bait = BAIT_PAGES, .weight = 4 },
	{ .first = "walk_on", .wait = until_recycled, .come_by = by_range, .bait = BAIT_PAGES, .weight = 1 },
	// The table moves away, and back.
	{ .first = "walk_level", .wait = until_away, .bait = BAIT_MOVE, .weight = 2 },
	{ .first = "walk_level", .wait = until_away, .second = "walk_pinned", .wait_again = until_back,
	  .bait = BAIT_MOVE, .weight = 1 },
	{ .first = "walk_level", .wait = until_away, .second = "walk_leaf_again", .wait_again = until_back,
	  .bait = BAIT_MOVE, .weight = 4 },
	// The table is collapsed, or the large page is split.
	{ .first = "walk_level", .wait = until_gone, .bait = BAIT_COLLAPSE, .weight = 2 },
	{ .first = "walk_pinned", .wait = until_gone, .bait = BAIT_COLLAPSE, .weight = 1 },
	// Steps of a flush of this CPU: what it fills into its TLB just then is out of date at once.
	{ .first = "tlb_loaded", .wait = until_gone, .come_by = by_joining, .bait = BAIT_TABLES, .weight = 2 },
	{ .first = "lazy_flushed", .wait = until_posted, .second = "lazy_swept", .wait_again = until_given,
	  .come_by = by_waiting, .bait = BAIT_POSTED, .weight = 8, .deferred = true },
	{ .first = "nmi_flushed", .wait = until_gone, .second = "nmi_served", .wait_again = until_others_have_run,
	  .come_by = by_joining_slowly, .bait = BAIT_TABLES, .weight = 4 },
	// No step of a walk or a flush.
	{ .come_by = by_reading, .bait = BAIT_SLOT, .weight = 3 },
	{ .come_by = by_reading, .bait = BAIT_GIVEN, .weight = 2 },
	{ .first = "steal_returning", .wait = until_gone, .come_by = by_being_robbed, .bait = BAIT_TABLES, .weight = 2 },
};

// A scene whose point is never reached (another back-end, another owner of the records) is given up after so many
// attempts.
#define VAIN_MOST 3
static unsigned vain[ARRAY_SIZE(scenes)];

static const struct scene *choose(struct worker *w)
{
	unsigned sum = 0, pick = 0;

	if (!w->load->safe)
		return &scenes[0];
	for (unsigned i = 0; i < ARRAY_SIZE(scenes); i++) {
		if (vain[i] == VAIN_MOST)
			continue;
		sum += scenes[i].weight;
		if (RANDOM(w, sum) < scenes[i].weight)
			pick = i;
	}
	return &scenes[pick];
}

static void linger_here(struct linger *g)
{
	const struct scene *sc = g->scene;
	unsigned *in_vain = &vain[sc - scenes];

	if (!sc->come_by && RANDOM(g->w, 4))
		go_in_or_out(g->w, g->w->load->nr_spaces);	// as a remote walker, for whom most flushes do not wait
	if (sc->first)
		arm(stall_point(sc->first), g, stay);
	if (!sc->come_by)
		pin_some(g->w, g->at, g->s, g->page);
	else if (sc->come_by(g) || sc->deferred)
		*in_vain = 0;
	else
		++*in_vain;
	if (sc->first)
		stall_release(stall_point(sc->first));
	if (sc->second)
		stall_release(stall_point(sc->second));
}

static struct slot choose_slot(struct worker *w, enum bait_kind bait)
{
	switch (bait) {
	case BAIT_TABLES: case BAIT_POSTED: return slot_of(RANDOM(w, GROUPS), RANDOM(w, SLOTS));
	case BAIT_PAGES: return slot_of(RANDOM(w, GROUPS), RANDOM(w, 2) ? 0 : 2);	// of more than two pages
	case BAIT_SLOT: return slot_of(RANDOM(w, GROUPS), RANDOM(w, SLOTS - 1));
	default: return slot_of(LARGE_GROUPS + RANDOM(w, WHOLE_GROUPS - LARGE_GROUPS), SLOTS - 1);
	}
}

static struct linger next;		// as planned

static void plan(struct worker *w, unsigned at)
{
	const struct scene *sc = choose(w);
	struct load *l = w->load;

	next = (struct linger){ .w = w, .scene = sc, .at = at, .level = sc->bait <= BAIT_POSTED ? 2 + (int)RANDOM(w, 3) : 2 };
	next.s = choose_slot(w, sc->bait);
	if (sc->deferred)
		go_in_or_out(w, at);	// before the other posts a flush
	next.page = RANDOM(w, next.s.pages);
	next.va = next.s.va + next.page * PAGE_SIZE;
	// An unsafe pair is to be convicted however slow the machine is; a safe pair must not be held up for so long.
	next.more_ns = MIN(MAX(LEAST_MORE_NS, READ_ONCE(l->op_ns)), LINGER_NS);
	next.ns = MAX(LINGER_NS, l->safe ? 0 : MIN(8 * READ_ONCE(l->op_ns), MOST_LINGER_NS));
	WRITE_ONCE(l->bait, bait_word((struct bait){ sc->bait, next.s.g, next.s.i, next.page }));
	WRITE_ONCE(l->seen_away, 0);
	WRITE_ONCE(l->posted, 0);
	WRITE_ONCE(l->stands_by, 0);
	store_release(&l->planned, at + 1);		// pairs with the unmapper's load
}

// Makes a plan; when an unmapper stands by, it does the walk; until then the walker goes on as usual. It lingers for
// half of its time. Nobody else arms these points, and they match only its CPU.
void linger_now_and_then(struct worker *w, unsigned at)
{
	struct load *l = w->load;
	u64 start = now_ns();

	if (start < w->next_linger)
		return;
	if (!l->planned) {
		plan(w, at);
	} else if (READ_ONCE(l->stands_by) || start > w->next_linger + MOST_PLAN_NS) {
		linger_here(&next);
		WRITE_ONCE(l->lingering, 0);
		WRITE_ONCE(l->planned, 0);
		w->next_linger = 2 * now_ns() - start;
	}
}

void linger_begin(const struct load *l)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vain); i++)
		vain[i] = scenes[i].deferred && !l->flush->defer ? VAIN_MOST : 0;
}
#else
void linger_now_and_then(struct worker *w, unsigned at) { w->next_linger = ~0ull; }
void linger_begin(const struct load *l) { }
#endif
