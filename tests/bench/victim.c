// SPDX-License-Identifier: MIT
// See victim.h.
#include "tests/bench/victim.h"
#include "kernel/panic.h"
#include "lab/thief.h"
#include "mm/walk.h"
#include "mm/walk_body.h"
#include "tests/bench/load.h"

// The policy's own step, and then the preemption.
static const struct table_policy *robbed;

static bool step_and_be_robbed(struct walk_state *w, int level, const pte_t *entry, pte_t value)
{
	bool goes_on = !robbed->step || robbed->step(w, level, entry, value);

	if (goes_on && level == 1)
		thief_rob(cpu_id(), 0);
	return goes_on;
}

// A walk under the policy's rules, compiled here once for all policies.
static unsigned walk_and_be_robbed(struct space *s, struct page **page)
{
	struct table_policy p;
	unsigned got;

	preempt_disable();
	robbed = s->policy;
	p = *robbed;
	p.step = step_and_be_robbed;
	got = walk_body(&p, s, WALKED_AT, 1, false, page);
	preempt_enable();
	return got;
}

static void walk(struct victim *v, bool asked)
{
	struct page *page;

	if (asked ? walk_and_be_robbed(v->space, &page) : walk_pin_fast(v->space, WALKED_AT, 1, false, &page))
		page_unpin(page, false);
}

static int victim(void *arg)
{
	struct victim *v = arg;

	space_attach(v->space);
	while (!READ_ONCE(v->stop)) {
		bool asked = xchg(&v->asked, 0u);

		if (v->place == VICTIM_WALKS)
			walk(v, asked);
		else if (asked)
			thief_rob(v->cpu, 0);
		WRITE_ONCE(v->runs, 1);
	}
	space_detach();
	return 0;
}

void victim_start(struct victim *v, struct space *s, enum victim_place place)
{
	*v = (struct victim){ .space = s, .cpu = other_cpu(0), .place = place };
	if (map_patiently(s, WALKED_AT, PAGE_SIZE, 1) || !(v->thread = thread_create("victim", victim, v, v->cpu, PRIO_NORMAL)))
		panic("no memory for a benchmark");
	while (!READ_ONCE(v->runs))
		thread_sleep_ns(NSEC_PER_MSEC);
}

void victim_stop(struct victim *v)
{
	WRITE_ONCE(v->stop, 1);
	thread_join(v->thread);
}
