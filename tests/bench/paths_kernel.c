// SPDX-License-Identifier: MIT
// Hot paths that concern no policy: page frames, call_rcu, the switch of threads, the cross-CPU call.
#include "kernel/errno.h"
#include "kernel/panic.h"
#include "kernel/xcall.h"
#include "tests/bench/paths.h"

static int alloc(struct path_scene *sc)
{
	sc->page = page_alloc(0, PAGE_KERNEL, 0);
	return sc->page ? 0 : -ENOMEM;
}
static int put(struct path_scene *sc)
{
	page_put(sc->page);
	return 0;
}
static void alloc_before(struct path_scene *sc) { BUG_ON(alloc(sc)); }
static void put_after(struct path_scene *sc) { put(sc); }

PATH(page_alloc, .run = alloc, .after = put_after);
PATH(page_put, .before = alloc_before, .run = put);

static void done(struct rcu_head *unused) { }
static int queue(struct path_scene *sc)
{
	call_rcu(&sc->heads[sc->turn], done);
	return 0;
}
static void wait_for_all(struct path_scene *sc) { rcu_barrier(); }

PATH(call_rcu, .run = queue, .settle = wait_for_all);

static void partner_start(struct path_scene *sc, int (*fn)(void *), unsigned cpu)
{
	sc->partner = thread_create("partner", fn, sc, cpu, PRIO_NORMAL);
	BUG_ON(!sc->partner);
	while (!READ_ONCE(sc->partner_runs))
		thread_sleep_ns(NSEC_PER_MSEC);
}

static void partner_stop(struct path_scene *sc)
{
	WRITE_ONCE(sc->stop, 1);
	thread_join(sc->partner);
}

static int yield_until_stopped(void *arg)
{
	struct path_scene *sc = arg;

	for (WRITE_ONCE(sc->partner_runs, 1); !READ_ONCE(sc->stop);)
		thread_yield();
	return 0;
}

static void start_yielder(struct path_scene *sc, const struct path *p)
{
	partner_start(sc, yield_until_stopped, cpu_id());
}

static int yield(struct path_scene *sc)
{
	thread_yield();
	return 0;
}

// To the other thread and back.
PATH(switch_both_ways, .begin = start_yielder, .run = yield, .end = partner_stop);

static int spin_until_stopped(void *arg)
{
	struct path_scene *sc = arg;

	for (WRITE_ONCE(sc->partner_runs, 1); !READ_ONCE(sc->stop);)
		cpu_relax();
	return 0;
}

static void start_spinner(struct path_scene *sc, const struct path *p)
{
	partner_start(sc, spin_until_stopped, other_cpu(0));
}

static void do_nothing(void *unused) { }
static int cross_call(struct path_scene *sc)
{
	xcall_one(other_cpu(0), do_nothing, NULL);
	return 0;
}

// The other CPU is busy in a thread. The emulator runs it when this CPU begins to wait, and the handler then runs to
// its end.
PATH(cross_call, .two_cpus = true, .begin = start_spinner, .run = cross_call, .end = partner_stop);
