// SPDX-License-Identifier: MIT
// Switching under load: walkers and unmappers run on all CPUs while the whole system switches from one safe pair to the
// next. In each of old, union and new more than 1,000 walks are completed: the switch is held until they are.
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/time.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/policy/switch.h"
#include "mm/walk.h"
#include "tests/mm/help.h"

#if CHECK

#define SPACES 2
#define SLOTS 8			// pages with an L1 table each, two of these under each L2 table
#define WALKS 1000
#define MAX_PAIRS 64
#define MOST_NS (2 * NSEC_PER_SEC)	// for the short run: it ends after the switch under way

struct load {
	struct space *space[SPACES];
	u32 stop;
	struct worker {
		struct load *load;
		struct thread *thread;
		u64 seed;
		u64 pinned;		// walks completed that found the page
		u64 bad;		// … that found another page
		u32 errors;
	} __cacheline worker[NR_CPUS];
	unsigned workers;
	u64 held, fewest;		// phases in which the switch was held; the fewest walks that were completed in one
};

static vaddr_t slot_va(unsigned slot) { return BASE + slot / 2 * level_size(3) + slot % 2 * level_size(2); }

// Even, because no entry of a table that a walker might read instead is.
static u64 stamp(unsigned space, unsigned slot) { return 2 * (space * SLOTS + slot + 1); }

static void put_up(struct worker *w, unsigned space, unsigned slot)
{
	struct space *s = w->load->space[space];
	struct page *page;

	w->errors += space_map(s, slot_va(slot), PAGE_SIZE, RW, 1, MAP_POPULATE) != 0;
	if (walk_pin(s, slot_va(slot), true, &page)) {
		w->errors++;
		return;
	}
	WRITE_ONCE(*(u64 *)page_to_virt(page), stamp(space, slot));
	page_unpin(page, true);
}

// CPU 0 and every fourth one: each slot is unmapped only briefly, so most walks find their page. In one space each, or
// in both.
static int unmapper(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;
	unsigned index = (unsigned)(w - l->worker);

	while (!READ_ONCE(l->stop)) {
		unsigned space = index / 4 % SPACES, slot = (unsigned)(rand_next(&w->seed) % SLOTS);

		if (index >= 4 * SPACES)
			break;		// a slot has one unmapper
		if (l->workers <= 4)
			space = (unsigned)(rand_next(&w->seed) % SPACES);
		w->errors += space_unmap(l->space[space], slot_va(slot), PAGE_SIZE) != 0;
		put_up(w, space, slot);
		if (rand_next(&w->seed) % 4 == 0)	// the space's mutex is not fair: let the switch have it
			thread_sleep_ns(2 * tick_ns());
	}
	return 0;
}

static int walker(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;
	bool inside = (w - l->worker) & 1;	// half of the walkers run in a space

	if (inside)
		space_attach(l->space[0]);
	while (!READ_ONCE(l->stop)) {
		unsigned space = (unsigned)(rand_next(&w->seed) % SPACES), slot = (unsigned)(rand_next(&w->seed) % SLOTS);
		struct page *page;
		u64 seen;

		if (!walk_pin_fast(l->space[space], slot_va(slot), 1, false, &page))
			continue;
		seen = READ_ONCE(*(u64 *)page_to_virt(page));
		w->bad += seen && seen != stamp(space, slot);
		page_unpin(page, false);
		WRITE_ONCE(w->pinned, w->pinned + 1);
	}
	if (inside)
		space_detach();
	return 0;
}

static bool start(struct load *l)
{
	u64 seed = test_seed();

	for (unsigned k = 0; k < SPACES; k++) {
		struct worker first = { .load = l };

		l->space[k] = space_create();
		if (!EXPECT(l->space[k]))
			return false;
		for (unsigned i = 0; i < SLOTS; i++)
			put_up(&first, k, i);
		EXPECT_EQ(first.errors, 0);
	}
	l->workers = nr_cpus;
	l->fewest = ~0ull;
	for (unsigned i = 0; i < nr_cpus; i++) {
		struct worker *w = &l->worker[i];

		w->load = l;
		w->seed = rand_next(&seed);
		w->thread = mm_thread(i % 4 ? "walker" : "unmapper", i % 4 ? walker : unmapper, w, i);
	}
	return true;
}

static void stop(struct load *l)
{
	WRITE_ONCE(l->stop, 1);
	for (unsigned i = 0; i < l->workers; i++) {
		mm_join(l->worker[i].thread);
		EXPECT_EQ(l->worker[i].errors, 0);
		EXPECT_EQ(l->worker[i].bad, 0);
	}
	for (unsigned k = 0; k < SPACES; k++)
		if (l->space[k])
			space_put(l->space[k]);
}

static u64 pinned(struct load *l)
{
	u64 n = 0;

	for (unsigned i = 0; i < l->workers; i++)
		n += READ_ONCE(l->worker[i].pinned);
	return n;
}

static u64 union_walks(void)
{
	struct counters c;

	counters_snapshot(&c);
	return c.walks_union;
}

// Hold the switch until more than WALKS walks have begun and ended from now on; one per walker may have begun before. A
// walk under the union is counted as such before it counts as completed, so that count is read first here and last
// below: the host may deschedule this CPU between the two reads for any time.
static void hold_phase(struct load *l, bool in_union)
{
	u64 both = union_walks(), walks = pinned(l), n;

	do {
		thread_sleep_ns(NSEC_PER_MSEC);
		n = pinned(l) - walks;
	} while (n <= WALKS + l->workers);
	if (in_union)
		EXPECT(union_walks() - both >= n - l->workers);
	l->fewest = MIN(l->fewest, n - l->workers);
	l->held++;
}

static void hold_union(struct stall_point *p, void *load) { hold_phase(load, true); }

static void switch_to(struct load *l, const struct policy_pair *to)
{
	struct stall_point *const phases[] = { stall_point("switch_union"), stall_point("switch_moved") };
	bool walkers = l->space[0]->policy != to->policy;	// otherwise only the back-end changes: there is no union

	hold_phase(l, false);
	for (unsigned i = 0; i < ARRAY_SIZE(phases) && walkers; i++) {
		phases[i]->action = hold_union;
		phases[i]->arg = l;
		stall_arm(phases[i], NULL, 0, 0, 0);
	}
	EXPECT_EQ(policy_switch_all(to->policy, to->backend), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(phases) && walkers; i++) {
		EXPECT_EQ(phases[i]->hits, 1);
		stall_release(phases[i]);
	}
	for (unsigned k = 0; k < SPACES; k++)
		EXPECT(l->space[k]->policy == to->policy && l->space[k]->backend == to->backend);
	hold_phase(l, false);
}

// All safe pairs that are available, policies in turn, so that each switch but one per back-end changes the policy.
static unsigned safe_pairs(struct policy_pair *pairs)
{
	unsigned n = 0;

	FOR_EACH_BACKEND(b)
		FOR_EACH_POLICY(p)
			if (n < MAX_PAIRS && !flush_missing(*b) && pair_verdict(*p, *b).safe)
				pairs[n++] = (struct policy_pair){ *p, *b };
	return n;
}

// One pair for each policy, each with another back-end where there is one.
static unsigned one_pair_each(struct policy_pair *pairs, unsigned n)
{
	unsigned kept = 0;

	FOR_EACH_POLICY(p) {
		unsigned of_p = 0, i;

		for (i = 0; i < n; i++)
			of_p += pairs[i].policy == *p;
		if (!of_p)
			continue;
		for (i = 0, of_p = 1 + kept % of_p; of_p; i++)
			of_p -= pairs[i].policy == *p;
		pairs[n + kept++] = pairs[i - 1];
	}
	memmove(pairs, pairs + n, kept * sizeof(*pairs));
	return kept;
}

static void through_pairs(bool all)
{
	const struct policy_pair start_pair = { policy_default(), flush_default() };
	static struct policy_pair pairs[2 * MAX_PAIRS];
	static struct load l;
	unsigned all_pairs = safe_pairs(pairs), n = all ? all_pairs : one_pair_each(pairs, all_pairs);
	u64 violations = oracle_violations(), begun = now_ns();
	struct mm_balance b;

	mm_balance_begin(&b);
	l = (struct load){ 0 };
	if (start(&l)) {
		for (unsigned i = 0; i < n && !test_failed() && (all || now_ns() - begun < MOST_NS); i++)
			switch_to(&l, &pairs[i]);
		switch_to(&l, &pairs[0]);
	}
	stop(&l);
	EXPECT_EQ(policy_switch_all(start_pair.policy, start_pair.backend), 0);
	mm_balance_end(&b);
	EXPECT_EQ(oracle_violations() - violations, 0);
	EXPECT(l.fewest > WALKS);
	log_info("%u safe pairs: %lu phases with %lu walks or more in each, %lu ms", n, l.held, l.fewest,
		 (u64)((now_ns() - begun) / NSEC_PER_MSEC));
}

TEST(switch_load, policy_by_policy, NEEDS_CPUS2 | NEEDS_SLOW_OK) { through_pairs(false); }

TEST(switch_load, all_safe_pairs, NEEDS_CPUS2)
{
	if (!opt_seconds)
		SKIP("takes longer: runs where seconds= is given");
	through_pairs(true);
}
#endif
