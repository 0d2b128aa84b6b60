// SPDX-License-Identifier: MIT
// Copies from and to user memory: what is not there, what may not be touched, what changes in the middle.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/space.h"
#include "tests/mm/help.h"
#include <arch/uaccess.h>

#define PAGES 3
#define LEN (PAGES * PAGE_SIZE)
#define SENTINEL 0x5a

static u8 in[LEN + 2], out[LEN + 2];	// too large for a stack

static u8 pattern(u64 i) { return (u8)(i * 7 + i / 251 + 1); }

static bool all_are(const u8 *p, size_t n, u8 v)
{
	while (n && *p == v)
		p++, n--;
	return !n;
}

// A space of PAGES pages at BASE, none present, in which the calling thread runs. False: failed.
static bool enter(struct space **s)
{
	*s = space_create();
	if (!EXPECT(*s))
		return false;
	space_attach(*s);
	return EXPECT_EQ(space_map(*s, BASE, LEN, RW, 1, 0), 0);
}

static void leave(struct space *s)
{
	space_detach();
	space_put(s);
}

// One size at one address, whose pages are not present: out, in, zeroes. Nobody touches a byte beside them.
static void there_and_back(struct space *s, vaddr_t va, size_t n)
{
	bool ok;

	ok = EXPECT_EQ(space_discard(s, BASE, LEN), 0);
	for (size_t i = 0; i < n; i++)
		out[i] = pattern(i);
	memset(in, SENTINEL, n + 2);
	ok &= !copy_out(va, out, n) && !copy_in(in, va - 1, n + 2);
	ok &= in[0] == 0 && !memcmp(in + 1, out, n) && in[n + 1] == 0;
	memset(in, SENTINEL, n + 2);
	ok &= !copy_in(in + 1, va, n) && in[0] == SENTINEL && !memcmp(in + 1, out, n) && in[n + 1] == SENTINEL;
	ok &= !copy_out(va - 1, in, n + 2) && !clear_out(va, n) && !copy_in(in, va - 1, n + 2);
	ok &= in[0] == SENTINEL && all_are(in + 1, n, 0) && in[n + 1] == SENTINEL;
	if (!ok)
		test_fail(__FILE__, __LINE__, "%zu bytes at 0x%llx", n, (unsigned long long)va);
}

TEST(copy, every_size_and_place, 0)
{
	struct space *s;

	if (enter(&s))
		for (size_t n = 0; n <= 24; n++)
			for (vaddr_t va = BASE + PAGE_SIZE - 25; va <= BASE + PAGE_SIZE + 1; va++)
				there_and_back(s, va, n);
	there_and_back(s, BASE + 1, LEN - 2);
	there_and_back(s, BASE + 8, PAGE_SIZE);
	leave(s);
}

// The middle page is not mapped.
TEST(copy, hole, 0)
{
	vaddr_t hole = BASE + PAGE_SIZE, end = hole + PAGE_SIZE;
	struct space *s;

	REQUIRE(enter(&s));
	EXPECT_EQ(space_unmap(s, hole, PAGE_SIZE), 0);
	for (size_t n = 1; n <= 9; n++) {	// so many bytes of it
		EXPECT_EQ(copy_in(in, hole - 16, 16 + n), -EFAULT);
		EXPECT_EQ(copy_out(hole - 16, out, 16 + n), -EFAULT);
		EXPECT_EQ(clear_out(hole - 16, 16 + n), -EFAULT);
		EXPECT_EQ(copy_in(in, end - n, 16 + n), -EFAULT);
		EXPECT_EQ(copy_out(end - n, out, 16 + n), -EFAULT);
		EXPECT_EQ(clear_out(end - n, 16 + n), -EFAULT);
	}
	EXPECT_EQ(copy_in(in, BASE, LEN), -EFAULT);
	memset(out, SENTINEL, LEN);
	EXPECT_EQ(copy_out(BASE, out, LEN), -EFAULT);
	EXPECT(!copy_in(in, end, PAGE_SIZE) && all_are(in, PAGE_SIZE, 0));	// it came no further than the hole
	EXPECT(!copy_out(BASE, out, PAGE_SIZE) && !clear_out(end, PAGE_SIZE));	// its edges
	leave(s);
}

TEST(copy, read_only, 0)
{
	struct space *s;
	u32 old;

	REQUIRE(enter(&s));
	memset(out, SENTINEL, LEN);
	EXPECT_EQ(copy_out(BASE, out, LEN), 0);
	EXPECT_EQ(space_protect(s, BASE + PAGE_SIZE, PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(copy_out(BASE + PAGE_SIZE, in, 16), -EFAULT);
	EXPECT_EQ(clear_out(BASE, LEN), -EFAULT);
	EXPECT_EQ(arch_user_cmpxchg32(BASE + PAGE_SIZE, 0, 1, &old), -EFAULT);	// also where nothing would be stored
	EXPECT(!copy_in(in, BASE + PAGE_SIZE, 2 * PAGE_SIZE) && all_are(in, 2 * PAGE_SIZE, SENTINEL));
	EXPECT_EQ(space_protect(s, BASE + PAGE_SIZE, PAGE_SIZE, 0), 0);
	EXPECT_EQ(copy_in(in, BASE + PAGE_SIZE, 16), -EFAULT);
	EXPECT_EQ(copy_in_string((char *)in, BASE + PAGE_SIZE, 16), -EFAULT);
	EXPECT_EQ(arch_user_read32(BASE + PAGE_SIZE, &old), -EFAULT);
	leave(s);
}

// The call may not touch [va, va + n).
static void refused(vaddr_t va, size_t n)
{
	u32 old;

	if (copy_in(in, va, n) != -EFAULT || copy_out(va, out, n) != -EFAULT || clear_out(va, n) != -EFAULT)
		test_fail(__FILE__, __LINE__, "%zu bytes at 0x%llx", n, (unsigned long long)va);
	if (n != sizeof(old))
		return;
	EXPECT_EQ(arch_user_read32(va, &old), -EFAULT);
	EXPECT_EQ(arch_user_cmpxchg32(va, 0, 1, &old), -EFAULT);
}

// The first and the last page of the user half are there; the rest of 64 bits is not the program's.
TEST(copy, edges_of_the_user_half, 0)
{
	static const vaddr_t bad[] = {
		USER_END, USER_END + 8, 1ull << 48, 1ull << 63, ~0ull << 47, -PAGE_SIZE, -4ull, ~0ull,
	};
	struct space *s;

	REQUIRE(enter(&s));
	EXPECT(!space_map(s, 0, PAGE_SIZE, RW, 1, 0) && !space_map(s, USER_END - PAGE_SIZE, PAGE_SIZE, RW, 1, 0));
	EXPECT(!copy_out(USER_END - PAGE_SIZE, out, PAGE_SIZE) && !copy_in(in, 0, PAGE_SIZE));
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		refused(bad[i], 1);
		refused(bad[i], 4);
		refused(bad[i], 8);
		refused(bad[i], -bad[i]);		// up to the last byte of all
		refused(bad[i], -bad[i] + 8);		// and around it, to the page at 0
		EXPECT_EQ(copy_in_string((char *)in, bad[i], 8), -EFAULT);
	}
	for (size_t n = 1; n < 16; n++)
		refused(USER_END - 8, 8 + n);
	refused(0, ~0ull);
	refused(8, ~0ull);
	refused(USER_END - 8, ~0ull);
	refused((uintptr_t)out, 16);			// the kernel's own memory
	leave(s);
}

TEST(copy, nothing_is_always_there, 0)
{
	static const vaddr_t any[] = { 0, BASE - 8, BASE, USER_END - 1, USER_END, USER_END + 1, 1ull << 63, ~0ull };
	struct space *s;

	REQUIRE(enter(&s));
	for (unsigned i = 0; i < ARRAY_SIZE(any); i++)
		EXPECT(!copy_in(NULL, any[i], 0) && !copy_out(any[i], NULL, 0) && !clear_out(any[i], 0));
	leave(s);
}

// A string ends at its zero, even if nothing is mapped behind.
TEST(copy, string, 0)
{
	static const char name[] = "a name";
	vaddr_t end = BASE + LEN, va = end - sizeof(name);
	char got[16];
	struct space *s;

	REQUIRE(enter(&s));
	memset(got, SENTINEL, sizeof(got));
	EXPECT_EQ(copy_out(va, name, sizeof(name)), 0);
	EXPECT_EQ(copy_in_string(got, va, sizeof(got)), sizeof(name) - 1);
	EXPECT(!memcmp(got, name, sizeof(name)) && got[sizeof(name)] == SENTINEL);
	EXPECT_EQ(copy_in_string(got, va, sizeof(name)), sizeof(name) - 1);
	EXPECT_EQ(copy_in_string(got, va, sizeof(name) - 1), -ERANGE);
	EXPECT_EQ(copy_in_string(got, va, 0), -ERANGE);
	EXPECT_EQ(copy_in_string(got, end - 1, sizeof(got)), 0);
	EXPECT_EQ(copy_out(end - 1, "x", 1), 0);	// no zero before the end of what is mapped
	EXPECT_EQ(copy_in_string(got, va, sizeof(got)), -EFAULT);
	EXPECT_EQ(copy_in_string(got, va, sizeof(name)), -ERANGE);
	EXPECT_EQ(copy_in_string(got, end, sizeof(got)), -EFAULT);
	EXPECT_EQ(copy_out(BASE + PAGE_SIZE - 3, name, sizeof(name)), 0);
	EXPECT_EQ(space_discard(s, BASE + PAGE_SIZE, PAGE_SIZE), 0);	// now it ends in a page that is not present
	EXPECT_EQ(copy_in_string(got, BASE + PAGE_SIZE - 3, sizeof(got)), 3);
	leave(s);
}

TEST(copy, string_at_the_end_of_the_user_half, 0)
{
	vaddr_t va = USER_END - 4;
	struct space *s;
	char got[16];

	REQUIRE(enter(&s));
	REQUIRE(!space_map(s, USER_END - PAGE_SIZE, PAGE_SIZE, RW, 1, 0));
	EXPECT_EQ(copy_out(va, "abc", 4), 0);
	EXPECT_EQ(copy_in_string(got, va, ~0ull), 3);
	EXPECT_EQ(copy_out(va, "abcd", 4), 0);
	EXPECT_EQ(copy_in_string(got, va, sizeof(got)), -EFAULT);
	EXPECT_EQ(copy_in_string(got, va, 4), -ERANGE);
	leave(s);
}

TEST(copy, futex_word, 0)
{
	struct space *s;
	u32 v = 1;

	REQUIRE(enter(&s));
	EXPECT(!arch_user_read32(BASE, &v) && v == 0);
	EXPECT(!arch_user_cmpxchg32(BASE + PAGE_SIZE + 4, 0, 0x11223344, &v) && v == 0);	// not present before
	EXPECT(!arch_user_read32(BASE + PAGE_SIZE + 4, &v) && v == 0x11223344);
	EXPECT(!arch_user_cmpxchg32(BASE + PAGE_SIZE + 4, 1, 5, &v) && v == 0x11223344);	// not what was expected
	EXPECT(!arch_user_read32(BASE + PAGE_SIZE + 4, &v) && v == 0x11223344);
	EXPECT(mm_reads(BASE + PAGE_SIZE, 0x1122334400000000) && mm_reads(BASE + PAGE_SIZE + 8, 0));
	EXPECT_EQ(arch_user_read32(BASE + LEN, &v), -EFAULT);
	EXPECT_EQ(arch_user_cmpxchg32(BASE + LEN, 0, 1, &v), -EFAULT);
	leave(s);
}

// A thread without a space may not touch the user half, although its CPU still has the last one loaded.
TEST(copy, without_a_space, 0)
{
	struct space *s;

	if (enter(&s))
		EXPECT_EQ(copy_out(BASE, out, LEN), 0);
	space_detach();
	preempt_disable();
	refused(BASE, 4);
	refused(BASE, LEN);
	EXPECT_EQ(copy_in_string((char *)in, BASE, 8), -EFAULT);
	preempt_enable();
	space_put(s);
}

// Whoever may not sleep finds only what is present.
TEST(copy, preemption_off, 0)
{
	struct space *s;
	int absent, there;
	u32 v;

	REQUIRE(enter(&s));
	EXPECT_EQ(copy_out(BASE, "there", 6), 0);
	preempt_disable();
	absent = copy_in(in, BASE, LEN) == -EFAULT && arch_user_read32(BASE + PAGE_SIZE, &v) == -EFAULT &&
		 arch_user_cmpxchg32(BASE + PAGE_SIZE, 0, 1, &v) == -EFAULT;
	there = !copy_in(in, BASE, 6) && !arch_user_cmpxchg32(BASE + 8, 0, 1, &v);
	preempt_enable();
	EXPECT(absent && there && !memcmp(in, "there", 6));
	leave(s);
}

static int add(void *space)
{
	int errors = 0;

	space_attach(space);
	for (u32 i = 0; i < 200; i++) {
		u32 old = 0, expected;

		do {
			expected = old;
			errors += arch_user_cmpxchg32(BASE, expected, expected + 1, &old) != 0;
		} while (old != expected);
		if (i % 8 == 0)
			thread_yield();
	}
	space_detach();
	return errors;
}

TEST(copy, cmpxchg_is_atomic, 0)
{
	struct space *s;
	u32 v;

	REQUIRE(enter(&s));
	EXPECT_EQ(threads_run_on(&cpus_online, add, s), 0);
	EXPECT(!arch_user_read32(BASE, &v) && v == 200 * nr_cpus);
	leave(s);
}

#if CHECK
// A copy of three pages is held where the middle one has been faulted in.
struct held {
	struct space *s;
	bool to_user;
};

static int copy_all(void *arg)
{
	struct held *h = arg;
	int error;

	space_attach(h->s);
	error = h->to_user ? copy_out(BASE, out, LEN) : copy_in(in, BASE, LEN);
	space_detach();
	return error;
}

static int held_while(struct held *h, int (*change)(struct space *, vaddr_t, u64), unsigned page)
{
	struct stall_point *p = stall_point("fault_served");
	vaddr_t middle = BASE + PAGE_SIZE;
	struct thread *t;

	memset(out, SENTINEL, LEN);
	EXPECT(!copy_out(BASE, out, LEN) && !space_discard(h->s, middle, PAGE_SIZE));
	stall_arm(p, h->s, middle, middle + PAGE_SIZE - 1, 0);
	t = mm_thread("copy", copy_all, h, mm_other_cpu(0));
	stall_wait_parked(p);
	EXPECT_EQ(change(h->s, BASE + page * PAGE_SIZE, PAGE_SIZE), 0);
	stall_release(p);
	return mm_join(t);
}

TEST(copy, discarded_in_the_middle, NEEDS_CPUS2 | NEEDS_CHECK)
{
	struct held h = { 0 };

	REQUIRE(enter(&h.s));
	for (unsigned page = 0; page < PAGES; page++) {
		EXPECT_EQ(held_while(&h, space_discard, page), 0);	// it is faulted in again
		EXPECT(all_are(in, PAGE_SIZE, SENTINEL) && all_are(in + PAGE_SIZE, PAGE_SIZE, 0));
		EXPECT(all_are(in + 2 * PAGE_SIZE, PAGE_SIZE, page == 2 ? 0 : SENTINEL));
	}
	leave(h.s);
}

TEST(copy, unmapped_in_the_middle, NEEDS_CPUS2 | NEEDS_CHECK)
{
	for (unsigned i = 0; i < 2 * PAGES; i++) {
		struct held h = { .to_user = i & 1 };

		REQUIRE(enter(&h.s));
		// The first page has been copied already.
		EXPECT_EQ(held_while(&h, space_unmap, i / 2), i / 2 ? -EFAULT : 0);
		leave(h.s);
	}
}

static int make_read_only(struct space *s, vaddr_t va, u64 len) { return space_protect(s, va, len, PROT_R); }

TEST(copy, protected_in_the_middle, NEEDS_CPUS2 | NEEDS_CHECK)
{
	for (unsigned i = 0; i < 2 * PAGES; i++) {
		struct held h = { .to_user = i & 1 };

		REQUIRE(enter(&h.s));
		EXPECT_EQ(held_while(&h, make_read_only, i / 2), h.to_user && i / 2 ? -EFAULT : 0);
		leave(h.s);
	}
}
#endif

// Each CPU copies to and from a page of its own, which comes and goes meanwhile: it finds its own bytes or zeroes.
#define STORM_ROUNDS 100
static struct storm { struct space *s; u32 running; } storm;

static int copy_in_storm(void *arg)
{
	vaddr_t va = BASE + (cpu_id() + 1) * PAGE_SIZE - 32;
	u8 mine = (u8)(cpu_id() + 1), buffer[64];
	int errors = 0;

	space_attach(storm.s);
	for (unsigned i = 0; i < STORM_ROUNDS; i++) {
		memset(buffer, mine, 32);
		if (copy_out(va, buffer, 32) || copy_in(buffer, va, 32))
			continue;
		for (unsigned k = 0; k < 32; k++)
			errors += buffer[k] && buffer[k] != mine;
		if (i % 8 == 0)
			thread_yield();
	}
	space_detach();
	fetch_sub(&storm.running, 1);
	return errors;
}

TEST(copy, storm, NEEDS_CPUS2)
{
	struct thread *t[NR_CPUS];
	u64 len = (u64)nr_cpus * PAGE_SIZE;

	storm = (struct storm){ .s = space_create(), .running = nr_cpus };
	REQUIRE(storm.s);
	for (unsigned cpu = 0; cpu < nr_cpus; cpu++)
		t[cpu] = mm_thread("copy", copy_in_storm, NULL, cpu);
	while (READ_ONCE(storm.running)) {
		EXPECT_EQ(space_map(storm.s, BASE, len, RW, 1, 0), 0);
		thread_yield();
		EXPECT_EQ(space_discard(storm.s, BASE, len), 0);
		thread_yield();
		EXPECT_EQ(space_unmap(storm.s, BASE, len), 0);
	}
	for (unsigned cpu = 0; cpu < nr_cpus; cpu++)
		EXPECT_EQ(mm_join(t[cpu]), 0);
	space_put(storm.s);
}
