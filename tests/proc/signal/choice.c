// SPDX-License-Identifier: MIT
// Which task is told, and what a task blocks.
#include "kernel/errno.h"
#include "tests/proc/signal/help.h"

#define HANDLER 0x401000

static void expect_kicked(struct scene *s, bool first, bool second, bool third)
{
	EXPECT_EQ(kicked(s, 0), first);
	EXPECT_EQ(kicked(s, 1), second);
	EXPECT_EQ(kicked(s, 2), third);
}

TEST(signal, choice, 0)
{
	struct scene *s = scene_begin();

	if (!s)
		return;
	signal_set_blocked(&s->tasks[0], SIGNAL_BIT(SIGUSR1));
	EXPECT_EQ(scene_send(s, SIGUSR1), 0);
	expect_kicked(s, false, true, false);
	EXPECT_EQ(scene_send(s, SIGUSR2), 0);
	expect_kicked(s, true, true, false);
	EXPECT_EQ(scene_send_to(s, 2, SIGHUP), 0);
	expect_kicked(s, true, true, true);
	EXPECT_EQ(scene_next(s, 0), SIGUSR2);
	expect_kicked(s, false, true, true);
	EXPECT_EQ(scene_next(s, 2), SIGHUP);
	EXPECT_EQ(scene_next(s, 2), SIGUSR1);
	EXPECT_EQ(scene_next(s, 1), 0);	// it was told, but another came first
	expect_kicked(s, false, false, false);
	scene_end(s);
}

// A signal that all block waits for the first that no longer does.
TEST(signal, blocked_by_all, 0)
{
	struct scene *s = scene_begin();

	if (!s)
		return;
	for (unsigned i = 0; i < SCENE_TASKS; i++)
		signal_set_blocked(&s->tasks[i], ~0ull);
	EXPECT_EQ(scene_send(s, SIGUSR1), 0);
	EXPECT_EQ(scene_send_to(s, 2, SIGUSR2), 0);
	expect_kicked(s, false, false, false);
	EXPECT_EQ(scene_next(s, 2), 0);
	signal_set_blocked(&s->tasks[1], ~SIGNAL_BIT(SIGUSR1));
	expect_kicked(s, false, true, false);
	EXPECT_EQ(scene_next(s, 1), SIGUSR1);
	EXPECT_EQ(scene_send(s, SIGKILL), 0);		// nobody can block this one
	expect_kicked(s, true, false, false);
	EXPECT_EQ(scene_next(s, 0), SIGKILL);
	EXPECT_EQ(scene_send_to(s, 1, SIGSTOP), 0);
	expect_kicked(s, false, true, false);
	scene_end(s);
}

// The task that was told blocks the signal, or ends, before it has taken it.
TEST(signal, passed_on, 0)
{
	struct scene *s = scene_begin();

	if (!s)
		return;
	EXPECT_EQ(scene_send(s, SIGUSR1), 0);
	expect_kicked(s, true, false, false);
	signal_set_blocked(&s->tasks[0], SIGNAL_BIT(SIGUSR1));
	expect_kicked(s, false, true, false);
	mutex_lock(&s->process.lock);
	list_remove(&s->tasks[1].link);
	signals_end_task(&s->tasks[1]);
	mutex_unlock(&s->process.lock);
	EXPECT(kicked(s, 2));
	EXPECT_EQ(scene_next(s, 2), SIGUSR1);
	scene_end(s);
}

// rt_sigtimedwait() waits for signals that it blocks, and gives back those that it did not take.
TEST(signal, awaited, 0)
{
	struct scene *s = scene_begin();
	u64 set = SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2);
	struct user_siginfo info;

	if (!s)
		return;
	signal_set_blocked(&s->tasks[0], set);
	signal_set_blocked(&s->tasks[2], set);
	signal_await(&s->tasks[0], set);
	EXPECT_EQ(scene_send(s, SIGUSR1), 0);
	EXPECT_EQ(scene_send(s, SIGUSR2), 0);
	expect_kicked(s, true, true, false);
	EXPECT_EQ(scene_next(s, 1), SIGUSR1);
	EXPECT_EQ(signal_take(&s->tasks[0], set, &info), SIGUSR2);
	EXPECT_EQ(scene_send(s, SIGUSR1), 0);
	EXPECT(kicked(s, 0));
	s->tasks[1].user.work = 0;
	signal_await(&s->tasks[0], 0);
	expect_kicked(s, false, true, false);
	EXPECT_EQ(scene_next(s, 1), SIGUSR1);
	scene_end(s);
}

// A fault's signal can be neither blocked nor ignored: the default action is due instead of the handler.
TEST(signal, forced, 0)
{
	struct scene *s = scene_begin();
	struct signal_action action;

	if (!s)
		return;
	scene_set_handler(s, SIGSEGV, HANDLER);
	signal_fault(&s->tasks[0], &(struct user_fault){ .trap = 14 });
	EXPECT_EQ(signal_set_action(&s->process, SIGSEGV, NULL, &action), 0);
	EXPECT_EQ(action.handler, HANDLER);
	EXPECT_EQ(scene_next(s, 0), SIGSEGV);
	signal_set_blocked(&s->tasks[0], ~0ull);
	signal_fault(&s->tasks[0], &(struct user_fault){ .trap = 14 });
	EXPECT(kicked(s, 0));
	EXPECT_EQ(signal_set_action(&s->process, SIGSEGV, NULL, &action), 0);
	EXPECT_EQ(action.handler, SIG_DFL);
	EXPECT_EQ(scene_next(s, 0), SIGSEGV);
	scene_set_handler(s, SIGFPE, SIG_IGN);
	signal_fault(&s->tasks[1], &(struct user_fault){ .signal = SIGFPE, .code = FPE_INTDIV });
	EXPECT_EQ(signal_set_action(&s->process, SIGFPE, NULL, &action), 0);
	EXPECT_EQ(action.handler, SIG_DFL);
	EXPECT_EQ(scene_next(s, 1), SIGFPE);
	scene_end(s);
}

TEST(signal, actions, 0)
{
	struct scene *s = scene_begin();
	struct signal_action action = { .handler = HANDLER, .flags = ~0ull, .mask = ~0ull }, old;

	if (!s)
		return;
	EXPECT_EQ(signal_set_action(&s->process, 0, NULL, &old), -EINVAL);
	EXPECT_EQ(signal_set_action(&s->process, NR_SIGNALS + 1, NULL, &old), -EINVAL);
	EXPECT_EQ(signal_set_action(&s->process, SIGKILL, &action, NULL), -EINVAL);
	EXPECT_EQ(signal_set_action(&s->process, SIGSTOP, &action, NULL), -EINVAL);
	EXPECT_EQ(signal_set_action(&s->process, SIGKILL, NULL, &old), 0);
	EXPECT_EQ(signal_set_action(&s->process, NR_SIGNALS, &action, &old), 0);
	EXPECT_EQ(old.handler, SIG_DFL);
	EXPECT_EQ(signal_set_action(&s->process, NR_SIGNALS, NULL, &old), 0);
	EXPECT_EQ(old.flags, 0xdc000807);	// as Linux 6.18
	EXPECT_EQ(old.mask, 0xfffffffffffbfeff);
	scene_end(s);
}

TEST(signal, alternate_stack, 0)
{
	struct scene *s = scene_begin();
	struct task *t;
	struct user_sigstack k = { .sp = 0x10000, .size = 2047 };

	if (!s)
		return;
	t = &s->tasks[0];
	EXPECT_EQ(signal_set_stack(t, &k, 0x8000), -ENOMEM);
	k.size = 2048;
	k.flags = 4;
	EXPECT_EQ(signal_set_stack(t, &k, 0x8000), -EINVAL);
	k.flags = USER_SS_ONSTACK;
	EXPECT_EQ(signal_set_stack(t, &k, 0x8000), 0);
	EXPECT_EQ(signal_set_stack(t, &k, 0x10000), 0);		// below the stack
	EXPECT_EQ(signal_set_stack(t, &k, 0x10001), -EPERM);
	EXPECT_EQ(signal_set_stack(t, &k, 0x10800), -EPERM);	// its top
	EXPECT_EQ(signal_set_stack(t, &k, 0x10801), 0);
	k.flags = (s32)USER_SS_AUTODISARM;
	EXPECT_EQ(signal_set_stack(t, &k, 0x8000), 0);
	EXPECT_EQ(signal_set_stack(t, &k, 0x10800), 0);		// it is not in use while a handler runs
	k.flags = USER_SS_DISABLE;
	EXPECT_EQ(signal_set_stack(t, &k, 0x8000), 0);
	EXPECT_EQ(t->signals.stack.size, 0);
	scene_end(s);
}
