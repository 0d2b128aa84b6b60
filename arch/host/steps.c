// SPDX-License-Identifier: MIT
// The deterministic scheduler. CPUs are contexts of one pthread, each with a stack; one runs until a yield point where
// another one is chosen:
//
//   yield point (kernel/atomic.h, irq_enable, cpu_relax, IPIs)        CPU that halts
//     clock += STEP_NS; timers that are due raise interrupts            is not chosen until something is pending;
//     step == next decision? choose a CPU, switch to it                 if all halt: clock = earliest deadline
//
// Nothing else decides: no real clock, no other pthread, no address. So the same arguments give the same run, and the
// hash of all decisions, printed at the end, shows it. What it explores is sequentially consistent: an access takes
// effect before the next CPU goes on. What store buffers do is for the models.
//
//   random  at each decision any CPU, for a number of steps whose order of magnitude is drawn first: some turns are one
//           step long, some last through whole operations.
//   pct     (after Burckhardt et al., ASPLOS 2010) the CPU of the highest priority runs. The run is cut into windows,
//           of a length whose order of magnitude is drawn; each begins with priorities in random order, and at `depth`
//           steps in it, drawn too, the running CPU falls below all others. A race that needs few preemptions at the right
//           places is found that way with a probability that does not sink with the number of ways to interleave.
//           A CPU that spins (cpu_relax) would wait for ever: it is passed over for some steps, but keeps its priority.
#include "arch/host/steps.h"
#include "kernel/cmdline.h"
#include "kernel/lib.h"
#include "kernel/panic.h"
#include "arch/host/irq.h"
#include <arch/machine.h>
#include <arch/percpu.h>
#include <arch/thread.h>
#include "arch/host/host.h"
#include "arch/host/os.h"

#define STEP_NS 200		// 4 CPUs: 5000 steps of each between two of its ticks at 250 Hz
#define TURN_BITS 10		// random: turns of up to 2^10 steps
#define WINDOW_BITS_MIN 7	// pct: windows of 2^7 …
#define WINDOW_BITS_MAX 13	// … to 2^13 steps
#define RELAX_BITS 9		// pct: a CPU that spins is passed over for up to 2^9 steps
#define DEPTH_MAX 32
#define PAUSE_NS (3600 * NSEC_PER_SEC)

bool steps_on;

static enum { RANDOM, PCT } kind;
static u64 seed = 1, depth = 3;
static u64 rng, step, next_decision, switches, hash = 0xcbf29ce484222325ull;
static u64 now, next_timer = ~0ull;
static u64 pauses_ns, next_pause = ~0ull;	// a pause of the host, on average so far apart; 0: none
static unsigned running, came_from;

static struct vcpu {
	struct arch_context ctx;
	bool started, halted;
	void (*fn)(void);
	s64 priority;		// pct
	u64 passed_over;	// … until this step, unless no other CPU is left
} vcpus[NR_CPUS];
static unsigned nr_vcpus;	// they are started in order

static s64 lowest;		// pct: below all priorities that there are
static u64 window_end, change[DEPTH_MAX];
static unsigned changes_left;

// SplitMix64. Not rand_next(): under ThreadSanitizer nothing that is instrumented may touch this file's variables, which
// belong to whichever CPU runs.
static u64 draw(void)
{
	u64 x = rng += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static u64 below(u64 n) { return draw() % n; }

bool steps_argument(const char *arg, const char **wrong)
{
	*wrong = NULL;
	if (!strncmp(arg, "sched=", 6)) {
		steps_on = true;
		kind = !strcmp(arg + 6, "pct") ? PCT : RANDOM;
		if (kind == RANDOM && strcmp(arg + 6, "random"))
			*wrong = "sched= is random or pct";
		return true;
	}
	if (!strncmp(arg, "depth=", 6)) {
		if (!parse_u64(arg + 6, &depth) || depth > DEPTH_MAX)
			*wrong = "depth= is 0 … 32";
		return true;
	}
	if (!strncmp(arg, "pauses=", 7)) {
		if (!parse_u64(arg + 7, &pauses_ns) || !pauses_ns || pauses_ns > 1000000)
			*wrong = "pauses= is 1 … 1000000 ms";
		pauses_ns *= NSEC_PER_MSEC;
		return true;
	}
	if (!strncmp(arg, "seed=", 5))		// also a key of the kernel, which will say what is wrong with it
		parse_u64(arg + 5, &seed);
	return false;
}

static void plan_pause(void)
{
	if (pauses_ns)
		next_pause = now + below(2 * pauses_ns);
}

void steps_init(void)
{
	rng = seed;
	plan_pause();
	host_this(host_irq)->pending |= HOST_STEP;
	vcpus[0].started = true;
	nr_vcpus = 1;
}

static bool can_run(unsigned cpu) { return vcpus[cpu].started && !vcpus[cpu].halted; }

static void run_timers(void)
{
	if (now >= next_timer)
		next_timer = host_timers_run(now);
}

// Every CPU halts: the next thing that happens is a timer.
static void wait_for_timer(void)
{
	for (;;) {
		for (unsigned cpu = 0; cpu < nr_vcpus; cpu++)
			if (can_run(cpu))
				return;
		if (next_timer == ~0ull) {
			vcpus[running].halted = false;
			panic("deadlock: every CPU halts, and no timer is armed");
		}
		now = MAX(now, next_timer);
		run_timers();
	}
}

static unsigned choose_random(bool not_the_same)
{
	unsigned n = 0, candidate[NR_CPUS];

	for (unsigned cpu = 0; cpu < nr_vcpus; cpu++)
		if (can_run(cpu) && !(not_the_same && cpu == running))
			candidate[n++] = cpu;
	next_decision = step + 1 + below(1ull << below(TURN_BITS + 1));
	return n ? candidate[below(n)] : running;
}

// Priorities anew, and the places where the running CPU will lose its own, in order.
static void begin_window(void)
{
	u64 length = 1ull << (WINDOW_BITS_MIN + below(WINDOW_BITS_MAX - WINDOW_BITS_MIN + 1));

	for (unsigned cpu = 0; cpu < NR_CPUS; cpu++)
		vcpus[cpu].priority = (s64)(draw() >> 2);
	lowest = 0;
	window_end = step + length;
	changes_left = (unsigned)depth;
	for (unsigned i = 0; i < depth; i++) {
		u64 at = step + 1 + below(length);
		unsigned k = i;

		for (; k > 0 && change[k - 1] < at; k--)	// the next one last
			change[k] = change[k - 1];
		change[k] = at;
	}
}

static unsigned choose_by_priority(bool relaxing)
{
	unsigned best = running;
	u64 back = ~0ull;	// when the first of those that are passed over comes back
	s64 highest = INT64_MIN;

	if (step >= window_end)
		begin_window();
	for (; changes_left && change[changes_left - 1] <= step; changes_left--)
		vcpus[running].priority = --lowest;
	if (relaxing)
		vcpus[running].passed_over = step + 1 + below(1ull << below(RELAX_BITS + 1));
	for (unsigned cpu = 0; cpu < nr_vcpus; cpu++) {
		const struct vcpu *v = &vcpus[cpu];
		s64 p = v->passed_over > step ? v->priority / 2 + INT64_MIN / 2 : v->priority;	// below all that are not

		if (!can_run(cpu))
			continue;
		if (v->passed_over > step)
			back = MIN(back, v->passed_over);
		if (p > highest) {
			best = cpu;
			highest = p;
		}
	}
	next_decision = MIN(changes_left ? MIN(change[changes_left - 1], window_end) : window_end, back);
	return best;
}

// Returns when this CPU has been chosen again.
static void switch_to(unsigned next)
{
	unsigned self = running;

	if (next == self)
		return;
	switches++;
	came_from = self;
	running = next;
	host_cpu_offset = percpu_offset[next];
	host_switch_cpu(&vcpus[self].ctx, &vcpus[next].ctx);
	host_arrive_cpu(&vcpus[self].ctx, &vcpus[came_from].ctx);
}

static void decide(bool relaxing)
{
	unsigned next = kind == PCT ? choose_by_priority(relaxing) : choose_random(relaxing);

	hash = (hash ^ step) * 0x100000001b3ull;
	hash = (hash ^ next) * 0x100000001b3ull;
	switch_to(next);
}

void steps_point(bool relaxing)
{
	step++;
	now += STEP_NS;
	if (now >= next_pause) {
		steps_pause(PAUSE_NS);
		plan_pause();
	}
	run_timers();
	if (relaxing || step >= next_decision)
		decide(relaxing);
}

void steps_halt(void)
{
	vcpus[running].halted = true;
	wait_for_timer();
	decide(false);
}

void steps_wake(unsigned cpu)
{
	if (vcpus[cpu].halted && kind == PCT)
		next_decision = step;	// its priority may be the highest
	vcpus[cpu].halted = false;
}

// Each reading advances the clock, so that a loop that does nothing but read it ends.
u64 steps_ns(void) { return now += STEP_NS; }

void steps_pause(u64 ns) { now += ns; }

void steps_timer(u64 deadline) { next_timer = MIN(next_timer, deadline); }

static void first_entry(void)
{
	host_arrive_cpu(&vcpus[running].ctx, &vcpus[came_from].ctx);
	vcpus[running].fn();
}

void steps_add_cpu(unsigned cpu, void (*fn)(void))
{
	struct vcpu *v = &vcpus[cpu];
	void *stack = os_stack(KSTACK_SIZE);

	if (!stack)
		panic("no memory for the stack of CPU %u", cpu);
	host_context_init(&v->ctx, stack, first_entry);
	per_cpu(host_irq, cpu).pending |= HOST_STEP;
	v->fn = fn;
	v->priority = (s64)(draw() >> 2);
	v->started = true;
	nr_vcpus = MAX(nr_vcpus, cpu + 1);
}

void steps_report(void)
{
	char text[160];
	int n = ksnprintf(text, sizeof(text), "# sched=%s seed=%llu depth=%llu: %llu steps, %llu switches, %llu ms, trace %016llx\n",
			  kind == PCT ? "pct" : "random", (unsigned long long)seed, (unsigned long long)depth,
			  (unsigned long long)step, (unsigned long long)switches, (unsigned long long)(now / NSEC_PER_MSEC),
			  (unsigned long long)hash);

	os_write(text, MIN((size_t)n, sizeof(text) - 1));
}
