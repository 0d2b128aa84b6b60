// SPDX-License-Identifier: MIT
// What a task's end leaves in memory: robust lists, well-formed and otherwise, and the word at clear_tid.
#include "lab/test.h"
#include "mm/space.h"
#include "proc/robust.h"
#include "proc/task.h"
#include "tests/proc/futex/sleepers.h"

#define TID 77u
#define WAITERS 0x80000000u
#define DIED 0x40000000u
#define HEAD (BASE + PAGE_SIZE)
#define ENTRY(n) (BASE + 2 * PAGE_SIZE + (n) * 64ull)
#define OFFSET 32			// of the word from its entry
#define WORD_OF(n) (ENTRY(n) + OFFSET)
#define HOLE (BASE + 18 * PAGE_SIZE)

static void put(vaddr_t va, u64 v) { EXPECT_EQ(arch_user_write64(va, v), 0); }

static void put_head(vaddr_t first, u64 offset, vaddr_t pending)
{
	put(HEAD, first);
	put(HEAD + 8, offset);
	put(HEAD + 16, pending);
}

static void put_entry(unsigned n, vaddr_t next, u32 word)
{
	put(ENTRY(n), next);
	put(WORD_OF(n), word);
}

static void end_task(vaddr_t list, vaddr_t clear_tid)
{
	static struct task t;

	t = (struct task){ .tid = TID, .robust_list = list, .clear_tid = clear_tid };
	futex_task_ends(&t);
	EXPECT(!t.robust_list && !t.clear_tid);
}

// The kernel wakes shared futexes: it does not know better.
static void sleep_at(struct sleeper *w, struct space *s, vaddr_t va, u32 expected)
{
	*w = (struct sleeper){ .s = s, .va = va, .bitset = FUTEX_ANY, .shared = true, .expected = expected, .deadline = NO_DEADLINE };
	sleeper_start_as(w, nr_cpus - 1);
	sleeper_asleep(w);
}

TEST(futex, robust_list, 0)
{
	struct space *s = futex_space();
	struct sleeper held, other, pi;

	REQUIRE(s);
	put_head(ENTRY(0), OFFSET, 0);
	put_entry(0, ENTRY(1), TID);			// nobody waits
	put_entry(1, ENTRY(2), TID | WAITERS);
	put_entry(2, ENTRY(3) | 1, (TID + 1) | WAITERS);	// another's
	put_entry(3, HEAD, TID | WAITERS);		// with priority inheritance
	sleep_at(&held, s, WORD_OF(1), TID | WAITERS);
	sleep_at(&other, s, WORD_OF(2), (TID + 1) | WAITERS);
	sleep_at(&pi, s, WORD_OF(3), TID | WAITERS);
	end_task(HEAD, 0);
	EXPECT_EQ(word_read(WORD_OF(0)), DIED);
	EXPECT_EQ(word_read(WORD_OF(1)), DIED | WAITERS);
	EXPECT_EQ(word_read(WORD_OF(2)), (TID + 1) | WAITERS);
	EXPECT_EQ(word_read(WORD_OF(3)), DIED | WAITERS);
	EXPECT_EQ(sleeper_end(&held), 0);
	EXPECT_EQ(futex_waiters(), 2);
	EXPECT_EQ(futex_wake(WORD_OF(2), true, 9, FUTEX_ANY), 1);
	EXPECT_EQ(futex_wake(WORD_OF(3), true, 9, FUTEX_ANY), 1);
	sleeper_end(&other);
	sleeper_end(&pi);
	futex_space_end(s);
}

// Between unlock and wake, and between lock and its entry in the list.
TEST(futex, robust_pending, 0)
{
	struct space *s = futex_space();
	struct sleeper w;

	REQUIRE(s);
	put_head(HEAD, OFFSET, ENTRY(0));
	put_entry(0, 0, 0);
	sleep_at(&w, s, WORD_OF(0), 0);
	end_task(HEAD, 0);
	EXPECT_EQ(sleeper_end(&w), 0);
	EXPECT_EQ(word_read(WORD_OF(0)), 0);

	put_entry(0, 0, TID);
	end_task(HEAD, 0);
	EXPECT_EQ(word_read(WORD_OF(0)), DIED);

	put_head(ENTRY(0), OFFSET, ENTRY(1));		// pending, and in the list: dealt with once, at the end
	put_entry(0, ENTRY(1), TID);
	put_entry(1, HEAD, TID | WAITERS);
	end_task(HEAD, 0);
	EXPECT_EQ(word_read(WORD_OF(0)), DIED);
	EXPECT_EQ(word_read(WORD_OF(1)), DIED | WAITERS);

	put_head(HEAD, OFFSET, ENTRY(0) | 1);		// with priority inheritance, and nobody's: left alone
	put_entry(0, 0, 0);
	sleep_at(&w, s, WORD_OF(0), 0);
	end_task(HEAD, 0);
	EXPECT_EQ(futex_waiters(), 1);
	EXPECT_EQ(futex_wake(WORD_OF(0), true, 9, FUTEX_ANY), 1);
	sleeper_end(&w);
	futex_space_end(s);
}

TEST(futex, robust_garbage, 0)
{
	struct space *s = futex_space();

	REQUIRE(s);
	end_task(HOLE, 0);
	end_task(~0ull, ~0ull);
	end_task(USER_END - 8, USER_END - 2);
	put_head(ENTRY(0), OFFSET, HOLE);
	put_entry(0, ENTRY(0), TID);			// ends nowhere
	end_task(HEAD, HOLE);
	EXPECT_EQ(word_read(WORD_OF(0)), DIED);

	put_head(ENTRY(0), OFFSET, ENTRY(2));
	put_entry(0, HOLE, TID);			// the hole's word cannot be read, which ends the walk
	put_entry(2, 0, TID);
	end_task(HEAD, 0);
	EXPECT_EQ(word_read(WORD_OF(0)), DIED);
	EXPECT_EQ(word_read(WORD_OF(2)), TID);		// also for the one pending, as on Linux

	put_head(ENTRY(0), OFFSET + 2, 0);		// misaligned words
	put_entry(0, HEAD, TID);
	end_task(HEAD, 0);
	EXPECT_EQ(word_read(WORD_OF(0)), TID);
	put_head(ENTRY(0), HOLE - ENTRY(0), 0);		// words that are not there
	end_task(HEAD, 0);
	put_head(ENTRY(0), ~0ull << 50, 0);
	end_task(HEAD, 0);
	EXPECT_EQ(space_protect(s, ALIGN_DOWN(WORD_OF(0), PAGE_SIZE), PAGE_SIZE, PROT_R), 0);
	put_head(ENTRY(0), OFFSET, 0);
	end_task(HEAD, WORD_OF(0));			// not to be written
	EXPECT_EQ(word_read(WORD_OF(0)), TID);
	futex_space_end(s);
}

TEST(futex, clear_tid, 0)
{
	struct space *s = futex_space();
	struct sleeper w;

	REQUIRE(s);
	word_xchg(WORD, TID);
	put(WORD + 8, ~0ull);
	word_xchg(WORD + 4, 5);
	sleep_at(&w, s, WORD, TID);
	end_task(0, WORD);
	EXPECT_EQ(sleeper_end(&w), 0);
	EXPECT_EQ(word_read(WORD), 0);
	EXPECT_EQ(word_read(WORD + 4), 5);	// 32 bits
	futex_space_end(s);
}
