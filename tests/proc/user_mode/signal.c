// SPDX-License-Identifier: MIT
// Signals of a program without a process: its frame comes and goes.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "lab/test.h"
#include "mm/space.h"
#include "tests/proc/bare.h"
#include <arch/pte.h>
#include <arch/uaccess.h>

#define DATA BARE_DATA
#define NR 77
#define SIGRETURN 15
#define HANDLER 6
#define RESTORER 9

static const struct instruction script[] = {
	COUNT(5), SET(1234), /* 2 */ CALL(NR), STORE(DATA), LOOP(5), /* 5 */ CALL(NR + 1),
	/* HANDLER */ ARG(), STORE(DATA + 8), RETURN(),
	/* RESTORER */ CALL(SIGRETURN),
	/* 10 */ COUNT(100), JUMP(HANDLER),
};
static struct bare bare;
static struct user_signal signal;

static u64 word(vaddr_t va)
{
	u64 v = ~0ull;

	EXPECT_EQ(arch_user_read64(va, &v), 0);
	return v;
}

static u64 call(void)
{
	u64 args[6];

	return bare_run(&bare) == USER_CALL ? arch_user_call(&bare.c, args) : 0;
}

// It stands in its first call, and a signal is ready for a handler that begins at that instruction.
static bool begin(unsigned handler)
{
	struct space *s = bare_space(script, ARRAY_SIZE(script));

	if (!s)
		return false;
	signal = (struct user_signal){
		.info = { .signo = 10, .code = -6 }, .handler = SCRIPT_AT(BARE_CODE, handler),
		.restorer = SCRIPT_AT(BARE_CODE, RESTORER), .mask = 0x8000000000000001,
	};
	if (bare_enter(&bare, s, 0)) {
		arch_user_set_sp(&bare.c, BARE_STACK_TOP - 1024);
		if (EXPECT_EQ(call(), NR))
			return true;
		bare_leave(&bare);
	}
	space_put(s);
	return false;
}

static void end(void)
{
	bare_leave(&bare);
	space_put(bare.s);
}

// The handler runs and returns; then all is as it was, and goes on behind the call.
static void there_and_back(vaddr_t sp)
{
	struct user_sigstack stack = { 0 };
	u64 mask = 0;

	EXPECT_EQ(call(), SIGRETURN);
	EXPECT_EQ(word(DATA + 8), 10);
	EXPECT_EQ(arch_user_pop_signal(&bare.c, &mask, &stack), 0);
	EXPECT(mask == signal.mask && stack.sp == signal.stack.sp && stack.size == signal.stack.size);
	EXPECT(arch_user_sp(&bare.c) == sp && arch_user_result(&bare.c) == 55);
	EXPECT_EQ(call(), NR + 1);
	EXPECT_EQ(word(DATA), 55);
}

TEST(user_mode, signal_and_return, 0)
{
	vaddr_t sp;

	REQUIRE(begin(10));		// a handler that changes the loop's count
	sp = arch_user_sp(&bare.c);
	for (vaddr_t i = 8; i <= 128; i += 8)
		EXPECT(!arch_user_write64(sp - i, ~i));
	arch_user_set_result(&bare.c, 55);
	EXPECT_EQ(arch_user_push_signal(&bare.c, &signal), 0);
	EXPECT(arch_user_sp(&bare.c) < sp - 128);
	there_and_back(sp);
	for (vaddr_t i = 8; i <= 128; i += 8)
		EXPECT_EQ(word(sp - i), ~i);	// the red zone
	end();
}

TEST(user_mode, signal_on_another_stack, 0)
{
	vaddr_t sp, low = BARE_DATA + 2 * PAGE_SIZE;

	REQUIRE(begin(HANDLER));
	sp = arch_user_sp(&bare.c);
	arch_user_set_result(&bare.c, 55);
	signal.stack = (struct user_sigstack){ .sp = low, .size = 2 * PAGE_SIZE };
	signal.use_stack = true;
	EXPECT_EQ(arch_user_push_signal(&bare.c, &signal), 0);
	EXPECT(user_on_sigstack(&signal.stack, arch_user_sp(&bare.c)));
	EXPECT(arch_user_sp(&bare.c) + arch_user_min_sigstack() >= low + 2 * PAGE_SIZE);
	there_and_back(sp);
	end();
}

// Signals while handlers run on that stack go below each other, until one does not fit. Then all return.
TEST(user_mode, signals_on_the_same_stack, 0)
{
	struct user_sigstack stack;
	vaddr_t sp, lowest;
	unsigned n = 0;
	u64 mask;

	REQUIRE(begin(HANDLER));
	sp = arch_user_sp(&bare.c);
	signal.stack = (struct user_sigstack){ .sp = BARE_DATA + 2 * PAGE_SIZE, .size = 3 * arch_user_min_sigstack() };
	signal.use_stack = true;
	do {
		lowest = arch_user_sp(&bare.c);
		EXPECT(n == 0 || user_on_sigstack(&signal.stack, lowest));
	} while (!arch_user_push_signal(&bare.c, &signal) && ++n < 100);
	EXPECT(n >= 2 && n < 100 && arch_user_sp(&bare.c) == lowest);
	for (unsigned i = 0; i < n; i++) {
		EXPECT_EQ(call(), SIGRETURN);
		EXPECT_EQ(arch_user_pop_signal(&bare.c, &mask, &stack), 0);
	}
	EXPECT_EQ(arch_user_sp(&bare.c), sp);
	end();
}

// No room: nothing has changed.
TEST(user_mode, signal_without_stack, 0)
{
	vaddr_t sp[] = { 0, 64, BARE_DATA + 512, USER_END + PAGE_SIZE, 1ull << 63, BARE_STACK_TOP - BARE_STACK_LEN };

	REQUIRE(begin(HANDLER));
	arch_user_set_result(&bare.c, 55);
	EXPECT_EQ(space_protect(bare.s, BARE_DATA, PAGE_SIZE, PROT_R), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(sp); i++) {
		arch_user_set_sp(&bare.c, sp[i]);
		EXPECT_EQ(arch_user_push_signal(&bare.c, &signal), -EFAULT);
		EXPECT(arch_user_sp(&bare.c) == sp[i] && arch_user_result(&bare.c) == 55);
	}
	end();
}

TEST(user_mode, signal_return_from_nowhere, 0)
{
	vaddr_t sp[] = { 0, 8, BARE_DATA - 64, USER_END - 8, USER_END + 8, 1ull << 63, ~0ull, BARE_STACK_TOP };
	struct user_sigstack stack;
	u64 mask;

	REQUIRE(begin(HANDLER));
	for (unsigned i = 0; i < ARRAY_SIZE(sp); i++) {
		arch_user_set_sp(&bare.c, sp[i]);
		EXPECT_EQ(arch_user_pop_signal(&bare.c, &mask, &stack), -EFAULT);
		EXPECT_EQ(arch_user_sp(&bare.c), sp[i]);
	}
	end();
}
