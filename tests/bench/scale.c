// SPDX-License-Identifier: MIT
// How costs grow with the number of CPUs at work. The operation maps a page, touches it and unmaps it, with tables of
// three levels.
//
//   scale_disjoint  each CPU in a space of its own: nothing is shared, and so nothing should grow
//   scale_shared    all CPUs in one space, each in a part of its own: the space's lock, and a shootdown to all the others
//   scale_walkers   one CPU does it, the others walk neighbouring pages in the same space, each its own
//   scale_walk      those walks
//
// The distribution is that of the first CPU (for scale_walk: of the second). ops_per_sec is the sum over all of them;
// its time lasts until every deferred free is done.
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "mm/frame/slab.h"
#include "mm/walk.h"
#include "tests/bench/load.h"
#include "tests/bench/team.h"
#include <arch/uaccess.h>

#define SLICE_NS (40 * NSEC_PER_MSEC)
#define MOST_SIZES 16
#define PATIENCE 3			// times the budget, before cases are left out
#define LEAST_NS (20 * NSEC_PER_SEC)
#define LEVEL4 39			// each part is alone in its 512 GiB, so that its tables are its own
#define WALKED 0x200000000000ull	// of scale_walkers, in one L1 table; BESIDE: another under the same L2 table
_Static_assert(NR_CPUS <= 512, "one L1 table");
#define BESIDE 0x200000200000ull

static struct team team;
static struct space *spaces[NR_CPUS];	// each member's
static struct bench_case *walks;	// scale_walk: of the case of scale_walkers with the same index
static struct bench_case *cases;
static u64 too_late;			// now_ns() after which no case is begun: many CPUs on few cores take long

static vaddr_t part_of(unsigned me) { return (vaddr_t)(1 + me) << LEVEL4; }

// False: no memory, because too much waits to be freed.
static bool map_touch_unmap(struct space *s, vaddr_t va)
{
	bool touched = !space_map(s, va, PAGE_SIZE, PROT_R | PROT_W, 1, 0) && !arch_user_write64(va, 1);

	space_unmap(s, va, PAGE_SIZE);
	if (!touched)
		rcu_barrier();		// its time counts against the policy
	return touched;
}

static u64 churn_part(struct space *s, vaddr_t va, struct bench_case *c)
{
	u64 ops = 0;

	do {
		u64 t = cycles();

		if (!map_touch_unmap(s, va))
			continue;
		if (c)
			bench_record(c, cycles() - t);
		ops++;
	} while (!team_over(&team));
	return ops;
}

static u64 work_apart(struct team *t, unsigned me) { return churn_part(spaces[me], part_of(me), me ? NULL : t->c); }

static u64 walk_all_the_time(struct space *s, vaddr_t va, struct bench_case *c)
{
	struct page *page;
	u64 ops = 0;

	do {
		u64 t = cycles();

		if (WARN_ON(walk_pin(s, va, true, &page)))
			break;
		if (c)
			bench_record(c, cycles() - t);
		page_unpin(page, false);
		ops++;
	} while (!team_over(&team));
	return ops;
}

static u64 work_or_walk(struct team *t, unsigned me)
{
	if (!me)
		return churn_part(spaces[0], BESIDE, t->c);
	return walk_all_the_time(spaces[0], WALKED + me * PAGE_SIZE, me == 1 ? &walks[t->c - cases] : NULL);
}

// Would this be the case's first slice, after the time has been used up several times over?
static bool give_up(const struct bench_case *c) { return !c->hist->n && now_ns() > too_late; }

// bench_record() has counted the operations of one member only; c->ops becomes that of the first `counted` members.
static void measure(struct bench_case *c, u64 (*work)(struct team *, unsigned), unsigned counted)
{
	u64 ops = c->ops, start;

	team.n = c->others + 1;
	team.c = c;
	team.work = work;
	team.spaces = spaces;
	bench_count_from_here(c);
	start = team_run(&team, SLICE_NS);
	bench_settle(c);
	bench_count_to_here(c);
	if (start) {
		c->ops = ops + team_ops(&team, 0, counted);
		c->busy_ns += now_ns() - start;
	}
	team_join(&team);
}

static void slice_disjoint(struct bench_case *c)
{
	if (give_up(c))
		return;
	for (unsigned i = 0; i <= c->others; i++) {
		spaces[i] = space_create_with(c->policy, c->flush);
		BUG_ON(!spaces[i]);
	}
	measure(c, work_apart, c->others + 1);
	for (unsigned i = 0; i <= c->others; i++)
		space_put(spaces[i]);
	bench_settle(c);
}

static struct space *shared_space(const struct bench_case *c)
{
	struct space *s = space_create_with(c->policy, c->flush);

	BUG_ON(!s);
	for (unsigned i = 0; i <= c->others; i++)
		spaces[i] = s;
	return s;
}

static void slice_shared(struct bench_case *c)
{
	struct space *s;

	if (give_up(c))
		return;
	s = shared_space(c);
	measure(c, work_apart, c->others + 1);
	space_put(s);
	bench_settle(c);
}

static void slice_walkers(struct bench_case *c)
{
	struct bench_case *w = &walks[c - cases];
	struct space *s;
	u64 ops, busy_ns;

	if (give_up(c))
		return;
	s = shared_space(c);
	if (!c->busy_ns)
		bench_reset(w);			// the slice before was the warm-up
	ops = w->ops;
	busy_ns = c->busy_ns;
	if (map_patiently(s, WALKED, (c->others + 1) * PAGE_SIZE, 1))
		panic("no memory for a benchmark");
	measure(c, work_or_walk, 1);
	w->ops = ops + team_ops(&team, 1, team.n);
	w->busy_ns += c->busy_ns - busy_ns;
	space_put(s);
	bench_settle(c);
}

// The numbers of CPUs, less this one: every number on up to 8 CPUs, otherwise the powers of two and all CPUs.
static unsigned sizes(unsigned *others)
{
	unsigned n = 0;

	for (unsigned k = 1; k <= nr_cpus && n < MOST_SIZES; k++)
		if (nr_cpus <= 8 || !(k & (k - 1)) || k == nr_cpus)
			others[n++] = k - 1;
	return n;
}

static unsigned add_cases(struct bench_case *to, unsigned max, const struct bench_case *base, bool walkers)
{
	unsigned others[MOST_SIZES], nr_sizes = sizes(others), n = 0;

	for (unsigned i = 0; i < nr_sizes; i++) {
		struct bench_case c = *base;

		c.others = others[i];
		c.walkers = walkers ? others[i] : 0;
		n += bench_add_policies(to + n, max - n, &c);
	}
	return n;
}

// False: there was no time for it, or nobody walks.
static bool report(struct bench_case *c)
{
	bool measured = c->hist->n;

	if (measured)
		bench_report(c);
	else
		bench_discard(c);
	return measured;
}

static void run(const struct bench_case *base, const struct bench_case *beside, u64 budget_ns)
{
	unsigned max = MOST_SIZES * bench_policies(), n, left_out = 0;

	cases = kzalloc(max * sizeof(*cases));
	walks = kzalloc(max * sizeof(*walks));
	if (cases && walks) {
		n = add_cases(cases, max, base, beside);
		if (beside && add_cases(walks, max, beside, true) != n)
			panic("no memory for a benchmark");
		too_late = now_ns() + MAX(PATIENCE * budget_ns, LEAST_NS);
		bench_interleave(cases, n, budget_ns, NULL);
		for (unsigned i = 0; i < n; i++) {
			left_out += !report(&cases[i]);
			if (beside)
				report(&walks[i]);
		}
		if (left_out)
			log_info("%s: %u of %u cases left out for want of time", base->name, left_out, n);
	} else {
		log_error("%s: no memory for its cases", base->name);
	}
	kfree(cases);
	kfree(walks);
}

BENCHMARK(scale_disjoint, 5)
{
	static const struct bench_case base = { .name = "scale_disjoint", .pages = 1, .slice = slice_disjoint };

	run(&base, NULL, budget_ns);
}

BENCHMARK(scale_shared, 5)
{
	static const struct bench_case base = { .name = "scale_shared", .pages = 1, .slice = slice_shared };

	run(&base, NULL, budget_ns);
}

BENCHMARK(scale_walkers, 5)
{
	static const struct bench_case base = { .name = "scale_walkers", .pages = 1, .slice = slice_walkers };
	static const struct bench_case walk = { .name = "scale_walk", .pages = 1 };

	run(&base, &walk, budget_ns);
}
