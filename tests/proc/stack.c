// SPDX-License-Identifier: MIT
// What a program finds on its stack, read as it would read it.
#include "proc/stack.h"
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/inject.h"
#include "lab/test.h"
#include "mm/frame/slab.h"
#include "mm/space.h"
#include "tests/mm/help.h"
#include <arch/user.h>

#define LONGEST (128u << 10)	// with its zero

static const struct program program = {
	.entry = 0x401000, .headers = 0x400040, .nr_headers = 7, .brk_start = 0x500000,
};
static struct mm_balance balance;

static bool enter(void)
{
	struct space *s;

	mm_balance_begin(&balance);
	s = space_create();
	if (!EXPECT(s))
		return false;
	space_attach(s);
	space_put(s);
	return true;
}

static void leave(void)
{
	space_detach();
	mm_balance_end(&balance);
}

static u64 word_at(vaddr_t va)
{
	u64 v = ~0ull;

	EXPECT_EQ(copy_in(&v, va, sizeof(v)), 0);
	return v;
}

static bool string_at(vaddr_t va, const char *expected)
{
	char text[64];
	size_t n = strlen(expected) + 1;

	return n <= sizeof(text) && !copy_in(text, va, n) && !memcmp(text, expected, n);
}

// The value of that type in the vector at va; it is there once.
static u64 auxiliary(vaddr_t va, u64 type)
{
	u64 value = 0;
	unsigned found = 0;

	for (unsigned i = 0; word_at(va) && i < 64; va += 16, i++) {
		if (word_at(va) != type)
			continue;
		value = word_at(va + 8);
		found++;
	}
	if (found != 1)
		test_fail(__FILE__, __LINE__, "%llu is in the vector %u times", (unsigned long long)type, found);
	return value;
}

static void expect_auxiliary(vaddr_t at, const struct stack_contents *c)
{
	static const struct { u64 type, value; } fixed[] = {
		{ 6, 4096 }, { 17, 100 }, { 3, 0x400040 }, { 4, 56 }, { 5, 7 }, { 7, 0 }, { 8, 0 }, { 9, 0x401000 },
		{ 11, 0 }, { 12, 0 }, { 13, 0 }, { 14, 0 }, { 23, 0 }, { 26, 0 },
	};
	u8 random[16];

	for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
		EXPECT_EQ(auxiliary(at, fixed[i].type), fixed[i].value);
	EXPECT_EQ(auxiliary(at, 16), arch_user_hwcap());
	EXPECT_EQ(auxiliary(at, 51), arch_user_min_sigstack());
	EXPECT(string_at(auxiliary(at, 15), "x86_64") && string_at(auxiliary(at, 31), c->path));
	EXPECT(!copy_in(random, auxiliary(at, 25), 16) && !memcmp(random, c->random, 16));
	EXPECT_EQ(auxiliary(at, 25) % 16, 0);
}

// argc, the strings, and behind them the vector.
static void expect_contents(vaddr_t sp, const struct stack_contents *c)
{
	vaddr_t at = sp;

	EXPECT(sp % 16 == 0 && sp < STACK_TOP && sp > STACK_TOP - STACK_SIZE);
	EXPECT_EQ(word_at(at), c->argc);
	for (unsigned i = 0; i < c->argc; i++)
		EXPECT(string_at(word_at(at += 8), c->argv[i]));
	EXPECT_EQ(word_at(at += 8), 0);
	for (unsigned i = 0; i < c->envc; i++)
		EXPECT(string_at(word_at(at += 8), c->envp[i]));
	EXPECT_EQ(word_at(at += 8), 0);
	expect_auxiliary(at + 8, c);
	EXPECT_EQ(word_at(STACK_TOP - 8), 0);
}

TEST(stack, contents, 0)
{
	static const char *const argv[] = { "prog", "-n", "", "a b" }, *const envp[] = { "PATH=/", "A=", "LANG=C" };
	struct stack_contents c = { .argv = argv, .envp = envp, .path = "/bin/prog", .program = &program };
	vaddr_t sp;

	for (unsigned i = 0; i < 16; i++)
		c.random[i] = (u8)(i * 11 + 3);
	for (c.argc = 0; c.argc <= 4; c.argc++) {		// odd and even numbers of words
		for (c.envc = 0; c.envc <= 3; c.envc++) {
			REQUIRE(enter());
			EXPECT_EQ(stack_build(current->space, &c, &sp), 0);
			expect_contents(sp, &c);
			leave();
		}
	}
}

TEST(stack, memory, 0)
{
	struct stack_contents c = { .path = "p", .program = &program };
	vaddr_t sp;

	REQUIRE(enter());
	EXPECT_EQ(stack_build(current->space, &c, &sp), 0);
	EXPECT_EQ(current->space->mapped, 1);			// the rest gets memory as it grows
	EXPECT_EQ(copy_out(STACK_TOP - STACK_SIZE, "x", 1), 0);
	EXPECT(mm_faults(STACK_TOP) && mm_faults(STACK_TOP - STACK_SIZE - 8));
	EXPECT_EQ(stack_build(current->space, &c, &sp), -EEXIST);
	leave();
}

// n strings of that length, zeroes included: so many bytes at a time.
static int build(const char *s, unsigned n)
{
	const char **argv = kmalloc((n + 1) * sizeof(*argv));
	struct stack_contents c = { .argc = n, .argv = argv, .path = "p", .program = &program };
	vaddr_t sp = 0;
	int err;

	if (!argv)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		argv[i] = s;
	if (!enter())
		return -ENOMEM;
	err = stack_build(current->space, &c, &sp);
	if (!err)
		EXPECT_EQ(word_at(sp), n);
	else
		EXPECT(mm_faults(STACK_TOP - 8));		// nothing was mapped
	leave();
	kfree(argv);
	return err;
}

TEST(stack, limits, 0)
{
	char *s = kmalloc(LONGEST + 1);

	REQUIRE(s);
	memset(s, 'x', LONGEST);
	s[LONGEST] = '\0';
	EXPECT_EQ(build(s, 1), -E2BIG);
	s[LONGEST - 1] = '\0';
	EXPECT_EQ(build(s, 1), 0);
	EXPECT_EQ(build(s, 9), 0);				// more than half of what may be
	EXPECT_EQ(build(s, 16), -E2BIG);			// 2 MiB without their pointers
	EXPECT_EQ(build("", 2000), 0);
	kfree(s);
}

TEST(stack, without_memory, NEEDS_CHECK)
{
	static char path[2 * PAGE_SIZE - 100];		// the strings fill two pages, and the words lie in the next
	struct stack_contents c = { .path = path, .program = &program };
	bool fired = true;
	vaddr_t sp;

	memset(path, 'x', sizeof(path) - 1);
	for (u64 n = 1; fired; n++) {
		REQUIRE(enter());
		inject_alloc_failure(n);
		EXPECT_EQ(stack_build(current->space, &c, &sp), inject_fired() ? -ENOMEM : 0);
		fired = inject_fired();
		inject_alloc_failure(0);
		EXPECT(fired || n > 6);				// region, tables, pages
		leave();
	}
}
