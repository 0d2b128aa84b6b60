// SPDX-License-Identifier: MIT
// See bench/team.h.
#include "tests/bench/team.h"
#include "kernel/log.h"
#include "tests/bench/load.h"

struct team_arg {
	struct team *team;
	unsigned me;
};
static struct team_arg args[NR_CPUS];		// one team at a time

// Members spin until the start: a thread that had to be woken would start late.
static int member(void *arg)
{
	struct team_arg *a = arg;
	struct team *t = a->team;
	u64 ops;

	space_attach(t->spaces[a->me]);
	fetch_add(&t->ready, 1);
	while (!READ_ONCE(t->deadline))
		cpu_relax();
	ops = t->work(t, a->me);
	space_detach();
	t->member[a->me].ops = ops;
	fetch_add(&t->done, 1);		// a release: `ops` is read after it
	return 0;
}

static bool create_members(struct team *t)
{
	t->ready = t->done = 0;
	t->deadline = 0;
	for (unsigned i = 1; i < t->n; i++) {
		args[i] = (struct team_arg){ t, i };
		t->member[i].thread = thread_create("member", member, &args[i], other_cpu(i - 1), PRIO_NORMAL);
		if (!t->member[i].thread) {
			log_error("no memory for a team of %u threads", t->n);
			t->n = i;
			return false;
		}
	}
	while (READ_ONCE(t->ready) < t->n - 1)
		thread_sleep_ns(NSEC_PER_MSEC);
	return true;
}

u64 team_run(struct team *t, u64 ns)
{
	bool complete = create_members(t);
	u64 start;

	space_attach(t->spaces[0]);
	start = now_ns();
	WRITE_ONCE(t->deadline, complete ? start + ns : start);
	t->member[0].ops = t->work(t, 0);
	space_detach();
	while (load_acquire(&t->done) < t->n - 1)
		cpu_relax();
	return complete ? start : 0;
}

void team_join(struct team *t)
{
	for (unsigned i = 1; i < t->n; i++)
		thread_join(t->member[i].thread);
}

u64 team_ops(const struct team *t, unsigned first, unsigned end)
{
	u64 sum = 0;

	for (unsigned i = first; i < end; i++)
		sum += t->member[i].ops;
	return sum;
}
