// SPDX-License-Identifier: MIT
// How processes end: by their last task, all at once, by a fault; and that nothing of them is left.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "tests/proc/process/help.h"

#define TASKS 4
#define DATA BARE_DATA
#define GO (BARE_DATA + 64)
#define NOWHERE 0x20000000000ull
#define BEGIN(x, script) scripted_begin((x), (script), ARRAY_SIZE(script), NULL, NULL)

// TASKS tasks that begin with that instruction.
static void start_all(struct scripted *x, unsigned first)
{
	for (unsigned i = 0; i < TASKS; i++)
		scripted_task(x, first);
}

TEST(process, exit_code, 0)
{
	static const struct instruction script[] = { WRITE(DATA, 5), CALL(SYS_EXIT, 0x107), TRAP() };
	struct mm_balance b;
	struct scripted x;

	mm_balance_begin(&b);
	REQUIRE(BEGIN(&x, script));
	scripted_task(&x, 0);
	EXPECT_EQ(scripted_wait(&x), 7 << 8);
	EXPECT_EQ(scripted_count(&x, DATA), 5);
	scripted_free(&x);
	mm_balance_end(&b);
}

// It lives as long as one task does, and each has executed all of its script.
TEST(process, last_task_ends_it, 0)
{
	static const struct instruction script[] = {
		READ(GO), IF_EQ(0, 0), COUNT(50), /* 3 */ ADD(DATA, 1), LOOP(3), CALL(SYS_EXIT, 0), TRAP(),
	};
	u64 processes = process_count();
	struct mm_balance b;
	struct scripted x;

	mm_balance_begin(&b);
	REQUIRE(BEGIN(&x, script));
	EXPECT_EQ(process_count(), processes + 1);
	start_all(&x, 0);
	scripted_tell(&x, GO, 1);
	EXPECT_EQ(scripted_wait(&x), 0);
	EXPECT_EQ(scripted_count(&x, DATA), 50 * TASKS);
	EXPECT_EQ(process_count(), processes);
	scripted_free(&x);
	mm_balance_end(&b);
}

// All but one spin, and would for ever.
static const struct instruction spin_and_end[] = {
	ADD(DATA, 1), /* 1 */ PAUSE(), JUMP(1),
	/* 3 */ READ(DATA), IF_NE(TASKS, 3), CALL(SYS_EXIT_GROUP, 0x103), TRAP(),
	/* 7 */ READ(DATA), IF_NE(TASKS, 7), READ(NOWHERE), TRAP(),
	/* 11 */ READ(DATA), IF_NE(TASKS, 11), TRAP(),
	/* 14 */ READ(DATA), IF_NE(TASKS, 14), WRITE(BARE_CODE - 8, 1), TRAP(),
};

static void ends_while_others_run(unsigned first, int status)
{
	struct mm_balance b;
	struct scripted x;

	mm_balance_begin(&b);
	REQUIRE(BEGIN(&x, spin_and_end));
	start_all(&x, 0);
	scripted_task(&x, first);
	EXPECT_EQ(scripted_wait(&x), status);
	EXPECT_EQ(scripted_count(&x, DATA), TASKS);
	scripted_free(&x);
	mm_balance_end(&b);
}

TEST(process, exit_group_while_others_run, 0) { ends_while_others_run(3, 3 << 8); }
TEST(process, fault_kills, 0) { ends_while_others_run(7, SIGSEGV); }
TEST(process, undefined_instruction_kills, 0) { ends_while_others_run(11, SIGILL); }
TEST(process, write_fault_kills, 0) { ends_while_others_run(14, SIGSEGV); }

// From outside, wherever its tasks are: in user mode, asleep in calls, in faults without end.
TEST(process, is_ended_wherever_it_is, 0)
{
	static const struct instruction script[] = {
		ADD(DATA, 1), /* 1 */ JUMP(1),
		/* 2 */ ADD(DATA, 1), /* 3 */ CALL(SYS_PAUSE), JUMP(3),
		/* 5 */ ADD(DATA, 1), /* 6 */ CALL(SYS_FUTEX, DATA + 128, 0, 0), JUMP(6),
		/* 8 */ ADD(DATA, 1), /* 9 */ CALL(SYS_NANOSLEEP, DATA + 192, 0), JUMP(9),
		/* 11 */ ADD(DATA, 1), READ(NOWHERE), TRAP(), /* 14 */ RETURN(), CALL(SYS_RT_SIGRETURN),
		/* 16 */ ADD(DATA, 1), /* 17 */ CALL(999), JUMP(17),
	};
	static const u8 first[] = { 0, 2, 5, 8, 11, 16 };
	struct mm_balance b;
	struct scripted x;

	mm_balance_begin(&b);
	REQUIRE(BEGIN(&x, script));
	scripted_handler(&x, SIGSEGV, 14, 15);
	scripted_tell(&x, DATA + 192, 3600);	// an hour
	for (unsigned i = 0; i < ARRAY_SIZE(first); i++)
		scripted_task(&x, first[i]);
	EXPECT(EVENTUALLY(scripted_count(&x, DATA) == ARRAY_SIZE(first)));
	process_end(x.p, 9 << 8);
	process_end(x.p, 1 << 8);		// the first counts
	EXPECT_EQ(scripted_wait(&x), 9 << 8);
	scripted_free(&x);
	mm_balance_end(&b);
}

// A process that has begun to end gets no more tasks.
TEST(process, no_task_after_its_end, 0)
{
	static const struct instruction script[] = { ADD(DATA, 1), /* 1 */ JUMP(1) };
	struct mm_balance b;
	struct scripted x;
	struct task *t;

	mm_balance_begin(&b);
	REQUIRE(BEGIN(&x, script));
	scripted_task(&x, 0);
	t = task_create(x.p, NULL);
	REQUIRE(t);
	EXPECT(arch_user_init(&t->user, BARE_CODE, BARE_STACK_TOP));
	process_end(x.p, 0);
	EXPECT_EQ(task_start(t), -EAGAIN);
	task_discard(t);
	EXPECT_EQ(scripted_wait(&x), 0);
	scripted_free(&x);
	mm_balance_end(&b);
}

// A task makes others, which make others; all of them count.
TEST(process, tree_of_tasks, 0)
{
	static const struct instruction script[] = {
		COUNT(3), /* 1 */ CALL(SYS_CLONE, CLONE_THREAD_FLAGS), IF_EQ(0, 6), LOOP(1),
		ADD(DATA, 1), CALL(SYS_EXIT, 0),
		/* 6 */ ADD(DATA + 4, 1), COUNT(2), /* 8 */ CALL(SYS_CLONE, CLONE_THREAD_FLAGS), IF_EQ(0, 11), LOOP(8),
		/* 11 */ ADD(DATA, 1), CALL(SYS_EXIT, 0), TRAP(),
	};
	struct mm_balance b;
	struct scripted x;

	mm_balance_begin(&b);
	REQUIRE(BEGIN(&x, script));
	scripted_task(&x, 0);
	EXPECT_EQ(scripted_wait(&x), 0);
	EXPECT_EQ(scripted_count(&x, DATA), 1 + 3 + 6);
	EXPECT_EQ(scripted_count(&x, DATA + 4), 3);
	scripted_free(&x);
	mm_balance_end(&b);
}

// Each task gets a signal of its own while it spins, and goes on after it.
TEST(process, signals_reach_spinning_tasks, 0)
{
	static const struct instruction script[] = {
		ADD(DATA, 1), /* 1 */ SET(0x1234567), /* 2 */ IF_NE(0x1234567, 8), READ(GO), IF_EQ(0, 1),
		CALL(SYS_EXIT, 0), TRAP(),
		/* 7 */ JUMP(7), TRAP(),
		/* 9 */ ARG(), IF_NE(SIGUSR1, 8), ADD(DATA + 4, 1), RETURN(), /* 13 */ CALL(SYS_RT_SIGRETURN), TRAP(),
	};
	struct user_siginfo info = { .signo = SIGUSR1 };
	struct mm_balance b;
	struct scripted x;

	mm_balance_begin(&b);
	REQUIRE(BEGIN(&x, script));
	scripted_handler(&x, SIGUSR1, 9, 13);
	start_all(&x, 0);
	EXPECT(EVENTUALLY(scripted_count(&x, DATA) == TASKS));
	mutex_lock(&x.p->lock);
	list_for_each(it, &x.p->tasks)
		EXPECT_EQ(signal_send_task(list_entry(it, struct task, link), &info), 0);
	mutex_unlock(&x.p->lock);
	EXPECT(EVENTUALLY(scripted_count(&x, DATA + 4) == TASKS));
	scripted_tell(&x, GO, 1);
	EXPECT_EQ(scripted_wait(&x), 0);
	scripted_free(&x);
	mm_balance_end(&b);
}
