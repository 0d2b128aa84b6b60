// SPDX-License-Identifier: MIT
// Delivery to tasks that run: in which order handlers run, what becomes of the call that was interrupted, that
// nothing is lost between tasks, and that SIGSTOP stops.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "tests/proc/process/help.h"

enum { SYS_RT_SIGPROCMASK = 14, SYS_RT_SIGSUSPEND = 130 };
enum { SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK };
#define SYS_KILL 62
#define REAL_TIME 40
#define DATA BARE_DATA
#define WORD (DATA + 512)	// a futex, 0
#define RESULT (DATA + 520)
#define MASK (DATA + 528)
#define NO_MASK (DATA + 536)	// 0
#define BEGIN(x, script) scripted_begin((x), (script), ARRAY_SIZE(script), NULL, NULL)

static void handle(struct scripted *x, u32 signo, unsigned handler, unsigned restorer, u64 flags)
{
	struct signal_action a = {
		.handler = SCRIPT_AT(BARE_CODE, handler), .flags = flags | SA_RESTORER,
		.restorer = SCRIPT_AT(BARE_CODE, restorer),
	};

	EXPECT_EQ(signal_set_action(x->p, signo, &a, NULL), 0);
}

static void send_signal(struct scripted *x, u32 signo)
{
	EXPECT_EQ(signal_send(x->p, &(struct user_siginfo){ .signo = (s32)signo, .code = SI_USER }), 0);
}

// The first task exists as long as the test keeps it from ending. Is it asleep, with nothing to look at?
static bool sleeps(struct scripted *x)
{
	struct task *t;
	bool yes;

	mutex_lock(&x->p->lock);
	t = list_first(&x->p->tasks, struct task, link);
	yes = READ_ONCE(t->thread->state) == THREAD_SLEEPING && !READ_ONCE(t->user.work);
	mutex_unlock(&x->p->lock);
	return yes;
}

// One frame for each: the first one's handler is the last to run.
TEST(signal, handlers_in_order, 0)
{
	static const struct instruction script[] = {
		WRITE(MASK, SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2) | SIGNAL_BIT(REAL_TIME)),
		CALL(SYS_RT_SIGPROCMASK, SIG_SETMASK, MASK, 0, 8),
		CALL(SYS_KILL, 0, REAL_TIME), CALL(SYS_KILL, 0, SIGUSR2), CALL(SYS_KILL, 0, SIGUSR1),
		CALL(SYS_KILL, 0, SIGUSR1),
		CALL(SYS_RT_SIGPROCMASK, SIG_SETMASK, NO_MASK, 0, 8), STORE(RESULT),
		CALL(SYS_EXIT_GROUP, 0),
		/* 9 */ ADD(DATA, 1), STORE(DATA + 8), RETURN(),
		/* 12 */ ADD(DATA, 2), STORE(DATA + 16), RETURN(),
		/* 15 */ ADD(DATA, 4), STORE(DATA + 24), RETURN(),
		/* 18 */ CALL(SYS_RT_SIGRETURN),
	};
	struct scripted x;

	REQUIRE(BEGIN(&x, script));
	handle(&x, SIGUSR1, 9, 18, 0);
	handle(&x, SIGUSR2, 12, 18, 0);
	handle(&x, REAL_TIME, 15, 18, 0);
	scripted_task(&x, 0);
	EXPECT_EQ(scripted_wait(&x), 0);
	EXPECT_EQ(scripted_count(&x, DATA + 24), 0);
	EXPECT_EQ(scripted_count(&x, DATA + 16), 4);
	EXPECT_EQ(scripted_count(&x, DATA + 8), 4 + 2);
	EXPECT_EQ(scripted_count(&x, DATA), 4 + 2 + 1);	// SIGUSR1 once
	EXPECT_EQ(scripted_count(&x, RESULT), 0);
	scripted_free(&x);
}

// A task waits for a futex; what the wait returns, and how often the handler has run.
static const struct instruction waiting[] = {
	CALL(SYS_FUTEX, WORD, 0, 0, 0), STORE(RESULT), CALL(SYS_EXIT_GROUP, 0),
	/* 3 */ ADD(DATA, 1), RETURN(), /* 5 */ CALL(SYS_RT_SIGRETURN),
};

TEST(signal, interrupted_call, 0)
{
	struct scripted x;

	REQUIRE(BEGIN(&x, waiting));
	handle(&x, SIGUSR1, 3, 5, 0);
	scripted_task(&x, 0);
	EXPECT(EVENTUALLY(sleeps(&x)));
	send_signal(&x, SIGUSR1);
	EXPECT_EQ(scripted_wait(&x), 0);
	EXPECT_EQ((s32)scripted_count(&x, RESULT), -EINTR);
	EXPECT_EQ(scripted_count(&x, DATA), 1);
	scripted_free(&x);
}

// With SA_RESTART the wait begins anew, and finds the word changed when it does so once more.
TEST(signal, restarted_call, 0)
{
	struct scripted x;

	REQUIRE(BEGIN(&x, waiting));
	handle(&x, SIGUSR1, 3, 5, SA_RESTART);
	scripted_task(&x, 0);
	EXPECT(EVENTUALLY(sleeps(&x)));
	send_signal(&x, SIGUSR1);
	EXPECT(EVENTUALLY(scripted_count(&x, DATA) == 1 && sleeps(&x)));
	scripted_tell(&x, WORD, 1);
	send_signal(&x, SIGUSR1);
	EXPECT_EQ(scripted_wait(&x), 0);
	EXPECT_EQ((s32)scripted_count(&x, RESULT), -EAGAIN);
	EXPECT_EQ(scripted_count(&x, DATA), 2);
	scripted_free(&x);
}

// Without a handler the call goes on as if nothing had been.
TEST(signal, call_goes_on_after_a_stop, 0)
{
	struct scripted x;

	REQUIRE(BEGIN(&x, waiting));
	scripted_task(&x, 0);
	EXPECT(EVENTUALLY(sleeps(&x)));
	send_signal(&x, SIGSTOP);
	EXPECT(EVENTUALLY(READ_ONCE(x.p->signals.stopped)));
	scripted_tell(&x, WORD, 1);
	send_signal(&x, SIGCONT);
	EXPECT_EQ(scripted_wait(&x), 0);
	EXPECT_EQ((s32)scripted_count(&x, RESULT), -EAGAIN);
	scripted_free(&x);
}

TEST(signal, suspend, 0)
{
	static const struct instruction script[] = {
		WRITE(MASK, SIGNAL_BIT(SIGUSR1)), CALL(SYS_RT_SIGPROCMASK, SIG_SETMASK, MASK, 0, 8),
		CALL(SYS_KILL, 0, SIGUSR1), CALL(SYS_RT_SIGSUSPEND, NO_MASK, 8), STORE(RESULT),
		CALL(SYS_KILL, 0, SIGUSR1),			// blocked again
		CALL(SYS_EXIT_GROUP, 0),
		/* 7 */ ADD(DATA, 1), RETURN(), /* 9 */ CALL(SYS_RT_SIGRETURN),
	};
	struct scripted x;

	REQUIRE(BEGIN(&x, script));
	handle(&x, SIGUSR1, 7, 9, SA_RESTART);	// which is not for this call
	scripted_task(&x, 0);
	EXPECT_EQ(scripted_wait(&x), 0);
	EXPECT_EQ((s32)scripted_count(&x, RESULT), -EINTR);
	EXPECT_EQ(scripted_count(&x, DATA), 1);
	scripted_free(&x);
}

#define TASKS 3
#define SENT 100
// Tasks that block and unblock a signal all the time, or sleep; each handles what it is given.
static const struct instruction blocking[] = {
	WRITE(MASK, SIGNAL_BIT(REAL_TIME)),
	/* 1 */ CALL(SYS_RT_SIGPROCMASK, SIG_BLOCK, MASK, 0, 8), PAUSE(),
	CALL(SYS_RT_SIGPROCMASK, SIG_UNBLOCK, MASK, 0, 8), PAUSE(), JUMP(1),
	/* 6 */ CALL(SYS_PAUSE), JUMP(6),
	/* 8 */ ADD(DATA, 1), RETURN(), /* 10 */ CALL(SYS_RT_SIGRETURN),
};

static u32 queued(struct scripted *x)
{
	u32 n;

	spin_lock(&x->p->signals.lock);
	n = x->p->signals.queued;
	spin_unlock(&x->p->signals.lock);
	return n;
}

// Sent to the process, each is handled once, whoever blocks it when it comes.
TEST(signal, none_is_lost, 0)
{
	struct scripted x;

	REQUIRE(BEGIN(&x, blocking));
	handle(&x, REAL_TIME, 8, 10, 0);
	for (unsigned i = 0; i < TASKS; i++)
		scripted_task(&x, i ? 1 : 6);
	for (unsigned i = 0; i < SENT; i++)
		send_signal(&x, REAL_TIME);
	EXPECT(EVENTUALLY(scripted_count(&x, DATA) == SENT));
	EXPECT_EQ(queued(&x), 0);
	send_signal(&x, SIGKILL);
	EXPECT_EQ(scripted_wait(&x), SIGKILL);
	EXPECT_EQ(scripted_count(&x, DATA), SENT);
	scripted_free(&x);
}

static const struct instruction counting[] = { /* 0 */ ADD(DATA, 1), JUMP(0) };

static bool all_sleep(struct scripted *x)
{
	bool all = true;

	mutex_lock(&x->p->lock);
	list_for_each(l, &x->p->tasks)
		all &= READ_ONCE(list_entry(l, struct task, link)->thread->state) == THREAD_SLEEPING;
	mutex_unlock(&x->p->lock);
	return all;
}

TEST(signal, stop, 0)
{
	struct scripted x;
	u32 before;

	REQUIRE(BEGIN(&x, counting));
	for (unsigned i = 0; i < TASKS; i++)
		scripted_task(&x, 0);
	EXPECT(EVENTUALLY(scripted_count(&x, DATA) > 0));
	send_signal(&x, SIGSTOP);
	EXPECT(EVENTUALLY(READ_ONCE(x.p->signals.stopped) && all_sleep(&x)));
	before = scripted_count(&x, DATA);
	WHILE_OTHERS_RUN(20)
		cpu_relax();
	EXPECT_EQ(scripted_count(&x, DATA), before);
	send_signal(&x, SIGCONT);
	EXPECT(EVENTUALLY(scripted_count(&x, DATA) != before));
	send_signal(&x, SIGSTOP);
	EXPECT(EVENTUALLY(READ_ONCE(x.p->signals.stopped) && all_sleep(&x)));
	send_signal(&x, SIGKILL);		// also of what is stopped
	EXPECT_EQ(scripted_wait(&x), SIGKILL);
	scripted_free(&x);
}
