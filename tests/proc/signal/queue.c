// SPDX-License-Identifier: MIT
// What is pending: in which order, how often, with what data.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/inject.h"
#include "tests/proc/signal/help.h"

#define HANDLER 0x401000
#define REAL_TIME 40

TEST(signal, order, 0)
{
	static const u32 sent[] = { REAL_TIME, SIGTERM, SIGUSR1, SIGSEGV, SIGHUP, SIGILL, SIGKILL };
	static const u32 due[] = { SIGKILL, SIGILL, SIGSEGV, SIGHUP, SIGUSR1, SIGTERM, REAL_TIME, 0 };
	struct scene *s = scene_begin();

	if (!s)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(sent); i++)
		EXPECT_EQ(scene_send(s, sent[i]), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(due); i++)
		EXPECT_EQ(scene_next(s, 0), due[i]);
	EXPECT(!kicked(s, 0));
	scene_end(s);
}

// Its own come before its process's; of its own, its fault.
TEST(signal, fault_first, 0)
{
	struct scene *s = scene_begin();

	if (!s)
		return;
	EXPECT_EQ(scene_send(s, SIGHUP), 0);
	EXPECT_EQ(scene_send_to(s, 0, SIGILL), 0);
	EXPECT_EQ(scene_send_to(s, 0, SIGUSR2), 0);
	signal_fault(&s->tasks[0], &(struct user_fault){ .addr = 0x10, .trap = 14 });
	EXPECT_EQ(scene_next(s, 0), SIGSEGV);
	EXPECT_EQ(scene_next(s, 0), SIGILL);
	EXPECT_EQ(scene_next(s, 0), SIGUSR2);
	EXPECT_EQ(scene_next(s, 0), SIGHUP);
	EXPECT_EQ(scene_next(s, 0), 0);
	scene_end(s);
}

static void expect_data(struct scene *s, u64 set, s32 pid, u64 value)
{
	struct user_siginfo info = { 0 };

	EXPECT(signal_take(&s->tasks[0], set, &info));
	EXPECT_EQ(info.from.pid, pid);
	EXPECT_EQ(info.from.value, value);
}

TEST(signal, standard_once_real_time_queued, 0)
{
	struct scene *s = scene_begin();

	if (!s)
		return;
	for (u64 v = 1; v <= 3; v++) {
		EXPECT_EQ(scene_send_value(s, SIGUSR1, v), 0);
		EXPECT_EQ(scene_send_value(s, REAL_TIME, v), 0);
	}
	EXPECT_EQ(s->process.signals.queued, 4);
	expect_data(s, SIGNAL_BIT(SIGUSR1), 7, 1);	// the first one's
	for (u64 v = 1; v <= 3; v++)
		expect_data(s, SIGNAL_BIT(REAL_TIME), 7, v);
	EXPECT_EQ(signal_pending(&s->tasks[0]), 0);
	scene_end(s);
}

static void fill(struct scene *s)
{
	for (u32 i = 0; i < SIGNALS_QUEUED_MAX; i++)
		REQUIRE(!scene_send_value(s, REAL_TIME, i));
}

// Beyond the bound nothing is lost in silence but the data of a signal for which its number is enough.
TEST(signal, bound, 0)
{
	struct scene *s = scene_begin();

	if (!s)
		return;
	fill(s);
	EXPECT_EQ(scene_send_value(s, REAL_TIME, 9), -EAGAIN);
	EXPECT_EQ(scene_send_value(s, REAL_TIME + 1, 9), -EAGAIN);
	EXPECT_EQ(scene_send_to(s, 0, REAL_TIME + 2), -EAGAIN);
	EXPECT_EQ(scene_send(s, REAL_TIME + 3), 0);
	EXPECT_EQ(scene_send_value(s, SIGUSR1, 9), 0);
	EXPECT_EQ(scene_send(s, SIGUSR2), 0);
	EXPECT_EQ(s->process.signals.queued, SIGNALS_QUEUED_MAX + 1);	// SIGUSR2 is kill()'s
	expect_data(s, SIGNAL_BIT(SIGUSR1), 0, 0);
	expect_data(s, SIGNAL_BIT(SIGUSR2), 7, 0);
	expect_data(s, SIGNAL_BIT(REAL_TIME + 3), 0, 0);
	EXPECT_EQ(signal_pending(&s->tasks[0]), SIGNAL_BIT(REAL_TIME));
	expect_data(s, SIGNAL_BIT(REAL_TIME), 7, 0);
	EXPECT_EQ(scene_send_value(s, REAL_TIME, 9), 0);			// there is room again
	scene_end(s);
}

TEST(signal, no_memory, NEEDS_CHECK)
{
	struct scene *s = scene_begin();

	if (!s)
		return;
	inject_alloc_failures_from(1);
	EXPECT_EQ(scene_send_value(s, REAL_TIME, 9), -EAGAIN);
	EXPECT_EQ(scene_send(s, SIGUSR1), 0);
	signal_fault(&s->tasks[0], &(struct user_fault){ .addr = 0x10, .trap = 14 });
	inject_alloc_failures_from(0);
	EXPECT_EQ(signal_pending(&s->tasks[0]), SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGSEGV));
	expect_data(s, SIGNAL_BIT(SIGUSR1), 0, 0);
	expect_data(s, SIGNAL_BIT(SIGSEGV), 0x10, 0);	// the fault's address: it needs no memory
	scene_end(s);
}

TEST(signal, ignored, 0)
{
	struct scene *s = scene_begin();

	if (!s)
		return;
	EXPECT_EQ(scene_send(s, SIGCHLD), 0);
	EXPECT_EQ(scene_send_to(s, 0, SIGWINCH), 0);
	EXPECT_EQ(signal_pending(&s->tasks[0]), 0);
	scene_set_handler(s, SIGCHLD, HANDLER);
	EXPECT_EQ(scene_send(s, SIGCHLD), 0);
	EXPECT_EQ(signal_pending(&s->tasks[0]), SIGNAL_BIT(SIGCHLD));
	scene_set_handler(s, SIGCHLD, SIG_DFL);		// discards it
	EXPECT_EQ(signal_pending(&s->tasks[0]), 0);
	signal_set_blocked(&s->tasks[0], SIGNAL_BIT(SIGUSR1));
	scene_set_handler(s, SIGUSR1, SIG_IGN);
	EXPECT_EQ(scene_send_to(s, 0, SIGUSR1), 0);		// blocked, it stays: a handler may come
	EXPECT_EQ(signal_pending(&s->tasks[0]), SIGNAL_BIT(SIGUSR1));
	scene_set_handler(s, SIGUSR1, SIG_IGN);
	EXPECT_EQ(signal_pending(&s->tasks[0]), 0);
	scene_end(s);
}

TEST(signal, stop_and_continue_discard_each_other, 0)
{
	struct scene *s = scene_begin();

	if (!s)
		return;
	scene_set_handler(s, SIGCONT, HANDLER);
	EXPECT_EQ(scene_send_to(s, 1, SIGTSTP), 0);
	EXPECT_EQ(scene_send(s, SIGSTOP), 0);
	s->process.signals.stopped = true;
	EXPECT_EQ(scene_send(s, SIGCONT), 0);
	EXPECT(!s->process.signals.stopped);
	EXPECT_EQ(signal_pending(&s->tasks[1]), SIGNAL_BIT(SIGCONT));
	EXPECT_EQ(scene_send_to(s, 2, SIGTTIN), 0);
	EXPECT_EQ(signal_pending(&s->tasks[1]), 0);
	s->process.signals.stopped = true;
	EXPECT_EQ(scene_send(s, SIGKILL), 0);
	EXPECT(!s->process.signals.stopped);
	EXPECT_EQ(signal_pending(&s->tasks[2]), SIGNAL_BIT(SIGKILL));
	scene_end(s);
}

// A program reads all of them, so none may be what was on the kernel's stack.
TEST(signal, every_byte_is_set, 0)
{
	struct scene *s = scene_begin();
	struct user_siginfo info;
	u64 sum = 0;

	if (!s)
		return;
	memset(&info, 0xaa, sizeof(info));
	signal_fault(&s->tasks[0], &(struct user_fault){ .trap = 14 });
	EXPECT_EQ(signal_take(&s->tasks[0], ~0ull, &info), SIGSEGV);
	for (unsigned i = 0; i < sizeof(info.bytes); i++)
		sum += info.bytes[i];
	memset(&info, 0xaa, sizeof(info));
	signal_force_segv(&s->tasks[0], NULL);
	EXPECT_EQ(signal_take(&s->tasks[0], ~0ull, &info), SIGSEGV);
	for (unsigned i = 0; i < sizeof(info.bytes); i++)
		sum += info.bytes[i];
	EXPECT_EQ(sum, 0);
	scene_end(s);
}
