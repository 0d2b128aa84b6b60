// SPDX-License-Identifier: MIT
// The memory of a process changes under its tasks, under each safe pair. Each task writes to pages of its own and finds
// its stamps there, or zeroes; where nothing is mapped for a while, its SIGSEGV's handler has it try again.
#include "kernel/lib.h"
#include "mm/flush/flush.h"
#include "mm/policy/verdict.h"
#include "mm/space.h"
#include "tests/proc/process/help.h"
#include <arch/pte.h>

#define TASKS 3
#define ROUNDS 24
#define AREA_LEN level_size(2)
#define AREA(i) (0x30000000000ull + (u64)(i) * AREA_LEN)	// a task's own; the last is common to all
#define ELSEWHERE AREA(100)
#define GO(i) (BARE_DATA + 64 * (i))
#define LAST 11		// what it does when it has been told to go
#define STEPS 13	// of a task's script
#define BAD 12
#define HANDLER (TASKS * STEPS)

static struct instruction script[HANDLER + 2];

static void write_script(void)
{
	static const struct instruction handler[] = { RETURN(), CALL(SYS_RT_SIGRETURN) };

	for (u64 i = 0; i < TASKS; i++) {
		u64 to = i * STEPS, first = AREA(i), second = AREA(i + 1) - 8, stamp = 0x5a5a000000000000 + i;
		const struct instruction task[STEPS] = {
			WRITE(first, stamp), READ(first), IF_EQ(stamp, to + 4), IF_NE(0, to + BAD),
			/* 4 */ ADD(AREA(TASKS), 1),
			/* 5 */ WRITE(second, ~stamp), READ(second), IF_EQ(~stamp, to + 9), IF_NE(0, to + BAD),
			/* 9 */ READ(GO(i)), IF_EQ(0, to), CALL(SYS_EXIT, 0), /* BAD */ TRAP(),
		};

		memcpy(&script[to], task, sizeof(task));
	}
	memcpy(&script[HANDLER], handler, sizeof(handler));
}

static int map_again(struct space *s, vaddr_t va, unsigned flags)
{
	int error = space_unmap(s, va, AREA_LEN);

	return error ? error : space_map(s, va, AREA_LEN, RW, 1, flags);
}

static int protect_for_a_while(struct space *s, vaddr_t va, unsigned prot)
{
	int error = space_protect(s, va, AREA_LEN, prot);

	return error ? error : space_protect(s, va, AREA_LEN, RW);
}

static int there_and_back(struct space *s, vaddr_t va)
{
	int error = space_move(s, va, ELSEWHERE, AREA_LEN);

	return error ? error : space_move(s, ELSEWHERE, va, AREA_LEN);
}

static int change(struct space *s, vaddr_t va, u64 how)
{
	switch (how % 6) {
	case 0: return space_discard(s, va, AREA_LEN);
	case 1: return map_again(s, va, 0);
	case 2: return map_again(s, va, MAP_POPULATE);
	case 3: return protect_for_a_while(s, va, PROT_R);
	case 4: return protect_for_a_while(s, va, 0);
	default: return there_and_back(s, va);
	}
}

static void change_something(struct scripted *x, u64 *random)
{
	u64 r = rand_next(random);

	EXPECT_EQ(change(x->s, AREA(r / 8 % (TASKS + 1)), r >> 32), 0);
	thread_yield();
}

// All tasks run.
static bool storm_begin(struct scripted *x, const struct table_policy *p, const struct flush_backend *b)
{
	if (!scripted_begin(x, script, ARRAY_SIZE(script), p, b))
		return false;
	scripted_handler(x, SIGSEGV, HANDLER, HANDLER + 1);
	for (unsigned i = 0; i <= TASKS; i++)
		EXPECT_EQ(space_map(x->s, AREA(i), AREA_LEN, RW, 1, 0), 0);
	for (unsigned i = 0; i < TASKS; i++)
		scripted_task(x, i * STEPS);
	return true;
}

static void storm_end(struct scripted *x, int status, const struct table_policy *p, const struct flush_backend *b)
{
	if (!EXPECT_EQ(scripted_wait(x), status))
		log_error("under %s and %s", p->name, b->name);
	scripted_free(x);
}

static void storm(const struct table_policy *p, const struct flush_backend *b, u64 *random)
{
	struct scripted x;

	REQUIRE(storm_begin(&x, p, b));
	for (unsigned i = 0; i < ROUNDS; i++)
		change_something(&x, random);
	for (unsigned i = 0; i < TASKS; i++)
		scripted_tell(&x, GO(i), 1);
	storm_end(&x, 0, p, b);
}

TEST(process, memory_changes_under_each_pair, NEEDS_SLOW_OK)
{
	u64 random = test_seed();
	struct mm_balance b;

	write_script();
	mm_balance_begin(&b);
	FOR_EACH_POLICY(p)
		FOR_EACH_BACKEND(f)
			if (pair_verdict(*p, *f).safe && !flush_missing(*f))
				storm(*p, *f, &random);
	mm_balance_end(&b);
}

// One task ends all, by this instruction, and the memory goes on changing meanwhile.
static void ends_in_the_storm(const struct instruction *last, int status)
{
	u64 random = test_seed();
	struct mm_balance b;
	struct scripted x;

	write_script();
	script[LAST] = *last;
	mm_balance_begin(&b);
	FOR_EACH_POLICY(p) {
		if (!pair_verdict(*p, flush_find("ipi")).safe)
			continue;
		REQUIRE(storm_begin(&x, *p, flush_find("ipi")));
		change_something(&x, &random);
		scripted_tell(&x, GO(0), 1);
		while (!READ_ONCE(x.p->ending))
			change_something(&x, &random);
		for (unsigned i = 0; i < ROUNDS / 4; i++)
			change_something(&x, &random);
		storm_end(&x, status, *p, flush_find("ipi"));
	}
	mm_balance_end(&b);
}

TEST(process, exit_group_in_the_storm, 0)
{
	static const struct instruction last = CALL(SYS_EXIT_GROUP, 6);

	ends_in_the_storm(&last, 6 << 8);
}

TEST(process, killed_in_the_storm, 0)
{
	static const struct instruction last = TRAP();

	ends_in_the_storm(&last, SIGILL);
}
