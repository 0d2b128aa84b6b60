// SPDX-License-Identifier: MIT
// What unmapping on another CPU costs a CPU that has no part in it. The bystander reads its clock in a tight loop with
// interrupts on; a step that takes too long is a gap, in which the CPU did something else. There are three bystanders:
// one runs in the space, one holds it in lazy TLB mode, one runs in another space. Each is also measured while nobody
// unmaps (policy "-"), which shows what the tick takes.
//
// The host preempts the CPU, too. A gap without an interrupt is the host's doing and is counted separately; a gap with
// an interrupt may include some of it. So the benchmark also reports what no host can falsify: how many interrupts the
// CPU took that were not its tick's.
#include <arch/ipi.h>
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "lab/bench.h"
#include "mm/frame/slab.h"
#include "mm/space.h"
#include "tests/bench/load.h"
#include "tests/bench/places.h"
#include "tests/help.h"

#define SLICE_NS (20 * NSEC_PER_MSEC)
#define UNMAPS 50			// a slice lasts longer until there were so many,
#define MOST_NS (10 * SLICE_NS)		// but at most so long
#define STEPS 4096

// Maps and unmaps pages on another CPU until stopped.
struct unmapper {
	struct places places;
	u32 stop;
	u64 unmaps;
	struct thread *thread;
};

struct watched {		// of the case of the same index
	u64 ns, gaps;
	u64 lost, host;		// cycles: with an interrupt, without one
	u64 ipis, ticks, switches, slices;
	u64 resched, called;		// of `ipis`, those that asked for the scheduler; CPUs that were called to sweep
};
static struct bench_case *cases;
static struct watched *watched;
static u64 threshold;		// cycles: a longer step is a gap

static int unmap_all_the_time(void *arg)
{
	struct unmapper *u = arg;
	struct space *s = u->places.space;

	space_attach(s);
	while (!READ_ONCE(u->stop)) {
		vaddr_t va = places_next(&u->places);

		if (map_patiently(s, va, PAGE_SIZE, 1))
			break;
		space_unmap(s, va, PAGE_SIZE);
		WRITE_ONCE(u->unmaps, u->unmaps + 1);
	}
	space_detach();
	return 0;
}

static void unmapper_start(struct unmapper *u, struct space *s, unsigned cpu)
{
	*u = (struct unmapper){ 0 };
	if (!places_init(&u->places, s) || !(u->thread = thread_create("unmapper", unmap_all_the_time, u, cpu, PRIO_NORMAL)))
		panic("no memory for a benchmark");
	while (!READ_ONCE(u->unmaps))
		thread_sleep_ns(NSEC_PER_MSEC);
}

static void unmapper_stop(struct unmapper *u)
{
	WRITE_ONCE(u->stop, 1);
	thread_join(u->thread);
}

// With interrupts off, 97 of 100 steps of the loop take at most so long. 0: no memory.
static u64 undisturbed_step(void)
{
	u64 *step = kmalloc(STEPS * sizeof(*step)), last, longest;
	irqflags_t flags;

	if (!step)
		return 0;
	flags = irq_save();
	last = cycles();
	for (unsigned i = 0; i < STEPS; i++) {
		u64 now = cycles();

		step[i] = now - last;
		last = now;
	}
	irq_restore(flags);
	ksort(step, STEPS, sizeof(*step), compare_u64);
	longest = step[STEPS / 1000 * 999];
	kfree(step);
	return longest;
}

// The longest step around one interrupt that has nothing to do.
static u64 one_interrupt(void)
{
	u64 longest = 0, last, seen;

	preempt_disable();
	irq_disable();
	seen = READ_ONCE(*this_cpu_ptr(&interrupts));
	arch_send_ipi(cpu_id(), IPI_XCALL);		// stays pending, so that the sending is not in the step
	last = cycles();
	irq_enable();
	while (READ_ONCE(*this_cpu_ptr(&interrupts)) == seen || !longest) {
		u64 now = cycles();

		longest = MAX(longest, now - last);
		last = now;
	}
	longest = MAX(longest, cycles() - last);
	preempt_enable();
	return longest;
}

// Puts the threshold half-way between a step of the loop and the shortest interruption.
static bool calibrate(void)
{
	u64 step = undisturbed_step(), interrupt = ~0ull;

	for (int i = 0; i < 100; i++)
		interrupt = MIN(interrupt, one_interrupt());
	threshold = step < interrupt ? (step + interrupt) / 2 : 0;
	log_info("bystander: steps of %llu cycles, an interrupt takes %llu at least: a gap is longer than %llu", (unsigned long long)step,
		 (unsigned long long)interrupt, (unsigned long long)threshold);
	return step && threshold;
}

static u64 cycles_of(u64 ns) { return ns * (arch_cycles_hz() / 1000) / (NSEC_PER_SEC / 1000); }

static u64 unmaps_of(const struct unmapper *u) { return u ? READ_ONCE(u->unmaps) : UNMAPS; }

static void gap(struct bench_case *c, struct watched *w, u64 *seen, u64 length)
{
	u64 taken = this_cpu_read(interrupts);

	if (taken == *seen) {
		w->host += length;
		return;
	}
	*seen = taken;
	w->gaps++;
	w->lost += length;
	bench_record_raw(c, arch_cycles_to_ns(length));
}

// At least until the first gap, which a tick brings at the latest.
static void watch_clock(struct bench_case *c, struct watched *w, const struct unmapper *u)
{
	u64 start = cycles(), end = start + cycles_of(SLICE_NS), most = start + cycles_of(MOST_NS), last = start;
	u64 enough = u ? unmaps_of(u) + UNMAPS : 0, seen = this_cpu_read(interrupts);

	while (last < end || (unmaps_of(u) < enough && last < most) || !w->gaps) {
		u64 now = cycles();

		if (unlikely(now - last > threshold)) {
			gap(c, w, &seen, now - last);
			now = cycles();		// the time to record a gap belongs to none
		}
		last = now;
	}
	w->ns += arch_cycles_to_ns(last - start);
}

struct reading { u64 unmaps, interrupts, ticks, resched, switches; };

// All of the same instant, but for one unmap that may be under way: its interrupt has come and it has not returned.
// Interrupts are off, so no tick comes in between. An NMI comes only from an unmap, whose return starts the loop again.
static struct reading read_all(const struct unmapper *u)
{
	struct reading r;
	irqflags_t flags = irq_save();

	do {
		r.unmaps = unmaps_of(u);
		r.interrupts = this_cpu_read(interrupts);
		barrier();		// not before the interrupts are read
	} while (unmaps_of(u) != r.unmaps);
	r.ticks = this_cpu_read(ticks);
	r.resched = this_cpu_read(counters.resched_taken);
	r.switches = this_cpu_read(context_switches);
	irq_restore(flags);
	return r;
}

static void watch(struct bench_case *c, const struct unmapper *u)
{
	struct watched *w = &watched[c - cases];
	struct counters before, sent;
	struct reading start, end;

	if (!c->busy_ns)
		*w = (struct watched){ 0 };	// the slice before was the warm-up
	bench_count_from_here(c);
	counters_snapshot(&before);
	start = read_all(u);
	watch_clock(c, w, u);
	end = read_all(u);
	counters_snapshot(&sent);
	counters_sub(&sent, &sent, &before);
	c->ops += end.unmaps - start.unmaps;
	bench_count_to_here(c);
	c->busy_ns = w->ns;
	w->ticks += end.ticks - start.ticks;
	w->ipis += end.interrupts - start.interrupts - (end.ticks - start.ticks);
	w->switches += end.switches - start.switches;
	w->resched += end.resched - start.resched;
	w->called += sent.lazy_calls;
	w->slices++;
}

enum bystander { IN_THE_SPACE, LAZY, ELSEWHERE };

static __always_inline void slice(struct bench_case *c, enum bystander kind)
{
	struct space *s = space_create_with(c->policy, c->flush), *home = kind == ELSEWHERE ? space_create() : s;
	struct unmapper unmapper, *u = c->others ? &unmapper : NULL;

	BUG_ON(!s || !home);
	space_attach(home);
	if (u)
		unmapper_start(u, s, cpu_id() - 1);
	if (kind == LAZY) {		// again, because the unmaps so far have made this CPU leave the space
		space_detach();
		space_attach(s);
		space_detach();
	}
	watch(c, u);
	if (u)
		unmapper_stop(u);
	if (kind != LAZY)
		space_detach();
	if (home != s)
		space_put(home);
	space_put(s);
	bench_settle(c);
}

static void slice_in_the_space(struct bench_case *c) { slice(c, IN_THE_SPACE); }
static void slice_lazy(struct bench_case *c) { slice(c, LAZY); }
static void slice_elsewhere(struct bench_case *c) { slice(c, ELSEWHERE); }

static unsigned add_cases(unsigned max)
{
	static const struct bench_case kinds[] = {
		{ .name = "bystander", .unit = "ns", .pages = 1, .slice = slice_in_the_space },
		{ .name = "bystander_lazy", .unit = "ns", .pages = 1, .slice = slice_lazy },
		{ .name = "bystander_elsewhere", .unit = "ns", .pages = 1, .slice = slice_elsewhere },
	};
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct bench_case unmapped = kinds[i];

		cases[n] = kinds[i];
		n += bench_case_init(&cases[n]);
		unmapped.others = 1;
		n += (i ? bench_add_cross : bench_add_pairs)(cases + n, max - n, &unmapped);
	}
	return n;
}

static void report(struct bench_case *c)
{
	const struct watched *w = &watched[c - cases];
	u64 ms = MAX(w->ns / NSEC_PER_MSEC, 1ull);

	bench_extra(c, "gaps_per_sec", w->gaps * 1000 / ms);
	bench_extra(c, "lost_ppm", arch_cycles_to_ns(w->lost) / ms);
	bench_extra(c, "host_ppm", arch_cycles_to_ns(w->host) / ms);
	bench_extra(c, "ipis", w->ipis);
	bench_extra(c, "ipis_per_sec", w->ipis * 1000 / ms);
	bench_extra(c, "resched", w->resched);
	bench_extra(c, "called", w->called);
	bench_extra(c, "ticks", w->ticks);
	bench_extra(c, "switches", w->switches);
	bench_extra(c, "watched_us", w->ns / 1000);
	bench_extra(c, "slices", w->slices);
	bench_report(c);
}

// Runs on the last CPU, because RCU's grace-period thread runs on the first one.
static void measure(u64 budget_ns)
{
	struct cpumask before = current->affinity, last = { 0 };
	unsigned max = 3 * (bench_pairs() + 1), n;

	cpumask_set(&last, nr_cpus - 1);
	thread_set_affinity(&last);
	cases = kzalloc(max * sizeof(*cases));
	watched = kzalloc(max * sizeof(*watched));
	if (cases && watched && calibrate()) {
		n = add_cases(max);
		bench_interleave(cases, n, budget_ns, NULL);
		for (unsigned i = 0; i < n; i++)
			report(&cases[i]);
	} else {
		log_error("bystander: no memory, or no interrupt is longer than a step of its loop");
	}
	kfree(cases);
	kfree(watched);
	thread_set_affinity(&before);
}

BENCHMARK(bystander, 6)
{
	if (nr_cpus > 1)
		measure(budget_ns);
	else
		log_info("bystander needs 2 CPUs");
}
