// SPDX-License-Identifier: MIT
// Futexes, one call at a time: keys, comparisons, who is woken and in what order, requeues, FUTEX_WAKE_OP. The numbers are
// what Linux 6.18 returns. Races are in futex/race.c.
#include "kernel/errno.h"
#include "lab/test.h"
#include "mm/space.h"
#include "tests/proc/futex/sleepers.h"

#define READ_ONLY (BASE + 16 * PAGE_SIZE)
#define NO_ACCESS (BASE + 17 * PAGE_SIZE)
#define HOLE (BASE + 18 * PAGE_SIZE)
#define ABSENT (BASE + 20 * PAGE_SIZE)	// mapped, not present

static struct space *space_with_corners(void)
{
	struct space *s = futex_space();

	if (!s)
		return NULL;
	EXPECT_EQ(space_map(s, READ_ONLY, PAGE_SIZE, PROT_R, 1, 0), 0);
	EXPECT_EQ(space_map(s, NO_ACCESS, PAGE_SIZE, 0, 1, 0), 0);
	EXPECT_EQ(space_map(s, ABSENT, 4 * PAGE_SIZE, RW, 1, 0), 0);
	return s;
}

static s64 wake_any(vaddr_t va, bool shared) { return futex_wake(va, shared, 1, FUTEX_ANY); }
static s64 wait_past(vaddr_t va, bool shared, u32 expected) { return futex_wait(va, shared, expected, FUTEX_ANY, 0); }

TEST(futex, addresses, 0)
{
	struct space *s = space_with_corners();

	REQUIRE(s);
	for (int shared = 0; shared < 2; shared++) {
		EXPECT_EQ(wake_any(WORD + 1, shared), -EINVAL);
		EXPECT_EQ(wake_any(WORD + 2, shared), -EINVAL);
		EXPECT_EQ(wake_any(USER_END, shared), -EFAULT);
		EXPECT_EQ(wake_any(USER_END - 4, shared), -EFAULT);
		EXPECT_EQ(wake_any(~3ull, shared), -EFAULT);
		EXPECT_EQ(wake_any(WORD, shared), 0);
		EXPECT_EQ(wake_any(ABSENT, shared), 0);
		EXPECT_EQ(wake_any(HOLE, shared), shared ? -EFAULT : 0);
		EXPECT_EQ(wake_any(NO_ACCESS, shared), shared ? -EFAULT : 0);
		EXPECT_EQ(wake_any(READ_ONLY, shared), shared ? -EFAULT : 0);
		EXPECT_EQ(wait_past(HOLE, shared, 0), -EFAULT);
		EXPECT_EQ(wait_past(NO_ACCESS, shared, 0), -EFAULT);
		EXPECT_EQ(wait_past(READ_ONLY, shared, 0), shared ? -EFAULT : -ETIMEDOUT);
	}
	EXPECT_EQ(futex_waiters(), 0);
	EXPECT_EQ(space_unmap(s, READ_ONLY, 8 * PAGE_SIZE), 0);
	futex_space_end(s);
}

// A word whose page is not there is faulted in, then compared.
TEST(futex, wait_compares, 0)
{
	struct space *s = space_with_corners();

	REQUIRE(s);
	EXPECT_EQ(wait_past(WORD, false, 1), -EAGAIN);
	EXPECT_EQ(wait_past(WORD, true, 1), -EAGAIN);
	EXPECT_EQ(wait_past(WORD, false, 0), -ETIMEDOUT);
	EXPECT_EQ(wait_past(ABSENT, false, 1), -EAGAIN);
	EXPECT_EQ(wait_past(ABSENT + PAGE_SIZE, false, 0), -ETIMEDOUT);
	EXPECT_EQ(wait_past(ABSENT + 2 * PAGE_SIZE, true, 0), -ETIMEDOUT);
	EXPECT_EQ(word_xchg(WORD, 5), 0);
	EXPECT_EQ(wait_past(WORD, false, 0), -EAGAIN);
	EXPECT_EQ(wait_past(WORD, false, 5), -ETIMEDOUT);
	EXPECT_EQ(futex_wait(WORD, false, 5, 0, 0), -EINVAL);
	EXPECT_EQ(futex_wake(WORD, false, 1, 0), -EINVAL);
	futex_space_end(s);
}

static unsigned asleep(struct sleeper *w, unsigned n)
{
	unsigned sleeping = 0;

	for (unsigned i = 0; i < n; i++)
		sleeping += w[i].t && READ_ONCE(w[i].t->state) == THREAD_SLEEPING;
	return sleeping;
}

static void start_all(struct sleeper *w, unsigned n, struct space *s, vaddr_t va)
{
	for (unsigned i = 0; i < n; i++) {
		sleeper_start(&w[i], s, va, i % nr_cpus);
		sleeper_asleep(&w[i]);
	}
}

TEST(futex, wakes_in_order, 0)
{
	struct space *s = futex_space();
	struct sleeper w[6];

	REQUIRE(s);
	start_all(w, ARRAY_SIZE(w), s, WORD);
	EXPECT_EQ(futex_waiters(), 6);
	EXPECT_EQ(wake_any(WORD2, false), 0);
	EXPECT_EQ(futex_wake(WORD, false, 0, FUTEX_ANY), 1);	// at least one
	EXPECT_EQ(sleeper_end(&w[0]), 0);
	EXPECT_EQ(futex_wake(WORD, false, -5, FUTEX_ANY), 1);
	EXPECT_EQ(sleeper_end(&w[1]), 0);
	EXPECT_EQ(futex_wake(WORD, false, 2, FUTEX_ANY), 2);
	EXPECT_EQ(sleeper_end(&w[2]), 0);
	EXPECT_EQ(sleeper_end(&w[3]), 0);
	EXPECT_EQ(asleep(w, 6), 2);
	EXPECT_EQ(futex_wake(WORD, true, INT32_MAX, FUTEX_ANY), 0);	// private waiters are none of a shared futex's
	EXPECT_EQ(futex_wake(WORD, false, INT32_MAX, FUTEX_ANY), 2);
	EXPECT_EQ(sleeper_end(&w[4]), 0);
	EXPECT_EQ(sleeper_end(&w[5]), 0);
	EXPECT_EQ(futex_wake(WORD, false, 1, FUTEX_ANY), 0);
	futex_space_end(s);
}

TEST(futex, bitsets_select, 0)
{
	struct space *s = futex_space();
	struct sleeper w[3];

	REQUIRE(s);
	for (unsigned i = 0; i < ARRAY_SIZE(w); i++) {
		w[i] = (struct sleeper){ .s = s, .va = WORD, .bitset = 1u << i, .deadline = NO_DEADLINE };
		sleeper_start_as(&w[i], i % nr_cpus);
		sleeper_asleep(&w[i]);
	}
	EXPECT_EQ(futex_wake(WORD, false, 9, 8), 0);
	EXPECT_EQ(futex_wake(WORD, false, 9, 2 | 8), 1);
	EXPECT_EQ(sleeper_end(&w[1]), 0);
	EXPECT_EQ(futex_wake(WORD, false, 1, 4 | 1), 1);
	EXPECT_EQ(sleeper_end(&w[0]), 0);
	EXPECT_EQ(futex_wake(WORD, false, 1, FUTEX_ANY), 1);
	EXPECT_EQ(sleeper_end(&w[2]), 0);
	futex_space_end(s);
}

// The same address in another space is another futex.
TEST(futex, spaces_are_apart, 0)
{
	struct space *s = futex_space(), *t;
	struct sleeper w;

	REQUIRE(s);
	sleeper_start(&w, s, WORD, nr_cpus - 1);
	sleeper_asleep(&w);
	space_detach();
	t = futex_space();
	if (t) {
		EXPECT_EQ(futex_wake(WORD, false, 9, FUTEX_ANY), 0);
		EXPECT_EQ(futex_wake(WORD, true, 9, FUTEX_ANY), 0);
		space_detach();
		space_put(t);
	}
	space_attach(s);
	EXPECT_EQ(wake_any(WORD, false), 1);
	EXPECT_EQ(sleeper_end(&w), 0);
	futex_space_end(s);
}

TEST(futex, deadline, 0)
{
	struct space *s = futex_space();
	struct sleeper w = { .s = s, .va = WORD, .bitset = FUTEX_ANY };

	REQUIRE(s);
	w.deadline = now_ns() + 2 * tick_ns();
	sleeper_start_as(&w, nr_cpus - 1);
	EXPECT_EQ(sleeper_end(&w), -ETIMEDOUT);
	EXPECT(now_ns() >= w.deadline);
	EXPECT_EQ(wake_any(WORD, false), 0);
	futex_space_end(s);
}

TEST(futex, requeue, 0)
{
	struct space *s = futex_space();
	struct sleeper w[6];
	u32 zero = 0, one = 1;

	REQUIRE(s);
	start_all(w, ARRAY_SIZE(w), s, WORD);
	EXPECT_EQ(futex_requeue(WORD, WORD2, false, -1, 1, NULL), -EINVAL);
	EXPECT_EQ(futex_requeue(WORD, WORD2, false, 1, -1, NULL), -EINVAL);
	EXPECT_EQ(futex_requeue(WORD, WORD2, false, 1, 1, &one), -EAGAIN);
	EXPECT_EQ(futex_requeue(WORD, WORD2, false, 0, 0, NULL), 0);
	EXPECT_EQ(futex_requeue(WORD2, WORD, false, 1, 1, NULL), 0);
	EXPECT_EQ(futex_requeue(WORD, WORD2, false, 1, 2, &zero), 3);	// 0 is woken, 1 and 2 are moved
	EXPECT_EQ(sleeper_end(&w[0]), 0);
	EXPECT_EQ(futex_waiters(), 5);
	EXPECT_EQ(futex_wake(WORD2, false, 1, FUTEX_ANY), 1);
	EXPECT_EQ(sleeper_end(&w[1]), 0);
	EXPECT_EQ(futex_requeue(WORD, WORD, false, 0, 9, &zero), 3);	// 3, 4, 5: to where they are
	EXPECT_EQ(futex_requeue(WORD, WORD2, false, 0, INT32_MAX, NULL), 3);	// behind 2
	EXPECT_EQ(wake_any(WORD, false), 0);
	for (unsigned i = 2; i < ARRAY_SIZE(w); i++) {
		EXPECT_EQ(wake_any(WORD2, false), 1);
		EXPECT_EQ(sleeper_end(&w[i]), 0);
	}
	futex_space_end(s);
}

TEST(futex, requeue_addresses, 0)
{
	struct space *s = space_with_corners();
	u32 zero = 0;

	REQUIRE(s);
	EXPECT_EQ(futex_requeue(WORD, WORD2 + 2, false, 1, 1, &zero), -EINVAL);
	EXPECT_EQ(futex_requeue(WORD, HOLE, true, 1, 1, NULL), -EFAULT);
	EXPECT_EQ(futex_requeue(WORD, HOLE, false, 1, 1, NULL), 0);
	EXPECT_EQ(futex_requeue(NO_ACCESS, WORD, false, 1, 1, NULL), 0);
	EXPECT_EQ(futex_requeue(NO_ACCESS, WORD, false, 1, 1, &zero), -EFAULT);
	EXPECT_EQ(futex_requeue(ABSENT, WORD, false, 1, 1, &zero), 0);	// faulted in
	EXPECT_EQ(futex_requeue(WORD, READ_ONLY, true, 1, 1, NULL), -EFAULT);
	EXPECT_EQ(futex_waiters(), 0);
	futex_space_end(s);
}

enum { SET, ADD, OR, ANDN, XOR, SHIFTED = 8 };
enum { EQ, NE, LT, LE, GT, GE };
static u32 fop(u32 op, u32 arg, u32 cmp, u32 cmparg) { return op << 28 | cmp << 24 | (arg & 0xfff) << 12 | (cmparg & 0xfff); }

TEST(futex, wake_op_computes, 0)
{
	static const struct { u32 before, op, arg, after; } ops[] = {
		{ 7, SET, 5, 5 }, { 7, ADD, 5, 12 }, { 6, OR, 3, 7 }, { 7, ANDN, 2, 5 }, { 6, XOR, 3, 5 },
		{ 7, SET, 0xfff, ~0u }, { 7, ADD, 0x800, 7 - 2048 },		// 12 bits, signed
		{ 7, SET | SHIFTED, 4, 16 }, { 7, SET | SHIFTED, 33, 2 }, { 7, XOR | SHIFTED, 31, 1u << 31 | 7 },
	};
	struct space *s = space_with_corners();

	REQUIRE(s);
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		word_xchg(WORD2, ops[i].before);
		EXPECT_EQ(futex_wake_op(WORD, WORD2, i % 2, 1, 1, fop(ops[i].op, ops[i].arg, EQ, 0)), 0);
		EXPECT_EQ(word_read(WORD2), ops[i].after);
	}
	word_xchg(WORD2, 7);
	EXPECT_EQ(futex_wake_op(WORD, WORD2, false, 1, 1, fop(5, 5, EQ, 0)), -ENOSYS);
	EXPECT_EQ(word_read(WORD2), 7);
	EXPECT_EQ(futex_wake_op(WORD, WORD2, false, 1, 1, fop(ADD, 5, 6, 0)), -ENOSYS);
	EXPECT_EQ(word_read(WORD2), 12);	// and yet
	EXPECT_EQ(futex_wake_op(WORD, READ_ONLY, false, 1, 1, fop(ADD, 5, EQ, 0)), -EFAULT);
	EXPECT_EQ(futex_wake_op(WORD, NO_ACCESS, false, 1, 1, fop(5, 5, EQ, 0)), -ENOSYS);
	EXPECT_EQ(futex_wake_op(WORD, NO_ACCESS, true, 1, 1, fop(5, 5, EQ, 0)), -EFAULT);
	EXPECT_EQ(futex_wake_op(WORD, HOLE, false, 1, 1, fop(OR, 5, 9, 0)), -EFAULT);
	EXPECT_EQ(futex_wake_op(WORD, ABSENT, false, 1, 1, fop(ADD, 3, EQ, 0)), 0);
	EXPECT_EQ(word_read(ABSENT), 3);
	futex_space_end(s);
}

TEST(futex, wake_op_wakes, 0)
{
	static const struct { u32 old, cmp, arg; bool holds; } cases[] = {
		{ 5, EQ, 5, true }, { 5, EQ, 6, false }, { 5, NE, 6, true }, { 5, NE, 5, false },
		{ -3u, LT, 0, true }, { 0, LT, 0, false }, { 0, LE, 0, true }, { 1, LE, 0, false },
		{ 0, GT, 0xfff, true }, { -1u, GT, 0xfff, false }, { -1u, GE, 0xfff, true }, { -2u, GE, 0xfff, false },
	};
	struct space *s = futex_space();
	struct sleeper w[2];

	REQUIRE(s);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		bool holds = cases[i].holds;

		word_xchg(WORD2, 0);
		for (unsigned k = 0; k < 2; k++) {
			sleeper_start(&w[k], s, k ? WORD2 : WORD, k % nr_cpus);
			sleeper_asleep(&w[k]);
		}
		word_xchg(WORD2, cases[i].old);
		EXPECT_EQ(futex_wake_op(WORD, WORD2, false, 9, 9, fop(ADD, 1, cases[i].cmp, cases[i].arg)), 1 + holds);
		EXPECT_EQ(word_read(WORD2), cases[i].old + 1);
		EXPECT_EQ(futex_wake(WORD2, false, 9, FUTEX_ANY), !holds);
		EXPECT_EQ(sleeper_end(&w[0]), 0);
		EXPECT_EQ(sleeper_end(&w[1]), 0);
	}
	futex_space_end(s);
}
