// SPDX-License-Identifier: MIT
// The run: it builds the spaces, starts workers on all CPUs, and decides when there is enough evidence.
#include "kernel/errno.h"
#include "kernel/log.h"
#include "kernel/rcu/rcu.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/oracle.h"
#include "lab/stall.h"
#include "lab/swmmu.h"
#include "lab/thief.h"
#include "mm/frame/slab.h"
#include "tests/load/parts.h"
#include "tests/mm/help.h"

// Workers 0, 4, 8, … unmap and all others walk. There is one on each CPU and one more, so that four CPUs have two
// unmappers. On a machine with more CPUs than MOST_WORKERS they wander over all of them, but only so many work at a
// time, because a shootdown waits for each and an emulator runs one after the other.
#define MOST_WORKERS 32u
static bool is_unmapper(unsigned i) { return i % 4 == 0; }
static unsigned unmappers_of(unsigned workers) { return (workers + 3) / 4; }

// Tables of each level were freed. A policy that keeps tables frees them when their space ends, after the workers' end;
// before that it has kept tables that were emptied.
static bool tables_had_their_turn(const struct mm_load_result *r)
{
	const struct counters *c = &r->counted;
	bool freed = c->frees_l1 && c->frees_l2 && c->frees_l3;

	return r->keeps ? c->tables_emptied && (freed || !r->spaces_ended) : freed;
}

bool mm_load_evidence(const struct mm_load_result *r)
{
	const struct counters *c = &r->counted;
	u64 during_walks = r->keeps ? c->emptied_during_walk : c->frees_during_walk;

	return c->walks >= 1000 && tables_had_their_turn(r) && r->inside && r->operations > r->inside &&
	       r->interrupt_walks && r->nmi_walks &&
	       (!CHECK || nr_cpus == 1 || (during_walks && c->walks_fast * 10 >= c->walks * 9));
}

// After so much work without evidence the load gives up. This is counted in work, so that a busy host only makes the
// load longer. The load does end: walkers and unmappers wait only for others' walks and operations and for grace
// periods, so both go on; and each operation may unlink the table before which walker 0 lingers. In 1,000 operations
// some 250 tables of level 3 are freed.
#define MOST_WALKS 100000u
#define MOST_OPERATIONS 1000u
#define MOST_CHANCES 100u	// of an unsafe pair to be convicted
#define LAST_CHANGES 6u
#define LAST_NS (10 * NSEC_PER_MSEC)	// in which somebody should linger once more
#define PASSAGES_PER_DELAY 512u

// What the run's counters say.
static void count_up(const struct load *l, struct mm_load_result *r)
{
	counters_snapshot(&r->counted);
	counters_sub(&r->counted, &r->counted, &l->before);
	r->violations = oracle_violations() - l->violations_before;
}

// The result so far, while the workers run.
static struct mm_load_result so_far(const struct load *l, const struct worker *workers, unsigned n)
{
	struct mm_load_result r = { .keeps = l->policy->keeps };

	for (unsigned i = 0; i < n; i++) {
		r.operations += READ_ONCE(workers[i].found.operations);
		r.inside += READ_ONCE(workers[i].found.inside);
		r.pins += READ_ONCE(workers[i].found.pins);
	}
	interrupts_so_far(&r);
	count_up(l, &r);
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
			      struct mm_load_result *r)
{
	bool convict = CHECK && nr_cpus > 1 && !l->safe, enough;
	u64 start = now_ns(), least = convict ? 0 : ms * NSEC_PER_MSEC, passed;
	struct mm_load_result now;

	do {
		thread_sleep_ns(10 * NSEC_PER_MSEC);
		now = so_far(l, workers, n);
		passed = now_ns() - start;
		if (!r->convicted_ns && now.violations)
			r->convicted_ns = passed;
		enough = mm_load_evidence(&now) && (!convict || r->convicted_ns);
	} while (passed < least || !(enough || in_vain(l, &now, convict)));
}

static bool build_spaces(struct load *l, struct worker *first, const struct table_policy *p, const struct flush_backend *b)
{
	for (unsigned at = 0; at < l->nr_spaces; at++) {
		l->space[at] = space_create_with(p, b);
		if (!l->space[at] || space_map(l->space[at], STILL_VA, PAGE_SIZE, PROT_R | PROT_W, 1, MAP_POPULATE))
			return false;
		stamp_elsewhere(l, at, STILL_VA);
		for (unsigned k = 0; k < GROUPS * SLOTS; k++) {
			struct slot s = slot_of(k / SLOTS, k % SLOTS);

			put_up(first, at, &s);
		}
	}
	return true;
}

static bool start_one_more(struct load *l, struct worker *w, unsigned index, u64 seed, const char *name, int (*fn)(void *))
{
	*w = (struct worker){ .load = l, .index = index, .seed = seed ^ (u64)(index + 1) << 32 };
	w->thread = mm_thread(name, fn, w, 0);
	return w->thread;
}

// Workers are spread evenly, and rounded: the CPU that has two of them is one in the middle, and the CPU of walker 0
// (worker 1) has no unmapper. Otherwise the unmapper that walker 0 waits for, with interrupts off, could not run.
static unsigned home_of(unsigned worker, unsigned n) { return (worker * nr_cpus + (n - 1) / 2) / n; }

// After the n workers come one that interrupts CPUs and, if the thief works, one that preempts them.
#define ONE_MORE 2
static bool start_workers(struct load *l, struct worker *workers, unsigned n, u64 seed, struct mm_load_result *r)
{
	interrupts_begin(l, n + ONE_MORE, seed);
	linger_begin(l);
	for (unsigned i = 0; i < n; i++) {
		struct worker *w = &workers[i];
		unsigned cpu = home_of(i, n);
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
	return start_one_more(l, &workers[n], n, seed, "interrupter", interrupter) &&
	       (!thief_works() || start_one_more(l, &workers[n + 1], n + 1, seed, "robber", robber));
}

void mm_load_add(struct mm_load_result *sum, const struct mm_load_result *part)
{
	sum->pins += part->pins;
	sum->user_reads += part->user_reads;
	sum->operations += part->operations;
	sum->inside += part->inside;
	sum->no_memory += part->no_memory;
	sum->starved += part->starved;
	sum->interrupt_walks += part->interrupt_walks;
	sum->reshaped += part->reshaped;
	sum->thefts += part->thefts;
	sum->bad_pins += part->bad_pins;
	sum->lost_writes += part->lost_writes;
	sum->bad_reads += part->bad_reads;
	sum->errors += part->errors;
}

static void join_workers(struct worker *workers, unsigned n, bool (*which)(unsigned i))
{
	for (unsigned i = 0; i < n; i++) {
		if (!workers[i].thread || !which(i))
			continue;
		mm_join(workers[i].thread);
		workers[i].thread = NULL;
	}
}

static bool anybody(unsigned i) { return true; }

// Tables that this run has unlinked, which are neither FREE nor kept. (tables_waiting() counts since boot, and
// tests give it tables that were never linked.)
static u64 tables_left(const struct load *l)
{
	struct counters c;
	u64 done;

	counters_snapshot(&c);
	counters_sub(&c, &c, &l->before);
	done = c.tables_freed + c.tables_kept;
	return c.tables_unlinked > done ? c.tables_unlinked - done : 0;
}

static bool waits_for_tables(const struct load *l)
{
	return load_acquire(&l->lingering) && bait_of(READ_ONCE(l->bait)).kind == BAIT_TABLES;	// pairs with walker 0's store
}

// The last changes of the run, each in the middle of a walk if one comes in time. No later free takes along the tables
// that they leave waiting, so those must become FREE by themselves. Where no table ever waits there is nothing to
// check.
static int change_last(void *load)
{
	struct load *l = load;

	for (unsigned i = 0; l->policy->drain && i < LAST_CHANGES && !tables_left(l); i++) {
		u64 end = now_ns() + LAST_NS;
		unsigned there;

		while (!waits_for_tables(l) && now_ns() < end) {
			if (READ_ONCE(l->planned))
				WRITE_ONCE(l->stands_by, 1);	// in place of the unmappers
			thread_yield();
		}
		there = READ_ONCE(l->lingering);
		space_unmap(l->space[there ? there - 1 : 0], group_base(bait_of(READ_ONCE(l->bait)).g), level_size(4));
	}
	return 0;
}

// Unlinked tables must become FREE by themselves, after a flush and a grace period or two, although nobody frees any
// more.
static u64 count_stuck(const struct load *l)
{
	if (l->flush->drain)
		l->flush->drain();
	for (unsigned i = 0; i < 3; i++)
		rcu_barrier();
	return tables_left(l);
}

static void drain(const struct load *l)
{
	if (l->flush->drain)		// first: what waits for its flush has not reached the policy yet
		l->flush->drain();
	if (l->policy->drain)
		l->policy->drain();
	rcu_barrier();
}

static u64 delays_so_far(void) { return CHECK ? stall_lingered() : 0; }

static void make_trouble(bool on)
{
	if (!CHECK)
		return;
	stall_linger(on ? PASSAGES_PER_DELAY : 0);
	swmmu_set_mode(on ? SWMMU_WEAKEST : SWMMU_X86);		// caches all that mode x86 does
}

static void stop_workers(struct load *l, struct worker *workers, unsigned n, struct mm_load_result *r)
{
	WRITE_ONCE(l->stop, 1);
	join_workers(workers, n, is_unmapper);
	mm_join(mm_thread("last", change_last, l, (l->lingerer + 1) % nr_cpus));	// not on walker 0's CPU
	WRITE_ONCE(l->stop, 2);
	join_workers(workers, n + ONE_MORE, anybody);
	for (unsigned i = 0; i < n + ONE_MORE; i++)
		mm_load_add(r, &workers[i].found);
	interrupts_add(r);
}

static int run(struct load *l, struct worker *workers, unsigned n, u64 seed, unsigned ms, struct mm_load_result *r)
{
	u64 start;
	bool ok;

	l->nr_unmappers = unmappers_of(n);
	l->violations_before = oracle_violations();
	counters_snapshot(&l->before);
	start = now_ns();
	make_trouble(true);
	r->delays = -delays_so_far();
	ok = start_workers(l, workers, n, seed, r);
	if (ok)
		wait_for_evidence(l, workers, n, ms, r);
	stop_workers(l, workers, n, r);
	r->delays += delays_so_far();
	make_trouble(false);
	r->ns = now_ns() - start;
	r->chances = l->chances;
	r->stuck = count_stuck(l);
	drain(l);		// what was deferred is part of the run
	count_up(l, r);
	return ok ? 0 : -ENOMEM;
}

int run_mm_load(const struct table_policy *policy, const struct flush_backend *flush, u64 seed, unsigned ms,
		struct mm_load_result *r)
{
	// At least two: while the unmapper of one waits for a walker in it, tables of the other are freed.
	struct load l = { .nr_spaces = MIN(MAX((nr_cpus + 3) / 4, 2u), (unsigned)MAX_SPACES), .policy = policy,
			  .flush = flush, .safe = pair_verdict(policy, flush).safe };
	unsigned n = MIN(nr_cpus + 1, MOST_WORKERS);
	struct worker *workers = kzalloc((n + ONE_MORE) * sizeof(*workers)), first = { .load = &l, .index = n, .seed = seed };
	int err = -ENOMEM;

	*r = (struct mm_load_result){ .spaces = l.nr_spaces, .keeps = policy->keeps };
	l.lives = lives_alloc(l.nr_spaces);
	if (!workers || !l.lives) {
		kfree(workers);
		kfree(l.lives);
		return err;
	}
	if (!l.safe)
		oracle_expect_violations(true);
	if (build_spaces(&l, &first, policy, flush))
		err = run(&l, workers, n, seed, ms, r);
	for (unsigned at = 0; at < l.nr_spaces; at++)
		if (l.space[at])
			space_put(l.space[at]);
	drain(&l);
	r->spaces_ended = true;
	if (policy->keeps && !err)	// the ends of its spaces are part of the run
		count_up(&l, r);
	if (!l.safe)
		oracle_expect_violations(false);
	kfree(workers);
	kfree(l.lives);
	return err;
}

bool mm_load_clean(const struct mm_load_result *r)
{
	return !r->violations && !r->bad_pins && !r->lost_writes && !r->bad_reads && !r->errors && !r->stuck;
}

void mm_load_print(const struct mm_load_result *r)
{
	const struct counters *c = &r->counted;

	log_info("%lu ms, %u walkers, %u unmappers, %u spaces: %lu walks (%lu fast, %lu remote), %lu operations "
		 "(%lu from inside, %lu without memory, %lu reshaped); tables freed by level: %lu %lu %lu, %lu during walks, %lu emptied and kept, %lu during walks, %lu before "
		 "walker 0; %lu walks in interrupts, %lu in NMIs; %lu delays, %lu thefts; %lu violations",
		 (u64)(r->ns / NSEC_PER_MSEC), r->walkers, r->unmappers, r->spaces, c->walks, c->walks_fast, c->walks_remote,
		 r->operations, r->inside, r->starved, r->reshaped, c->frees_l1, c->frees_l2, c->frees_l3, c->frees_during_walk,
		 c->tables_emptied, c->emptied_during_walk, r->chances, r->interrupt_walks, r->nmi_walks, r->delays, r->thefts, r->violations);
	if (r->bad_pins || r->lost_writes || r->bad_reads || r->errors || r->no_memory || r->stuck)
		log_warn("%lu pins of another's page, %lu writes lost under a pin, %lu stale reads, %lu errors, %lu times out "
			 "of memory, %lu tables that nobody frees", r->bad_pins, r->lost_writes, r->bad_reads, r->errors,
			 r->no_memory, r->stuck);
}
