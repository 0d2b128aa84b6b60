// SPDX-License-Identifier: MIT
// Tasks change their memory by system calls, all at once, under each safe pair. Each has two areas of its own, in which
// it checks what it finds after each call. One more is common to all; where that is missing for a while, the handler of
// SIGSEGV has the task try again.
#include "kernel/lib.h"
#include "lab/oracle.h"
#include "mm/policy/verdict.h"
#include "mm/space.h"
#include "tests/proc/process/help.h"
#include <arch/pte.h>

enum {
	SYS_MMAP = 9, SYS_MPROTECT = 10, SYS_MUNMAP = 11, SYS_MREMAP = 25, SYS_MADVISE = 28,
	ANONYMOUS_FIXED = 0x32,		// MAP_PRIVATE, too
	MOVE_FIXED = 3,			// MREMAP_MAYMOVE | MREMAP_FIXED
	DONTNEED = 4,			// MADV_DONTNEED
};
#define TASKS 3
#define TURNS 8
#define LEN (2 * PAGE_SIZE)
#define AREA(i) (0x30000000000ull + (u64)(i) * level_size(2))	// tables of its own
#define COMMON AREA(64)
#define MAP(va) CALL(SYS_MMAP, (va), LEN, RW, ANONYMOUS_FIXED, ~0ull, 0)

#define BAD (TASKS * STEPS)
#define HANDLER (BAD + 1)
#define STEPS 37
static struct instruction script[HANDLER + 2];

// The task's private part: map, use, discard, move, protect, unmap. Then the common one, which task 0 also takes away.
static void write_task(u64 i)
{
	u64 to = i * STEPS, stamp = 0x5a5a000000000000 + i;
	vaddr_t here = AREA(2 * i), there = AREA(2 * i + 1), second = here + PAGE_SIZE;
	bool first = i == 0;
	const struct instruction task[STEPS] = {
		COUNT(TURNS),
		/* 1 */ MAP(here), IF_NE(here, BAD), WRITE(here, stamp), WRITE(second, ~stamp),
		/* 5 */ READ(here), IF_NE(stamp, BAD),
		/* 7 */ CALL(SYS_MADVISE, here, PAGE_SIZE, DONTNEED), IF_NE(0, BAD), READ(here), IF_NE(0, BAD),
		/* 11 */ READ(second), IF_NE(~stamp, BAD), WRITE(here, stamp),
		/* 14 */ CALL(SYS_MREMAP, here, LEN, LEN, MOVE_FIXED, there), IF_NE(there, BAD),
		/* 16 */ READ(there), IF_NE(stamp, BAD),
		/* 18 */ CALL(SYS_MPROTECT, there, LEN, PROT_R), IF_NE(0, BAD),
		/* 20 */ READ(there + PAGE_SIZE), IF_NE(~stamp, BAD),
		/* 22 */ CALL(SYS_MUNMAP, there, LEN), IF_NE(0, BAD), ADD(COMMON, 1),
		/* 25 */ CALL(SYS_MADVISE, COMMON, LEN, first ? DONTNEED : 0), JUMP(to + (first ? 27 : 33)),
		/* 27 */ CALL(SYS_MUNMAP, COMMON, LEN), IF_NE(0, BAD), MAP(COMMON), IF_NE(COMMON, BAD),
		/* 31 */ CALL(SYS_MPROTECT, COMMON, LEN, 0), CALL(SYS_MPROTECT, COMMON, LEN, RW),
		/* 33 */ ADD(COMMON + PAGE_SIZE, 1), LOOP(to + 1), CALL(SYS_EXIT, 0), TRAP(),
	};

	memcpy(&script[to], task, sizeof(task));
}

static void write_script(void)
{
	static const struct instruction rest[] = { TRAP(), /* HANDLER */ RETURN(), CALL(SYS_RT_SIGRETURN) };

	for (u64 i = 0; i < TASKS; i++)
		write_task(i);
	memcpy(&script[BAD], rest, sizeof(rest));
}

static void storm(const struct table_policy *p, const struct flush_backend *b)
{
	struct scripted x;

	REQUIRE(scripted_begin(&x, script, ARRAY_SIZE(script), p, b));
	scripted_handler(&x, SIGSEGV, HANDLER, HANDLER + 1);
	EXPECT_EQ(space_map(x.s, COMMON, LEN, RW, 1, 0), 0);
	for (unsigned i = 0; i < TASKS; i++)
		scripted_task(&x, i * STEPS);
	if (!EXPECT_EQ(scripted_wait(&x), 0))
		log_error("under %s and %s", p->name, b->name);
	scripted_free(&x);
}

TEST(process, memory_calls_under_each_pair, NEEDS_SLOW_OK)
{
	u64 violations = oracle_violations();
	struct mm_balance b;

	write_script();
	mm_balance_begin(&b);
	FOR_EACH_POLICY(p)
		FOR_EACH_BACKEND(f)
			if (pair_verdict(*p, *f).safe && !flush_missing(*f))
				storm(*p, *f);
	mm_balance_end(&b);
	EXPECT_EQ(oracle_violations(), violations);
}
