// SPDX-License-Identifier: MIT
// Formatting, patterns, numbers, sorting, memory: against known answers and against the simplest correct
// implementation.
#include "kernel/lib.h"
#include "kernel/cpumask.h"
#include "lab/counter.h"
#include "lab/inject.h"
#include "lab/test.h"
#include "mm/frame/slab.h"
#include "tests/help.h"

// Not declared as printf-like: some formats are wrong on purpose.
static int format_into(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = kvsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

#define EXPECT_FORMAT(want, ...) do { \
	char _b[96]; \
	int _n = format_into(_b, sizeof(_b), __VA_ARGS__); \
	if (strcmp(_b, (want)) || _n != (int)strlen(want)) \
		test_fail(__FILE__, __LINE__, "got \"%s\" (%d), want \"%s\"", _b, _n, (want)); \
} while (0)

TEST(lib, format_integers, 0)
{
	EXPECT_FORMAT("-3    42|42   |00042|+7|-0042", "%d %5d|%-5d|%05d|%+d|%05d", -3, 42, 42, 42, 7, -42);
	EXPECT_FORMAT("0 4294967295 ff FF 0xff 10 010", "%u %u %x %X %#x %o %#o", 0, ~0u, 255, 255, 255, 8, 8);
	EXPECT_FORMAT("-9223372036854775808 18446744073709551615", "%lld %llu", (long long)(1ull << 63), ~0ull);
	EXPECT_FORMAT("-1 ffffffffffffffff 9", "%ld %lx %zu", -1l, ~0ul, (size_t)9);
	EXPECT_FORMAT("44 4464 44", "%hhd %hd %hhu", 300, 70000, 300);
	EXPECT_FORMAT("007|  007|007   |", "%.3d|%5.3d|%-6.3d|", 7, 7, 7);
	EXPECT_FORMAT("    1|2    |3    ", "%*d|%-*d|%*d", 5, 1, 5, 2, -5, 3);
	EXPECT_FORMAT("0x1234 0x0", "%p %p", (void *)0x1234, NULL);
}

TEST(lib, format_text, 0)
{
	char small[4];

	EXPECT_FORMAT("a    bc|de   |xy|abc", "%s %5s|%-5s|%.2s|%.*s", "a", "bc", "de", "xyz", 3, "abcdef");
	EXPECT_FORMAT("ab%    q|z  |", "%c%c%% %4c|%-3c|", 'a', 'b', 'q', 'z');
	EXPECT_FORMAT("(null)", "%s", (const char *)NULL);
	EXPECT_FORMAT("%y 5", "%y %d", 5);
	EXPECT_FORMAT("100", "100%");
	EXPECT_EQ(ksnprintf(small, sizeof(small), "%s", "abcdef"), 6);
	EXPECT(!strcmp(small, "abc"));
	EXPECT_EQ(ksnprintf(NULL, 0, "%s", "abcdef"), 6);
}

TEST(lib, glob, 0)
{
	EXPECT(glob_match("smoke", "smoke"));
	EXPECT(!glob_match("smoke", "smoke.x"));
	EXPECT(!glob_match("smoke.x", "smoke"));
	EXPECT(glob_match("*", ""));
	EXPECT(glob_match("a*b?c", "axxbyc"));
	EXPECT(glob_match("a**", "a"));
	EXPECT(glob_match("*ab*ab", "abaab.ab"));
	EXPECT(!glob_match("*ab*abc", "abaab.ab"));
	EXPECT(glob_match("x,*.y*z", "a.yyz"));
	EXPECT(!glob_match("x,y", "x,y"));
	EXPECT(!glob_match("", "a"));
	EXPECT(glob_match("", ""));
}

TEST(lib, parse_u64, 0)
{
	static const char *const bad[] = { "", "0x", "-1", "+1", " 1", "1 ", "1a", "0xg", "18446744073709551616",
					   "0x10000000000000000", "99999999999999999999999" };
	u64 v = 77;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_u64(bad[i], &v))
			test_fail(__FILE__, __LINE__, "\"%s\" was accepted", bad[i]);
	EXPECT_EQ(v, 77);
	EXPECT(parse_u64("18446744073709551615", &v) && v == ~0ull);
	EXPECT(parse_u64("0xfF", &v) && v == 255);
	EXPECT(parse_u64("007", &v) && v == 7);
}

static int compare_triple(const void *a, const void *b) { return memcmp(a, b, 3); }

TEST(lib, sort, 0)
{
	static u64 items[777];
	static u8 triples[3 * 200];
	u64 seed = test_seed(), sum_before, sum_after;

	for (size_t n = 0; n < ARRAY_SIZE(items); n = n * 2 + 1) {
		sum_before = sum_after = 0;
		for (size_t i = 0; i < n; i++)
			sum_before += items[i] = rand_next(&seed) % (n + 1);	// with equal ones
		ksort(items, n, sizeof(u64), compare_u64);
		for (size_t i = 0; i < n; i++) {
			sum_after += items[i];
			REQUIRE(!i || items[i - 1] <= items[i]);
		}
		EXPECT_EQ(sum_before, sum_after);
	}
	for (size_t i = 0; i < sizeof(triples); i++)
		triples[i] = (u8)rand_next(&seed);
	ksort(triples, 200, 3, compare_triple);
	for (size_t i = 3; i < sizeof(triples); i += 3)
		REQUIRE(memcmp(triples + i - 3, triples + i, 3) <= 0);
}

// Every small length, offset and overlap, against a byte loop through a third buffer.
TEST(lib, memory, 0)
{
	static u8 got[160], want[160], copy[160];
	u64 seed = test_seed();

	for (unsigned round = 0; round < 3000; round++) {
		size_t to = rand_next(&seed) % 60, from = rand_next(&seed) % 60, n = rand_next(&seed) % 100;

		for (size_t i = 0; i < sizeof(got); i++)
			got[i] = want[i] = copy[i] = (u8)rand_next(&seed);
		for (size_t i = 0; i < n; i++)
			want[to + i] = copy[from + i];
		memmove(got + to, got + from, n);
		REQUIRE(!memcmp(got, want, sizeof(got)));
		for (size_t i = 0; i < n; i++)
			want[from + i] = (u8)n;
		memset(got + from, (int)n, n);
		REQUIRE(!memcmp(got, want, sizeof(got)));
		memcpy(got + to, copy + from, n);
		for (size_t i = 0; i < n; i++)
			want[to + i] = copy[from + i];
		REQUIRE(!memcmp(got, want, sizeof(got)));
	}
	EXPECT(memcmp("ab\x80", "ab\x7f", 3) > 0);
	EXPECT_EQ(strnlen("abc", 2), 2);
	EXPECT_EQ(strlen("abc"), 3);
	EXPECT(strncmp("abc", "abd", 2) == 0 && strncmp("abc", "abd", 3) < 0 && strcmp("ab", "abc") < 0);
	EXPECT(strchr("abc", 'c') && !strchr("abc", 'd') && *strchr("abc", '\0') == '\0');
}

TEST(lib, random_repeats, 0)
{
	u64 a = test_seed(), b = a, c = a + 1;

	for (int i = 0; i < 100; i++) {
		u64 x = rand_next(&a);

		EXPECT(x == rand_next(&b));
		EXPECT(x != rand_next(&c));
	}
}

TEST(lib, inject_nth, NEEDS_CHECK)
{
	void *p[4];

	inject_alloc_failure(3);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmalloc(2048);
	EXPECT(inject_fired());
	EXPECT(p[0] && p[1] && !p[2] && p[3]);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		kfree(p[i]);
	inject_alloc_failures_from(1);
	p[0] = kmalloc(2048);
	p[1] = kmalloc(2048);
	inject_alloc_failure(0);
	EXPECT(!p[0] && !p[1]);
	EXPECT(inject_fired());
	kfree(p[0]);
	kfree(p[1]);
}

TEST(lib, counters, 0)
{
	struct counters before, after, d;

	counters_snapshot(&before);
	count(walk_restarts);
	count_add(walk_restarts, 4);
	counters_snapshot(&after);
	counters_sub(&d, &after, &before);
	EXPECT_EQ(d.walk_restarts, 5);
}
