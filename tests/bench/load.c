// SPDX-License-Identifier: MIT
// Load beside a measurement. The measuring thread is pinned to the CPU that it runs on.
#include "tests/bench/load.h"
#include "kernel/errno.h"
#include "kernel/log.h"
#include "kernel/panic.h"
#include "kernel/rcu/rcu.h"
#include "kernel/time.h"
#include "mm/policy/verdict.h"
#include "mm/walk.h"

unsigned other_cpu(unsigned k)
{
	unsigned self = cpu_id();

	return k < self ? k : k + 1;
}

struct space *bench_space(const struct bench_case *c)
{
	struct space *s = space_create_with(c->policy, c->flush);

	BUG_ON(!s);
	return s;
}

void bench_settle(const struct bench_case *c)
{
	if (c->flush && c->flush->drain)	// first: what waits for its flush has not reached the policy yet
		c->flush->drain();
	if (c->policy && c->policy->drain)
		c->policy->drain();
	rcu_barrier();
}

int map_patiently(struct space *s, vaddr_t va, u64 len, int level)
{
	int err = space_map(s, va, len, PROT_R | PROT_W, level, MAP_POPULATE);

	if (err == -ENOMEM) {
		rcu_barrier();
		err = space_map(s, va, len, PROT_R | PROT_W, level, MAP_POPULATE);
	}
	return err;
}

unsigned others_list(unsigned *list, unsigned max)
{
	unsigned n = 0, most = nr_cpus - 1;

	for (unsigned k = 0; k <= most && n < max; k++)
		if (nr_cpus <= 4 || k <= 1 || k == most || (nr_cpus <= 16 && !(k & (k - 1))))
			list[n++] = k;
	return n;
}

static void walk_once(struct companions *c, bool first)
{
	struct page *pins[WALKED_PAGES];
	unsigned got;

	if (first)
		WRITE_ONCE(c->walk, c->walk + 1);
	got = walk_pin_fast(c->space, c->walked, WALKED_PAGES, false, pins);
	if (first)
		WRITE_ONCE(c->walk, c->walk + 1);
	while (got)
		page_unpin(pins[--got], false);
}

static int companion(void *arg)
{
	struct companions *c = arg;
	bool first;

	if (!c->remote)
		space_attach(c->space);
	first = !fetch_add(&c->running, 1);
	while (!READ_ONCE(c->stop)) {
		if (c->walked)
			walk_once(c, first);
		else
			cpu_relax();
	}
	if (!c->remote)
		space_detach();
	return 0;
}

static bool start(struct companions *c, unsigned n)
{
	for (; c->n < n; c->n++) {
		c->threads[c->n] = thread_create("companion", companion, c, other_cpu(c->n), PRIO_NORMAL);
		if (!c->threads[c->n]) {
			log_error("no memory for a companion thread");
			companions_stop(c);
			return false;
		}
	}
	while (READ_ONCE(c->running) < n)
		thread_sleep_ns(NSEC_PER_MSEC);
	return true;
}

bool companions_start(struct companions *c, struct space *s, unsigned n)
{
	*c = (struct companions){ .space = s };
	return start(c, n);
}

bool walkers_start(struct companions *c, struct space *s, unsigned n, vaddr_t walked, bool remote)
{
	*c = (struct companions){ .space = s, .walked = walked, .remote = remote };
	return start(c, n);
}

void walkers_wait_inside(struct companions *c)
{
	u32 walk;

	if (!c->walked || !c->n)
		return;
	while (!((walk = READ_ONCE(c->walk)) & 1) || walk == c->seen)
		cpu_relax();
	c->seen = walk;
}

void companions_stop(struct companions *c)
{
	WRITE_ONCE(c->stop, 1);
	for (unsigned i = 0; i < c->n; i++)
		thread_join(c->threads[i]);
	c->n = 0;
}

static int churn(void *arg)
{
	struct churner *c = arg;

	space_attach(c->space);
	while (!READ_ONCE(c->stop)) {
		if (map_patiently(c->space, c->base, PAGE_SIZE, 1))
			break;
		space_unmap(c->space, c->base, PAGE_SIZE);
		WRITE_ONCE(c->unmaps, c->unmaps + 1);
	}
	space_detach();
	return 0;
}

bool churner_start(struct churner *c, struct space *s, vaddr_t base, unsigned cpu)
{
	*c = (struct churner){ .space = s, .base = base };
	c->thread = thread_create("churner", churn, c, cpu, PRIO_NORMAL);
	if (!c->thread)
		return false;
	while (!READ_ONCE(c->unmaps))
		thread_sleep_ns(NSEC_PER_MSEC);
	return true;
}

void churner_stop(struct churner *c)
{
	WRITE_ONCE(c->stop, 1);
	thread_join(c->thread);
}
