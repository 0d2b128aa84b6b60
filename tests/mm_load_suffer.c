// SPDX-License-Identifier: MIT
// What a load suffers besides itself: threads that move between CPUs, CPUs that idle, CPUs that lose their processor.
#include "kernel/thief.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "tests/mm_load_parts.h"

#define US 1000ull		// ns

// Walker 0 stays where it is: its stall point is its CPU's, and the robber leaves that CPU alone.
void wander(struct worker *w)
{
	struct cpumask there = { 0 };

	if (w->lingers || RANDOM(w, 16))
		return;
	if (!RANDOM(w, 4)) {
		thread_sleep_ns(RANDOM(w, 8) * NSEC_PER_MSEC);
		return;
	}
	cpumask_set(&there, RANDOM(w, 2) ? w->home : RANDOM(w, nr_cpus));
	thread_set_affinity(&there);
}

void go_in_or_out(struct worker *w, unsigned at)
{
	struct load *l = w->load;

	if (w->inside == at)
		return;
	if (w->inside < l->nr_spaces)
		space_detach();
	w->inside = at;
	if (at < l->nr_spaces)
		space_attach(l->space[at]);
}

// One theft at a time, of 0.1 to 5 ms.
int robber(void *arg)
{
	struct worker *w = arg;

	while (!READ_ONCE(w->load->stop)) {
		unsigned cpu = RANDOM(w, nr_cpus);
		u64 ns = (100 + RANDOM(w, 4900)) * US;

		thread_sleep_ns(RANDOM(w, 30) * NSEC_PER_MSEC);
		if (cpu == w->load->lingerer)
			continue;
		thief_rob(cpu, ns);
		if (cpu != w->home)
			thread_sleep_ns(ns);
		thief_wait_back(cpu);
		w->found.thefts++;
	}
	return 0;
}
