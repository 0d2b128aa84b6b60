// SPDX-License-Identifier: MIT
// mode=torture: rounds of a few seconds, each in a world of its own (torture.h) that is torn down and balanced at its
// end. The same seed gives each worker the same stream of random numbers; how the workers interleave is up to the
// machine, and so is each decision that depends on what a worker finds.
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/mode.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "kernel/time.h"
#include "lab/counter.h"
#include "lab/oracle.h"
#include "lab/swmmu.h"
#include "lab/thief.h"
#include "mm/pending.h"
#include "tests/mm/help.h"
#include "tests/torture/torture.h"

#define ROUND_NS (5 * NSEC_PER_SEC)
#define LEAST_ROUND_NS NSEC_PER_SEC
#define MOST_ROUNDS 30		// in all, if there is no evidence yet when `seconds=` are over
#define FIRST_ROUND_NS (100 * NSEC_PER_MSEC)
#define MOST_VIOLATIONS 20	// there is nothing more to learn then

static struct {
	u64 start_ns, violated_ns;
	u64 oracle;			// its count at the start
	u64 rounds, faults, operations, injected, thefts, changes, delays, trapped;
	s64 frames_leaked;
	u64 unbalanced;			// rounds after which something was missing or left over
	struct counters counted;	// at the start
	struct beat beat;
} run;

// ---- Sums -----------------------------------------------------------------------------------------------------------

#define SUM_OVER_WORKERS(field) ({ \
	u64 _n = 0; \
	for (unsigned _i = 0; _i < world.nr_workers; _i++) \
		_n += READ_ONCE(world.worker[_i].field); \
	_n; })

u64 torture_operations(void) { return run.operations + SUM_OVER_WORKERS(beat.done); }
u64 torture_injected(void) { return run.injected + SUM_OVER_WORKERS(injected); }
u64 torture_thefts(void) { return run.thefts + READ_ONCE(world.thefts); }
u64 torture_switches(void) { return run.changes + READ_ONCE(world.changes); }
u64 torture_violations(void) { return oracle_violations() - run.oracle + run.faults + torture_faults(); }

void torture_counters(struct counters *c)
{
	counters_snapshot(c);
	counters_sub(c, c, &run.counted);
}

static bool violated(void)
{
	u64 n = torture_violations();

	if (n && !run.violated_ns)
		run.violated_ns = now_ns() - run.start_ns;
	return n > MOST_VIOLATIONS;
}

static void add_up(void)
{
	run.rounds++;
	run.operations += SUM_OVER_WORKERS(beat.done);
	run.injected += SUM_OVER_WORKERS(injected);
	run.thefts += world.thefts;
	run.changes += world.changes;
	run.delays += world.delays;
	run.trapped += world.trapped;
	run.faults += torture_faults();
	memset(world.fault, 0, sizeof(world.fault));
	memset(world.worker, 0, sizeof(world.worker));
	world.thefts = world.changes = world.delays = world.trapped = 0;
}

// ---- Workers --------------------------------------------------------------------------------------------------------

static void next(struct worker *w, const char *what) { beat(&w->beat, what); }

static void change_something(struct worker *w, const struct ref *r)
{
	bool injected = inject_begin(w);

	if (RANDOM(w, 48)) {
		next(w, "an operation on shared addresses");
		shared_operation(w, r);
	} else {
		next(w, "a space's end and another one's beginning");
		world_renew(w, RANDOM(w, world.nr_slots));
	}
	if (injected)
		inject_end(w);
	if (!RANDOM(w, 8) && pending_in_use() > (s64)pending_max())	// it may read too low, but never too high
		torture_fault(FAULT_over_bound, r, 0, (u64)pending_in_use());
}

static void operate(struct worker *w, const struct ref *r)
{
	bool bait = READ_ONCE(world.bait_slot) == r->slot + 1 && r->space;
	unsigned what = bait ? RANDOM(w, 160) : RANDOM(w, 256);

	if (bait && !RANDOM(w, 4)) {
		next(w, "an operation where a trap is");
		take_bait(w, r);
	} else if (what < 150 && r->space) {
		next(w, "walks");
		walk_somewhere(w, r);
	} else if (what < 174 && w->attached.space) {
		next(w, "user accesses");
		touch_somewhere(w);
	} else if (what < 222 && r->space) {
		change_something(w, r);
	} else if (what < 228 && r->space) {
		next(w, "a scene on a strip");
		play_strip(w, r);
	} else if (what < 234 && r->space) {
		next(w, "a scene on a block");
		play_block(w, r);
	} else if (what < 242) {
		next(w, "a change of the space that it runs in");
		attach_somewhere(w);
	} else if (what < 248) {
		next(w, "RCU");
		rcu_load(w);
	} else {
		next(w, "wandering");
		wander_off(w);
	}
}

static int work(void *arg)
{
	struct worker *w = arg;

	while (!stopping()) {
		unsigned bait = READ_ONCE(world.bait_slot);
		bool own = w->attached.space && RANDOM(w, 4) && !bait;
		struct ref r = own ? w->attached : world_take(bait ? bait - 1 : RANDOM(w, world.nr_slots));

		operate(w, &r);
		if (!own)
			world_drop(&r);
		hang_now(w);
	}
	for (unsigned i = 0; i < HELD_PINS; i++)
		if (w->held[i].page)
			release_pin(&w->held[i], w);
	if (w->attached.space) {
		space_detach();
		world_drop(&w->attached);
	}
	return 0;
}

// ---- A round --------------------------------------------------------------------------------------------------------

static int live(void *arg)
{
	struct worker *w = arg;

	w->fn(w);
	store_release(&w->beat.over, 1u);	// from here on nobody expects anything of it: pairs with join_all()
	return 0;
}

static bool start(unsigned k, const char *name, int (*fn)(void *), u64 seed)
{
	struct worker *w = &world.worker[k];

	w->index = k;
	w->home = k * MAX(1u, nr_cpus / world.nr_workers) % nr_cpus;		// spread over all CPUs
	w->seed = seed ^ (u64)(k + 1) << 32;
	w->beat.doing = "its start";
	w->fn = fn;
	w->beat.thread = mm_thread(name, live, w, w->home);
	if (w->beat.thread)
		watch_add(&w->beat);
	return w->beat.thread;
}

static bool start_all(u64 seed)
{
	unsigned n = world.nr_workers;

	for (unsigned i = 0; i < n; i++)
		if (!start(i, "worker", work, seed))
			return false;
	return (!thief_works() || start(n, "robber", rob_cpus, seed)) &&
	       (!world.switches || start(n + 1, "switcher", switch_pairs, seed)) &&
	       (!CHECK || start(n + 2, "delayer", delay_steps, seed));
}

static void run_for(u64 ns)
{
	u64 end = now_ns() + ns;

	while (now_ns() < end && !violated()) {
		beat(&run.beat, "waiting for the end of the round");
		thread_sleep_ns(20 * NSEC_PER_MSEC);
	}
}

static void join_all(void)
{
	WRITE_ONCE(world.stop, 1);
	for (unsigned i = 0; i < world.nr_workers + TROUBLEMAKERS; i++) {
		struct beat *b = &world.worker[i].beat;

		beat(&run.beat, "waiting for the threads' end");
		while (b->thread && !load_acquire(&b->over))
			thread_sleep_ns(NSEC_PER_MSEC);
	}
	watch_clear();		// now none of them is looked at any more
	for (unsigned i = 0; i < world.nr_workers + TROUBLEMAKERS; i++)
		if (world.worker[i].beat.thread)
			mm_join(world.worker[i].beat.thread);
}

// Whatever a run allocates and keeps, it allocates in a first, short round, which is not balanced.
struct balance {
	u64 frames, spaces, threads, tables;
};

static struct balance balance(void)
{
	struct counters c;
	struct balance b = { .frames = mm_settled_frames(), .spaces = space_count(), .threads = thread_count() };

	counters_snapshot(&c);
	b.tables = c.tables_allocated - c.tables_freed;
	return b;
}

static void check_balance(const struct balance *before)
{
	struct balance after = balance();
	s64 leaked = (s64)(before->frames - after.frames);

	run.frames_leaked += leaked;
	if (leaked || before->spaces != after.spaces || before->threads != after.threads || before->tables != after.tables ||
	    pending_in_use() || !page_check()) {
		run.unbalanced++;
		log_error("torture: leaked: %lld frames, %lld spaces, %lld threads, %lld tables, %lld credits", (long long)leaked,
			  (long long)(after.spaces - before->spaces), (long long)(after.threads - before->threads),
			  (long long)(after.tables - before->tables), (long long)pending_in_use());
	}
}

static bool play_round(u64 seed, u64 ns)
{
	u64 state = seed, max = pending_max();
	bool pressed = rand_next(&state) % 3 == 0, weakest = rand_next(&state) % 2, ok;

	if (pressed)
		pending_set_max(MIN(max, 64 + rand_next(&state) % 128));
	if (CHECK)
		swmmu_set_mode(weakest ? SWMMU_WEAKEST : SWMMU_X86);
	world.switches = !pair_named();
	world.nr_workers = MIN(nr_cpus + MIN(nr_cpus, MORE_WORKERS), MOST_WORKERS);
	world.stop = 0;
	ok = world_create(seed) && start_all(seed);
	if (ok)
		run_for(ns);
	join_all();
	beat(&run.beat, "taking the world down");
	world_destroy();
	rcu_load_end();
	if (pressed)
		pending_set_max(max);
	if (CHECK)
		swmmu_set_mode(SWMMU_X86);
	add_up();
	return ok;
}

static bool balanced_round(u64 seed, u64 ns)
{
	struct balance before = balance();
	bool ok = play_round(seed, ns);

	check_balance(&before);
	violated();
	return ok;
}

// ---- The run --------------------------------------------------------------------------------------------------------

// Has everything happened that a clean run must have seen?
static bool evidence(const struct counters *c)
{
	bool keeps = pair_named() && policy_default()->keeps;	// then spaces have ended, too: each round's do

	return run.operations && c->walks_fast && c->frees_l1 && c->frees_l2 && c->frees_l3 &&
	       (!keeps || (CHECK ? c->emptied_during_walk : c->tables_emptied));
}

static bool more_rounds(u64 now, u64 end)
{
	struct counters c;

	if (now + LEAST_ROUND_NS < end || run.rounds < 2)
		return true;
	torture_counters(&c);
	return !evidence(&c) && run.rounds < MOST_ROUNDS;
}

static int verdict(bool ok, unsigned seconds)
{
	struct counters c;
	char pair[80] = "";
	u64 violations = torture_violations();

	torture_counters(&c);
	if (violations)
		kprintf("# torture: violated, the first time after %llu ms\n",
			(unsigned long long)(run.violated_ns / NSEC_PER_MSEC));
	if (pair_named())
		ksnprintf(pair, sizeof(pair), " table_free=%s tlb_flush=%s", policy_default()->name, flush_default()->name);
	kprintf("# torture: %llu violations, %llu rounds, %llu operations, %llu walks, %llu delays, %llu of them in traps, "
		"%llu unbalanced rounds, %lld frames leaked\n", (unsigned long long)violations, (unsigned long long)run.rounds,
		(unsigned long long)run.operations, (unsigned long long)c.walks, (unsigned long long)(run.delays + run.trapped),
		(unsigned long long)run.trapped,
		(unsigned long long)run.unbalanced, (long long)run.frames_leaked);
	kprintf("# torture: repeat with SMP=%u CMDLINE=\"mode=torture seconds=%u seed=%llu pending_max=%llu%s\"\n",
		nr_cpus, seconds, (unsigned long long)opt_seed, (unsigned long long)pending_max(), pair);
	if (violations || run.unbalanced || warn_count())
		return EXIT_TESTS_FAILED;
	if (!ok || !evidence(&c)) {
		kprintf("# torture: inconclusive: %s\n", ok ? "no tables of some level were freed, none was kept that should be, or no walk was made" :
			"no memory for a round");
		return EXIT_INCONCLUSIVE;
	}
	return EXIT_OK;
}

static int torture(void)
{
	unsigned seconds = mode_seconds(60);
	u64 state = opt_seed, end;
	bool ok;

	pairs_print_all();
	if (pair_named() && !pair_verdict(policy_default(), flush_default()).safe)
		return torture_unsafe(seconds);
	run.beat = (struct beat){ .doing = "its start", .thread = current };
	watch_start(&run.beat);
	run.oracle = oracle_violations();
	run.start_ns = now_ns();
	counters_snapshot(&run.counted);
	end = run.start_ns + seconds * NSEC_PER_SEC;
	ok = play_round(opt_seed, FIRST_ROUND_NS);
	for (u64 now = run.start_ns; ok && !violated() && more_rounds(now, end); now = now_ns())
		ok = balanced_round(rand_next(&state), now < end ? MIN(end - now, ROUND_NS) : LEAST_ROUND_NS);
	watch_print();
	watch_stop();
	return verdict(ok, seconds);
}
MODE(torture, torture);
