// SPDX-License-Identifier: MIT
// User mode by itself: what a program does there, why it ends, and how it goes on.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "lab/test.h"
#include "mm/space.h"
#include "proc/signal.h"
#include "tests/mm/help.h"
#include "tests/proc/bare.h"
#include "tests/proc/user_mode/spinner.h"
#include <arch/pte.h>
#include <arch/uaccess.h>

#define DATA BARE_DATA
#define PAGE(n) (BARE_DATA + (n) * PAGE_SIZE)
#define NR 77		// of a system call that nobody looks at
#define NOWHERE 0x20000000000ull
#define KERNEL 0xffff800000000000ull
#define LAST (USER_END - PAGE_SIZE - 1)	// the last page of the user half is nobody's

static struct bare bare;

// The script, ready to run. False: failed.
static bool begin(const struct instruction *script, unsigned n)
{
	struct space *s = bare_space(script, n);

	if (!s)
		return false;
	if (bare_enter(&bare, s, 0))
		return true;
	space_put(s);
	return false;
}
#define BEGIN(script) REQUIRE(begin((script), ARRAY_SIZE(script)))

static void end(void)
{
	bare_leave(&bare);
	space_put(bare.s);
}

static u64 word(vaddr_t va)
{
	u64 v = ~0ull;

	EXPECT_EQ(arch_user_read64(va, &v), 0);
	return v;
}

TEST(user_mode, memory, 0)
{
	static const struct instruction script[] = {
		WRITE(DATA, 0x1122334455667788), READ(DATA), STORE(PAGE(1)),
		WRITE(PAGE(2) - 4, 0xaabbccdd11223344), READ(PAGE(2) - 4), STORE(PAGE(1) + 8),
		SET(40), STORE(PAGE(3)), ADD(PAGE(3), 2), STORE(PAGE(3) + 8), CALL(NR),
	};

	BEGIN(script);
	EXPECT_EQ(bare_run(&bare), USER_CALL);
	EXPECT(word(DATA) == 0x1122334455667788 && word(PAGE(1)) == word(DATA));
	EXPECT(word(PAGE(1) + 8) == 0xaabbccdd11223344 && (u32)word(PAGE(2)) == 0xaabbccdd);
	EXPECT(word(PAGE(3)) == 42 && word(PAGE(3) + 8) == 40);
	end();
}

TEST(user_mode, jumps_and_loops, 0)
{
	static const struct instruction script[] = {
		COUNT(1000), /* 1 */ ADD(DATA, 3), LOOP(1), IF_EQ(2997, 5), TRAP(),
		/* 5 */ IF_NE(2997, 4), IF_NE(0, 8), TRAP(),
		/* 8 */ IF_EQ(0, 7), PAUSE(), JUMP(12), TRAP(), /* 12 */ CALL(NR),
	};

	BEGIN(script);
	EXPECT_EQ(bare_run(&bare), USER_CALL);
	EXPECT_EQ(word(DATA), 3000);
	end();
}

TEST(user_mode, system_call, 0)
{
	static const struct instruction script[] = {
		SET(1ull << 40), CALL_ACC(NR, 3, 1, ~0ull, 3, 4, 5, 1ull << 63), STORE(DATA),
		CALL(1ull << 32), STORE(DATA + 8), CALL(NR),
	};
	u64 a[6] = { 0 };

	BEGIN(script);
	EXPECT(bare_run(&bare) == USER_CALL && arch_user_call(&bare.c, a) == NR);
	EXPECT(a[0] == 1 && a[1] == ~0ull && a[2] == 3 && a[3] == 1ull << 40 && a[4] == 5 && a[5] == 1ull << 63);
	arch_user_set_result(&bare.c, -EAGAIN);
	EXPECT_EQ(arch_user_result(&bare.c), -EAGAIN);
	EXPECT(bare_run(&bare) == USER_CALL && arch_user_call(&bare.c, a) == 1ull << 32);
	EXPECT_EQ(word(DATA), (u64)-EAGAIN);
	arch_user_set_result(&bare.c, 5);
	EXPECT_EQ(bare_run(&bare), USER_CALL);
	EXPECT_EQ(word(DATA + 8), 5);
	end();
}

// The call is made again as it was, then under another number; then the program goes on behind it.
TEST(user_mode, call_made_again, 0)
{
	static const struct instruction script[] = { CALL(NR, 1, 2, 3, 4, 5, 6), STORE(DATA), CALL(NR + 1) };
	u64 a[6] = { 0 };

	BEGIN(script);
	EXPECT_EQ(bare_run(&bare), USER_CALL);
	arch_user_set_result(&bare.c, -512);
	arch_user_restart(&bare.c);
	EXPECT(bare_run(&bare) == USER_CALL && arch_user_call(&bare.c, a) == NR && a[0] == 1 && a[3] == 4 && a[5] == 6);
	arch_user_restart_as(&bare.c, 219);
	EXPECT(bare_run(&bare) == USER_CALL && arch_user_call(&bare.c, a) == 219);
	EXPECT(a[0] == 1 && a[3] == 4 && a[5] == 6);
	arch_user_set_result(&bare.c, 9);
	EXPECT(bare_run(&bare) == USER_CALL && arch_user_call(&bare.c, a) == NR + 1);
	EXPECT_EQ(word(DATA), 9);
	end();
}

// It ends by a page fault at that address, before the instruction has had any effect.
static void faults(unsigned at, vaddr_t va, bool write, bool exec)
{
	struct user_fault *f = &bare.c.fault;

	bare.c.fault = (struct user_fault){ .signal = 1 };
	EXPECT_EQ(bare_run(&bare), USER_FAULT);
	EXPECT_EQ(f->signal, 0);
	EXPECT_EQ(f->addr, va);
	EXPECT(f->write == write && f->exec == exec && !f->from_call && f->trap == 14);
	if (!exec)
		EXPECT_EQ(bare_at(&bare), at);
}

// The one behind is the next to run.
static void skip(unsigned to)
{
	u64 sp = arch_user_sp(&bare.c);

	current->user = NULL;		// until it is whole again the scheduler saves nothing of it
	arch_user_free(&bare.c);
	REQUIRE(arch_user_init(&bare.c, SCRIPT_AT(BARE_CODE, to), sp));
	current->user = &bare.c;
}

TEST(user_mode, page_faults, 0)
{
	static const struct instruction script[] = {
		READ(NOWHERE), WRITE(NOWHERE, 1), ADD(NOWHERE, 1),
		READ(BARE_DATA + BARE_DATA_LEN - 4), WRITE(PAGE(1), 1), READ(PAGE(1)),
		READ(KERNEL), WRITE(KERNEL, 1), /* 8 */ READ(PAGE(2)), CALL(NR),
	};

	BEGIN(script);
	EXPECT_EQ(space_protect(bare.s, PAGE(1), PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(space_protect(bare.s, PAGE(2), PAGE_SIZE, 0), 0);
	faults(0, NOWHERE, false, false);
	skip(1);
	faults(1, NOWHERE, true, false);
	faults(1, NOWHERE, true, false);	// it stays where it is
	skip(2);
	// A write, to a processor. QEMU with one CPU reads first, and the read faults.
	EXPECT_EQ(bare_run(&bare), USER_FAULT);
	EXPECT(bare.c.fault.addr == NOWHERE && !bare.c.fault.exec && bare_at(&bare) == 2);
	skip(3);
	faults(3, BARE_DATA + BARE_DATA_LEN, false, false);
	skip(4);
	faults(4, PAGE(1), true, false);
	skip(6);
	faults(6, KERNEL, false, false);
	skip(7);
	faults(7, KERNEL, true, false);
	skip(8);
	faults(8, PAGE(2), false, false);
	EXPECT_EQ(space_protect(bare.s, PAGE(2), PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(bare_run(&bare), USER_CALL);	// the same access again
	end();
}

// To where no code is, by way of the stack.
TEST(user_mode, jumps_to_nowhere, 0)
{
	static const struct instruction script[] = { WRITE(BARE_STACK_TOP - 8, NOWHERE), RETURN() };

	BEGIN(script);
	arch_user_set_sp(&bare.c, BARE_STACK_TOP - 8);
	faults(0, NOWHERE, false, true);
	EXPECT(arch_user_pc(&bare.c) == NOWHERE && arch_user_sp(&bare.c) == BARE_STACK_TOP);
	end();
}

TEST(user_mode, undefined_instruction, 0)
{
	static const struct instruction script[] = { WRITE(DATA, 1), TRAP() };

	BEGIN(script);
	EXPECT_EQ(bare_run(&bare), USER_FAULT);
	EXPECT(bare.c.fault.signal == SIGILL && bare.c.fault.code == ILL_ILLOPN && bare_at(&bare) == 1);
	EXPECT_EQ(bare.c.fault.addr, arch_user_pc(&bare.c));
	end();
}

// The copy goes on behind the call, in which it finds 0; the original is not touched.
TEST(user_mode, copy, 0)
{
	static const struct instruction script[] = {
		COUNT(7), CALL(NR), IF_EQ(0, 6), STORE(DATA), LOOP(3), CALL(NR + 1),
		/* 6 */ ADD(DATA + 8, 1), LOOP(6), CALL(NR + 2),
	};
	static struct bare copy;
	u64 a[6] = { 0 };

	BEGIN(script);
	EXPECT(bare_run(&bare) == USER_CALL && arch_user_set_tls(&bare.c, DATA) == 0);
	REQUIRE(arch_user_copy(&copy.c, &bare.c));
	EXPECT_EQ(arch_user_tls(&copy.c), DATA);
	arch_user_set_result(&bare.c, 33);
	EXPECT(bare_run(&bare) == USER_CALL && arch_user_call(&bare.c, a) == NR + 1);
	EXPECT(word(DATA) == 33 && !word(DATA + 8));
	current->user = &copy.c;
	EXPECT(bare_run(&copy) == USER_CALL && arch_user_call(&copy.c, a) == NR + 2 && word(DATA + 8) == 7);
	current->user = &bare.c;
	arch_user_free(&copy.c);
	end();
}

TEST(user_mode, thread_pointers, 0)
{
	static const struct instruction script[] = { CALL(NR) };

	BEGIN(script);
	EXPECT(!arch_user_set_tls(&bare.c, LAST) && arch_user_tls(&bare.c) == LAST);
	EXPECT(!arch_user_set_gs(&bare.c, DATA) && arch_user_gs(&bare.c) == DATA);
	EXPECT_EQ(arch_user_set_tls(&bare.c, LAST + 1), -EPERM);
	EXPECT_EQ(arch_user_set_tls(&bare.c, USER_END), -EPERM);
	EXPECT_EQ(arch_user_set_gs(&bare.c, 1ull << 63), -EPERM);
	EXPECT_EQ(bare_run(&bare), USER_CALL);
	EXPECT(arch_user_tls(&bare.c) == LAST && arch_user_gs(&bare.c) == DATA);
	end();
}

// Work that is there already: no instruction is executed.
TEST(user_mode, work_before, 0)
{
	static const struct instruction script[] = { WRITE(DATA, 1), CALL(NR) };

	BEGIN(script);
	bare.c.work = 1;
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(bare_run(&bare), USER_INTERRUPT);
	EXPECT(bare_at(&bare) == 0 && word(DATA) == 0);
	bare.c.work = 0;
	EXPECT(bare_run(&bare) == USER_CALL && word(DATA) == 1);
	end();
}

TEST(user_mode, ends_for_work, NEEDS_CPUS2)
{
	REQUIRE(spinner_start(mm_other_cpu(0)));
	fetch_or(&spinner.bare.c.work, 2u);
	thread_kick(spinner.thread);
	EXPECT_EQ(spinner_end(), USER_INTERRUPT);
}

// A program that never calls does not keep its CPU: the one who ends it runs there, too.
TEST(user_mode, is_preempted, 0)
{
	REQUIRE(spinner_start(cpu_id()));
	EXPECT(!arch_user_write64(SPINNER_GO, 1));
	EXPECT_EQ(spinner_end(), USER_CALL);
}
