// SPDX-License-Identifier: MIT
// How long a grace period takes, depending on what the CPUs do: `others` of them compute in a kernel thread, the rest
// idle. With others = nr_cpus the caller's CPU computes, too, while the caller waits. Each measurement starts at a
// random time between two ticks, when no grace period is in progress.
#include "kernel/lib.h"
#include "kernel/log.h"
#include "kernel/rcu/rcu.h"
#include "kernel/thread.h"
#include "lab/bench.h"
#include "mm/frame/slab.h"
#include "tests/bench/load.h"

#define AT_A_TIME 4		// grace periods in a slice
#define MOST_SIZES 16

static struct {
	u32 stop, running;
	unsigned n;
	struct thread *threads[NR_CPUS];
} busy;

// Preemptible all the time, and never asleep.
static int compute(void *unused)
{
	u64 x = cpu_id();

	fetch_add(&busy.running, 1);
	while (!READ_ONCE(busy.stop))
		rand_next(&x);
	return (int)x;
}

// On the other CPUs first; the one on the caller's CPU has a low priority and gives way to the caller.
static bool busy_start(unsigned n)
{
	busy.stop = busy.running = 0;
	for (busy.n = 0; busy.n < n; busy.n++) {
		bool here = busy.n == nr_cpus - 1;
		struct thread *t = thread_create("compute", compute, NULL, here ? cpu_id() : other_cpu(busy.n),
						 here ? PRIO_LOW : PRIO_NORMAL);

		if (!t) {
			log_error("no memory for %u computing threads", n);
			return false;
		}
		busy.threads[busy.n] = t;
	}
	while (READ_ONCE(busy.running) < n)
		thread_sleep_ns(NSEC_PER_MSEC);
	return true;
}

static void busy_stop(void)
{
	WRITE_ONCE(busy.stop, 1);
	for (unsigned i = 0; i < busy.n; i++)
		thread_join(busy.threads[i]);
}

static bool in_progress(void) { return rcu_snapshot() != rcu_completed() + 1; }

// The previous grace period ended at a tick. A random wait of up to a tick makes the start independent of that.
static void wait_a_while(void)
{
	static u64 seed = 1;
	u64 until = now_ns() + rand_next(&seed) % tick_ns();

	while (now_ns() < until || in_progress())
		cpu_relax();
}

static void slice_grace_period(struct bench_case *c)
{
	if (busy_start(c->others)) {
		for (int i = 0; i < AT_A_TIME && !bench_full(c); i++) {
			u64 t;

			wait_a_while();
			t = cycles();
			synchronize_rcu();
			bench_record(c, cycles() - t);
		}
	}
	busy_stop();
}

BENCHMARK(grace_period, 2)
{
	struct bench_case *cases = kzalloc((MOST_SIZES + 1) * sizeof(*cases));
	unsigned others[MOST_SIZES], sizes = others_list(others, MOST_SIZES - 1), n = 0;

	if (!cases) {
		log_error("grace_period: no memory for its cases");
		return;
	}
	others[sizes++] = nr_cpus;
	for (unsigned i = 0; i < sizes; i++) {
		cases[n] = (struct bench_case){ .name = "grace_period", .others = others[i], .slice = slice_grace_period };
		n += bench_case_init(&cases[n]);
	}
	bench_interleave(cases, n, budget_ns, NULL);
	for (unsigned i = 0; i < n; i++) {
		bench_extra(&cases[i], "tick", arch_cycles_hz() / tick_hz);
		bench_report(&cases[i]);
	}
	kfree(cases);
}
