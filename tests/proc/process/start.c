// SPDX-License-Identifier: MIT
// What a task finds when it starts.
#include "kernel/lib.h"
#include "kernel/rcu/internal.h"
#include "tests/proc/process/help.h"

#define DATA BARE_DATA

static bool someone_waits(struct waitq *q)
{
	irqflags_t flags = spin_lock_irqsave(&q->lock);
	bool waits = !list_empty(&q->waiters);

	spin_unlock_irqrestore(&q->lock, flags);
	return waits;
}

// Its maker has not yet come by, so that it could make the task after the process has been stopped.
TEST(process, task_of_a_stopped_process, 0)
{
	static const struct instruction script[] = { ADD(DATA, 1), CALL(SYS_EXIT, 0), TRAP() };
	struct user_siginfo go_on = { .signo = SIGCONT };
	struct scripted x;

	REQUIRE(scripted_begin(&x, script, ARRAY_SIZE(script), NULL, NULL));
	x.p->signals.stopped = true;
	scripted_task(&x, 0);
	EXPECT(EVENTUALLY(someone_waits(&x.p->signals.go_on) || scripted_count(&x, DATA)));
	EXPECT_EQ(scripted_count(&x, DATA), 0);
	EXPECT_EQ(signal_send(x.p, &go_on), 0);
	EXPECT_EQ(scripted_wait(&x), 0);
	EXPECT_EQ(scripted_count(&x, DATA), 1);
	scripted_free(&x);
}

// Programs may spin for ever: none does so instead of a thread that ends grace periods. (This one waits; it would be above
// the test's own thread.)
TEST(process, most_urgent_task, 0)
{
	static const struct instruction script[] = {
		CALL(SYS_SETPRIORITY, 0, 0, (u64)-20), ADD(DATA, 1), CALL(SYS_PAUSE), TRAP(),
	};
	struct scripted x;

	REQUIRE(scripted_begin(&x, script, ARRAY_SIZE(script), NULL, NULL));
	scripted_task(&x, 0);
	EXPECT(EVENTUALLY(scripted_count(&x, DATA) == 1));
	mutex_lock(&x.p->lock);
	EXPECT_EQ(list_first(&x.p->tasks, struct task, link)->thread->prio, PRIO_HIGH);
	mutex_unlock(&x.p->lock);
	EXPECT(rcu.gp_thread->prio > PRIO_HIGH);
	process_end(x.p, 7 << 8);
	EXPECT_EQ(scripted_wait(&x), 7 << 8);
	scripted_free(&x);
}
