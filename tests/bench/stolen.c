// SPDX-License-Identifier: MIT
// What unmapping costs while the thief (lab/thief.h) preempts a CPU of the space in the middle of a walk. This CPU maps
// and unmaps pages, each with an L1 table of its own: first for some ticks, until the usual number of pages waits to be
// freed, then until the preemption is over. Neither its begin nor its end is left to chance:
//
//	unmapper (here)                                    victim
//	---------------                                    ------
//	map a page; room in `pending`                      walks over and over
//	asked = true                                       one more walk: before it reads the L1 table
//	wait until it is preempted             <───────    preempted, until released
//	(a) the unmap waits for this walk: release in stolen_us
//	the first unmap
//	(b) it does not: release when stolen_us are over
//	more unmaps until it is released       ───────>    goes on with its walk
//
// So when the first unmap begins the victim is marked as preempted, is inside a walk and holds no lock. Under (b) it
// stays so until that unmap has returned, however slowly a busy host runs either of them. A sample is one preemption:
//
//   unmap_stolen   how long the first unmap took
//   unmap_longest  … the longest: when pending_max pages wait, the next unmap waits for the preempted CPU
//   pages_held     the most pages that waited to be freed meanwhile: tables and, where the flush is deferred, frames
//
// Their lines also count in how many samples events came in this order (struct facts); tools/checks.py reads that.
// stolen_us=0: the same without a preemption; pages_held is that of the ticks before.
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/bench.h"
#include "lab/thief.h"
#include "mm/frame/slab.h"
#include "mm/pending.h"
#include "mm/flush/flush.h"
#include "tests/bench/load.h"
#include "tests/bench/places.h"
#include "tests/bench/victim.h"

#define LEAD_TICKS 4		// longer than a grace period takes
#define PATIENCE 3			// times the budget, before pairs are left out
#define LEAST_NS (10 * NSEC_PER_SEC)
// How many of each length the first slice of a pair has, and each later one. The short ones are cheap and have five
// samples at once; later slices are there for the long ones.
static const struct { unsigned us, first, later; } thefts[] = {
	{ 0, 5, 1 }, { 1000, 5, 1 }, { 3000, 5, 1 }, { 10000, 5, 1 }, { 30000, 5, 1 }, { 100000, 2, 2 }, { 300000, 1, 2 },
};

// In how many of the samples …
struct facts {
	u64 marked;	// was the victim preempted when the first unmap began
	u64 early;	// had the first unmap returned before the victim ran again
	u64 kept;	// … and was all that was unlinked meanwhile still held whenever the victim was seen preempted
};

// What is recorded of one pair, for preemptions of each length.
struct pair {
	struct {
		struct bench_case first, longest, held;
		struct facts facts;
	} of[ARRAY_SIZE(thefts)];
	bool warm;
};
static struct bench_case *cases;	// one for each pair; its slice fills all cases of that pair
static struct pair **pairs;		// by its index
static u64 too_late;			// now_ns() after which a pair that says little new is left out: on a busy host

static void map(struct space *s, vaddr_t va)
{
	if (map_patiently(s, va, PAGE_SIZE, 1))
		panic("no memory for a benchmark");
}

static vaddr_t map_next(struct places *p)
{
	vaddr_t va = places_next(p);

	map(p->space, va);
	return va;
}

static u64 timed_unmap(struct places *p)
{
	vaddr_t va = map_next(p);
	u64 start = now_ns();

	space_unmap(p->space, va, PAGE_SIZE);
	return now_ns() - start;
}

// Returns the largest number of pages that waited.
static u64 churn_for(struct places *p, u64 ns)
{
	u64 most = 0, end = now_ns() + ns;

	do {
		timed_unmap(p);
		most = MAX(most, (u64)pending_in_use());
	} while (now_ns() < end);
	return most;
}

// Must an unmap wait for a CPU that is preempted in the middle of a walk? It must if its flush waits for that CPU, or
// if its policy frees at once and so waits for the walk.
static bool waits(const struct bench_case *c)
{
	if (c->flush->defer && !c->policy->begin)
		return false;
	return !c->flush->spares_robbed || (c->policy->waits != WAIT_FLUSH && !c->policy->drain);
}

struct theft {
	struct victim *victim;
	struct places *at;
	u64 ns;
	bool unmap_waits;
	u64 unmaps, first, longest, most;
	bool marked, early, kept;
};

// The held pages are counted before the look at the victim: if it is preempted then, it was when they were counted.
static void look(struct theft *t)
{
	u64 in_use = (u64)pending_in_use();

	t->most = MAX(t->most, in_use);
	if (thief_robs(t->victim->cpu))
		t->kept &= in_use >= t->unmaps;		// a table each, at least
}

// As long as at most half of the credits are taken there is one for the first unmap, whichever CPUs keep the others.
static void make_room(const struct bench_case *c)
{
	if (pending_in_use() > (s64)pending_max() / 2)
		bench_settle(c);
}

// The page is mapped first, because a map may need pages that the preempted CPU holds up.
static void first_unmap(struct theft *t)
{
	unsigned cpu = t->victim->cpu;
	vaddr_t va = map_next(t->at);
	u64 start;

	WRITE_ONCE(t->victim->asked, 1);
	thief_wait_robbed(cpu);
	look(t);
	t->marked = thief_robs(cpu);
	start = now_ns();
	if (t->unmap_waits)
		thief_release_in(cpu, t->ns);
	space_unmap(t->at->space, va, PAGE_SIZE);
	t->first = t->longest = now_ns() - start;
	t->early = thief_robs(cpu);
	if (!t->unmap_waits)
		thief_release_in(cpu, t->ns - MIN(t->ns, t->first));
	t->unmaps = 1;
}

static void one_theft(struct pair *p, unsigned i, struct places *at, struct victim *v)
{
	struct bench_case *c = &p->of[i].first;
	struct theft t = { .victim = v, .at = at, .ns = thefts[i].us * 1000ull, .unmap_waits = waits(c), .kept = true };
	struct facts *f = &p->of[i].facts;

	make_room(c);
	first_unmap(&t);
	for (look(&t); thief_robs(v->cpu); look(&t)) {
		t.longest = MAX(t.longest, timed_unmap(at));
		t.unmaps++;
	}
	thief_wait_back(v->cpu);
	bench_record_raw(c, t.first);
	bench_record_raw(&p->of[i].longest, t.longest);
	bench_record_raw(&p->of[i].held, t.most);
	c->ops += t.unmaps;
	f->marked += t.marked;
	f->early += t.early;
	f->kept += t.early && t.kept;
}

static void no_theft(struct pair *p, struct places *at, u64 most)
{
	u64 took = timed_unmap(at);

	bench_record_raw(&p->of[0].first, took);
	bench_record_raw(&p->of[0].longest, took);
	bench_record_raw(&p->of[0].held, most);
	p->of[0].first.ops++;
}

static u64 lead(struct places *at) { return churn_for(at, LEAD_TICKS * tick_ns()); }

static void thefts_of(struct pair *p, unsigned i, struct places *at, struct victim *v)
{
	struct bench_case *c = &p->of[i].first;
	unsigned times = c->hist->n ? thefts[i].later : thefts[i].first;

	bench_count_from_here(c);
	if (thefts[i].us)
		lead(at);
	while (times--) {
		if (thefts[i].us)
			one_theft(p, i, at, v);
		else
			no_theft(p, at, lead(at));
	}
	bench_count_to_here(c);
}

// Under a flush that waits for the preempted CPU, and under one that defers, all policies behave alike: one of them is
// enough for the whole curve.
static bool wanted(const struct bench_case *c, unsigned us)
{
	return us == 0 || us == 1000 || us == 10000 || c->flush->spares_robbed || !strcmp(c->policy->name, "rcu") ||
	       (c->policy->waits == WAIT_FLUSH && c->flush == flush_default());
}

static bool whole_curve(const struct bench_case *c) { return wanted(c, thefts[ARRAY_SIZE(thefts) - 1].us); }

// The ticks before a preemption are its warm-up. Lengths ascend, so that pages left over from the previous one are the
// smaller part.
static void slice_stolen(struct bench_case *c)
{
	struct pair *p = pairs[c - cases];
	struct victim v;
	struct places at;

	if (!p->warm) {
		p->warm = true;
		return;
	}
	if (now_ns() > too_late && !whole_curve(c) && !p->of[0].first.hist->n)
		return;
	victim_start(&v, bench_space(c), VICTIM_WALKS);
	if (!places_init(&at, v.space))
		panic("no memory for a benchmark");
	for (unsigned i = 0; i < ARRAY_SIZE(thefts); i++)
		if (wanted(c, thefts[i].us))
			thefts_of(p, i, &at, &v);
	victim_stop(&v);
	space_put(v.space);
	bench_settle(c);
}

static void init(struct bench_case *c, const struct bench_case *of, const char *name, const char *unit, unsigned us)
{
	*c = (struct bench_case){ .name = name, .unit = unit, .policy = of->policy, .flush = of->flush, .others = 1,
				  .walkers = 1, .pages = 1, .stolen_us = us };
	if (!bench_case_init(c))
		panic("no memory for a benchmark");
}

static unsigned add_cases(unsigned max)
{
	static const struct bench_case base = { .name = "unmap_stolen", .slice = slice_stolen };
	unsigned n = bench_add_pairs(cases, max, &base);

	for (unsigned k = 0; k < n; k++) {
		pairs[k] = kzalloc(sizeof(**pairs));
		if (!pairs[k])
			panic("no memory for a benchmark");
		for (unsigned i = 0; i < ARRAY_SIZE(thefts); i++) {
			init(&pairs[k]->of[i].first, &cases[k], "unmap_stolen", "ns", thefts[i].us);
			init(&pairs[k]->of[i].longest, &cases[k], "unmap_longest", "ns", thefts[i].us);
			init(&pairs[k]->of[i].held, &cases[k], "pages_held", "pages", thefts[i].us);
			bench_extra(&pairs[k]->of[i].held, "pending_max", pending_max());
		}
	}
	return n;
}

static void end(struct bench_case *c, const struct facts *f, bool report)
{
	if (!report) {
		bench_discard(c);
		return;
	}
	bench_extra(c, "marked", f->marked);
	bench_extra(c, "early", f->early);
	bench_extra(c, "kept", f->kept);
	bench_report(c);
}

static void report(struct bench_case *c)
{
	struct pair *p = pairs[c - cases];
	bool left_out = !whole_curve(c) && !p->of[0].first.hist->n;

	if (left_out)
		log_info("unmap_stolen: %s with %s left out for want of time", c->policy->name, c->flush->name);
	for (unsigned i = 0; i < ARRAY_SIZE(thefts); i++) {
		bool measured = wanted(c, thefts[i].us) && !left_out;

		end(&p->of[i].first, &p->of[i].facts, measured);
		end(&p->of[i].longest, &p->of[i].facts, measured);
		end(&p->of[i].held, &p->of[i].facts, measured);
	}
	bench_discard(c);
}

BENCHMARK(unmap_stolen, 12)
{
	unsigned max = bench_pairs(), n;

	if (nr_cpus == 1 || !thief_works()) {
		log_info("unmap_stolen needs 2 CPUs and steal=thief");
		return;
	}
	cases = kzalloc(max * sizeof(*cases));
	pairs = kzalloc(max * sizeof(*pairs));
	if (cases && pairs) {
		n = add_cases(max);
		too_late = now_ns() + MAX(PATIENCE * budget_ns, LEAST_NS);
		bench_interleave(cases, n, budget_ns, NULL);
		for (unsigned i = 0; i < n; i++) {
			report(&cases[i]);
			kfree(pairs[i]);
		}
	} else {
		log_error("unmap_stolen: no memory for its cases");
	}
	kfree(cases);
	kfree(pairs);
}
