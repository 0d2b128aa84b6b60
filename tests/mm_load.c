// SPDX-License-Identifier: MIT
// The run: spaces, workers on all CPUs, and when there is enough.
#include "kernel/errno.h"
#include "kernel/log.h"
#include "kernel/rcu.h"
#include "kernel/thief.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/oracle.h"
#include "mm/slab.h"
#include "tests/mm_help.h"
#include "tests/mm_load_parts.h"

// Workers 0, 4, 8, … unmap and all others walk, one on each CPU; a single CPU has one of each. On a machine with more CPUs
// than this they wander over all of them, but so many are at work at a time: a shootdown waits for each, and an emulated
// machine gives each its turn.
#define MOST_WORKERS 32u
static bool is_unmapper(unsigned i) { return i % 4 == 0; }
static unsigned unmappers_of(unsigned workers) { return (workers + 3) / 4; }

bool mm_load_evidence(const struct mm_load_result *r)
{
	const struct counters *c = &r->counted;

	return c->walks >= 1000 && c->frees_l1 && c->frees_l2 && c->frees_l3 && r->inside && r->operations > r->inside &&
	       (!CHECK || nr_cpus == 1 || (c->frees_during_walk && c->walks_fast * 10 >= c->walks * 9));
}

// How much is too much without evidence. Counted in work, so that a busy host only makes the load longer. It ends: walkers
// and unmappers wait for nothing but others' walks and operations and for grace periods, so both go on; and each operation
// may unlink the table before which walker 0 lingers. In 1,000 operations some 250 tables of level 3 are freed.
#define MOST_WALKS 100000u
#define MOST_OPERATIONS 1000u
#define MOST_CHANCES 100u	// of an unsafe pair to be convicted

// As much of the result as there is while the workers are at it.
static struct mm_load_result so_far(const struct worker *workers, unsigned n, const struct counters *before)
{
	struct mm_load_result r = { 0 };

	for (unsigned i = 0; i < n; i++) {
		r.operations += READ_ONCE(workers[i].found.operations);
		r.inside += READ_ONCE(workers[i].found.inside);
		r.pins += READ_ONCE(workers[i].found.pins);
	}
	counters_snapshot(&r.counted);
	counters_sub(&r.counted, &r.counted, before);
	if (!CHECK)
		r.counted.walks = r.pins;		// release builds do not count walks
	return r;
}

static bool in_vain(const struct load *l, const struct mm_load_result *r, bool convict)
{
	return r->counted.walks >= MOST_WALKS && r->operations >= MOST_OPERATIONS &&
	       (!convict || READ_ONCE(l->chances) >= MOST_CHANCES);
}

static void wait_for_evidence(const struct load *l, const struct worker *workers, unsigned n, unsigned ms,
			      const struct counters *before, u64 violations_before, struct mm_load_result *r)
{
	bool convict = CHECK && nr_cpus > 1 && !l->safe, enough;
	u64 start = now_ns(), least = convict ? 0 : ms * NSEC_PER_MSEC, passed;
	struct mm_load_result now;

	do {
		thread_sleep_ns(10 * NSEC_PER_MSEC);
		now = so_far(workers, n, before);
		passed = now_ns() - start;
		if (!r->convicted_ns && oracle_violations() != violations_before)
			r->convicted_ns = passed;
		enough = mm_load_evidence(&now) && (!convict || r->convicted_ns);
	} while (passed < least || !(enough || in_vain(l, &now, convict)));
}

static bool build_spaces(struct load *l, struct worker *first, const struct table_policy *p, const struct flush_backend *b)
{
	for (unsigned at = 0; at < l->nr_spaces; at++) {
		l->space[at] = space_create_with(p, b);
		if (!l->space[at])
			return false;
		for (unsigned k = 0; k < GROUPS * SLOTS; k++) {
			struct slot s = slot_of(k / SLOTS, k % SLOTS);

			put_up(first, at, &s);
		}
	}
	return true;
}

// After the n workers one more robs CPUs, if they can be robbed.
static bool start_workers(struct load *l, struct worker *workers, unsigned n, u64 seed, struct mm_load_result *r)
{
	for (unsigned i = 0; i < n; i++) {
		struct worker *w = &workers[i];
		unsigned cpu = n > nr_cpus ? 0 : i * nr_cpus / n;
		bool unmaps = is_unmapper(i);

		*w = (struct worker){ .load = l, .index = i, .home = cpu, .inside = l->nr_spaces,
				      .seed = seed ^ (u64)(i + 1) << 32 };
		if (unmaps)
			w->at = r->unmappers++ % l->nr_spaces;
		else if ((w->lingers = !r->walkers++))
			l->lingerer = cpu;
		w->thread = mm_thread(unmaps ? "unmapper" : "walker", unmaps ? unmapper : walker, w, cpu);
		if (!w->thread)
			return false;
	}
	if (!thief_works())
		return true;
	workers[n] = (struct worker){ .load = l, .index = n, .seed = seed ^ (u64)(n + 1) << 32 };
	workers[n].thread = mm_thread("robber", robber, &workers[n], 0);
	return workers[n].thread;
}

static void join_workers(struct worker *workers, unsigned n, struct mm_load_result *r)
{
	for (unsigned i = 0; i <= n; i++) {
		struct mm_load_result *f = &workers[i].found;

		if (workers[i].thread)
			mm_join(workers[i].thread);
		r->pins += f->pins;
		r->user_reads += f->user_reads;
		r->operations += f->operations;
		r->inside += f->inside;
		r->no_memory += f->no_memory;
		r->reshaped += f->reshaped;
		r->thefts += f->thefts;
		r->bad_pins += f->bad_pins;
		r->lost_writes += f->lost_writes;
		r->bad_reads += f->bad_reads;
		r->errors += f->errors;
	}
}

static void drain(const struct load *l)
{
	if (l->flush->drain)		// first: what waits for a flush has yet to be given to the policy
		l->flush->drain();
	if (l->policy->drain)
		l->policy->drain();
	rcu_barrier();
}

static int run(struct load *l, struct worker *workers, unsigned n, u64 seed, unsigned ms, struct mm_load_result *r)
{
	struct counters before;
	u64 violations = oracle_violations(), start;
	bool ok;

	l->nr_unmappers = unmappers_of(n);
	counters_snapshot(&before);
	start = now_ns();
	ok = start_workers(l, workers, n, seed, r);
	if (ok)
		wait_for_evidence(l, workers, n, ms, &before, violations, r);
	WRITE_ONCE(l->stop, 1);
	join_workers(workers, n, r);
	r->ns = now_ns() - start;
	r->chances = l->chances;
	drain(l);		// what was deferred is part of the run
	counters_snapshot(&r->counted);
	counters_sub(&r->counted, &r->counted, &before);
	r->violations = oracle_violations() - violations;
	return ok ? 0 : -ENOMEM;
}

int run_mm_load(const struct table_policy *policy, const struct flush_backend *flush, u64 seed, unsigned ms,
		struct mm_load_result *r)
{
	// Two at the least: while somebody walks in the one, whom its unmapper waits for, tables of the other are freed.
	struct load l = { .nr_spaces = MIN(MAX((nr_cpus + 3) / 4, 2u), (unsigned)MAX_SPACES), .policy = policy,
			  .flush = flush, .safe = pair_verdict(policy, flush).safe };
	unsigned n = MIN(MAX(nr_cpus, 2u), MOST_WORKERS);
	struct worker *workers = kzalloc((n + 1) * sizeof(*workers)), first = { .load = &l, .seed = seed };
	int err = -ENOMEM;

	*r = (struct mm_load_result){ .spaces = l.nr_spaces };
	if (!workers)
		return err;
	if (!l.safe)
		oracle_expect_violations(true);
	if (build_spaces(&l, &first, policy, flush))
		err = run(&l, workers, n, seed, ms, r);
	for (unsigned at = 0; at < l.nr_spaces; at++)
		if (l.space[at])
			space_put(l.space[at]);
	drain(&l);
	if (!l.safe)
		oracle_expect_violations(false);
	kfree(workers);
	return err;
}

bool mm_load_clean(const struct mm_load_result *r)
{
	return !r->violations && !r->bad_pins && !r->lost_writes && !r->bad_reads && !r->errors;
}

void mm_load_print(const struct mm_load_result *r)
{
	const struct counters *c = &r->counted;

	log_info("%lu ms, %u walkers, %u unmappers, %u spaces: %lu walks (%lu fast, %lu remote), %lu operations "
		 "(%lu from inside); tables freed by level: %lu %lu %lu, %lu during walks, %lu before walker 0; %lu thefts; %lu violations",
		 (u64)(r->ns / NSEC_PER_MSEC), r->walkers, r->unmappers, r->spaces, c->walks, c->walks_fast, c->walks_remote,
		 r->operations, r->inside, c->frees_l1, c->frees_l2, c->frees_l3, c->frees_during_walk, r->chances, r->thefts, r->violations);
	if (r->bad_pins || r->lost_writes || r->bad_reads || r->errors || r->no_memory)
		log_warn("%lu pins of another's page, %lu writes lost under a pin, %lu stale reads, %lu errors, %lu times out "
			 "of memory", r->bad_pins, r->lost_writes, r->bad_reads, r->errors, r->no_memory);
}
