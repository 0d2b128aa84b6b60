// SPDX-License-Identifier: MIT
// Reading a run-state area (arch/x86_64/xen_runstate.h) that is made up here, and written to in the middle. No Xen is needed.
#include "arch/x86_64/xen_runstate.h"
#include "kernel/atomic.h"
#include "lab/stall.h"
#include "lab/test.h"

TEST(runstate, only_runnable_is_preempted, 0)
{
	static struct runstate r;

	for (u32 state = 0; state < NR_RUNSTATES; state++) {
		r.state = state;
		EXPECT_EQ(runstate_preempted(&r), state == RUNSTATE_RUNNABLE);
	}
}

TEST(runstate, stolen_is_what_was_runnable, 0)
{
	static const struct runstate r = { .since = 5, .ns = { 10, 20, 30, 40 } };

	EXPECT_EQ(runstate_stolen_ns(&r), 20);
}

#if CHECK
static struct runstate written;
static u32 passed;

static void switch_in_between(struct stall_point *p, void *unused)
{
	written.since = 6;
	written.ns[RUNSTATE_RUNNABLE] = 200;
}

TEST(runstate, reads_again_what_was_written_meanwhile, NEEDS_CHECK)
{
	struct stall_point *p = stall_point("runstate_read");

	written = (struct runstate){ .since = 5, .ns = { 1, 100, 3, 4 } };
	p->action = switch_in_between;
	stall_arm(p, NULL, 0, 0, 0);
	EXPECT_EQ(runstate_stolen_ns(&written), 200);
	stall_release(p);
}

static void pass(struct stall_point *p, void *unused) { store_release(&passed, 1u); }

static int read_it(void *stolen)
{
	WRITE_ONCE(*(u64 *)stolen, runstate_stolen_ns(&written));
	return 0;
}

TEST(runstate, waits_for_the_end_of_a_write, NEEDS_CHECK | NEEDS_CPUS2)
{
	struct stall_point *p = stall_point("runstate_read");
	struct thread *t;
	u64 stolen = 0;

	passed = 0;
	written = (struct runstate){ .since = 7 | RUNSTATE_BEING_WRITTEN, .ns = { 1, 100, 3, 4 } };
	p->action = pass;
	stall_arm(p, NULL, 0, 0, 0);
	REQUIRE(t = thread_create("reader", read_it, &stolen, cpu_id() ? 0 : 1, PRIO_NORMAL));
	spin_until(load_acquire(&passed), "a first reading", -1);
	WHILE_OTHERS_RUN(4)
		EXPECT_EQ(READ_ONCE(stolen), 0);
	WRITE_ONCE(written.ns[RUNSTATE_RUNNABLE], 300);
	store_release(&written.since, 7ull);
	thread_join(t);
	EXPECT_EQ(stolen, 300);
	stall_release(p);
}
#endif
