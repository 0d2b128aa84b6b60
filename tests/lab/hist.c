// SPDX-License-Identifier: MIT
// Histograms: the buckets as they are drawn in lab/hist.h, and percentiles against sorted arrays of the same values.
// And the majority's vote against counting.
#include "lab/hist.h"
#include "kernel/lib.h"
#include "lab/majority.h"
#include "lab/test.h"
#include "mm/frame/slab.h"
#include "tests/help.h"

#define VALUES 20000u

TEST(hist, buckets_meet_each_other, 0)
{
	u64 next = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		u64 low = hist_low(i), last = low + hist_width(i) - 1;

		EXPECT(low == next && last >= low);
		EXPECT_EQ(hist_bucket(low), i);
		EXPECT_EQ(hist_bucket(last), i);
		EXPECT(hist_width(i) == 1 || hist_width(i) <= low / 64);
		next = last + 1;
	}
	EXPECT_EQ(next, 0);		// the last one ends with the last value
	EXPECT_EQ(hist_bucket(127), 127);
	EXPECT_EQ(hist_bucket(129), 128);
	EXPECT_EQ(hist_bucket(~0ull), 3775);
}

// Each percentile within 1/64 of the sorted array's, and exact below 128.
static void expect_quantiles(struct hist *h, u64 *values, u32 n)
{
	static const u32 permille[] = { 0, 1, 10, 100, 250, 500, 900, 990, 999, 1000 };
	u64 sum = 0;

	hist_reset(h);
	for (u32 i = 0; i < n; i++) {
		hist_add(h, values[i]);
		sum += values[i];
	}
	ksort(values, n, sizeof(*values), compare_u64);
	EXPECT(h->n == n && h->sum == sum && h->min == values[0] && h->max == values[n - 1]);
	for (unsigned i = 0; i < ARRAY_SIZE(permille); i++) {
		u64 want = values[MIN((u64)n * permille[i] / 1000, (u64)n - 1)], got = hist_quantile(h, permille[i], 1000);

		if ((want < HIST_EXACT && got != want) || (got > want ? got - want : want - got) > want / 64)
			test_fail(__FILE__, __LINE__, "%u of 1000 of %u values: %llu, should be %llu", permille[i], n,
				  (unsigned long long)got, (unsigned long long)want);
	}
}

TEST(hist, percentiles_of_random_values, 0)
{
	struct hist *h = kmalloc(sizeof(*h));
	u64 *values = kmalloc(VALUES * sizeof(*values)), seed = test_seed();

	REQUIRE(h && values);
	for (u32 n = 1; n <= VALUES; n = n * 3 + rand_next(&seed) % 3) {
		for (unsigned kind = 0; kind < 4; kind++) {
			for (u32 i = 0; i < n; i++) {
				u64 r = rand_next(&seed);

				values[i] = kind == 0 ? r % 200 :		// around the end of what is exact
					    kind == 1 ? r >> rand_next(&seed) % 64 :	// of all sizes
					    kind == 2 ? 5000 + r % 64 + (r % 100 ? 0 : 1000000) :	// as measured: few outliers
					    1ull << 40;				// all the same
			}
			expect_quantiles(h, values, n);
		}
	}
	kfree(values);
	kfree(h);
}

TEST(hist, nothing_recorded, 0)
{
	struct hist *h = kmalloc(sizeof(*h));
	char text[8];

	REQUIRE(h);
	hist_reset(h);
	EXPECT_EQ(hist_quantile(h, 1, 2), 0);
	EXPECT_EQ(hist_print_buckets(h, text, sizeof(text)), 2);
	EXPECT(!strcmp(text, "[]"));
	kfree(h);
}

TEST(hist, printed_whole_or_cut, 0)
{
	static const char want[] = "[[1,1],[1024,3],[2368,3],[3712,3]]";
	struct hist *h = kmalloc(sizeof(*h));
	char text[sizeof(want)];

	REQUIRE(h);
	hist_reset(h);
	for (u64 v = 1; v; v <<= 21)		// 1, 2^21, 2^42, 2^63
		for (u64 i = 0; i < v && i < 3; i++)
			hist_add(h, v + i);
	EXPECT_EQ(hist_print_buckets(h, text, sizeof(text)), strlen(want));
	EXPECT(!strcmp(text, want));
	EXPECT_EQ(hist_print_buckets(h, text, 12), strlen(want));
	EXPECT(!strncmp(text, want, 11) && !text[11]);
	kfree(h);
}

// A sequence of 0, 1 and 2, with the more zeroes the larger `bias` is. Each of its prefixes is checked.
static void expect_majority(unsigned bias, u64 *random)
{
	struct majority m = { 0 };
	u32 counts[3] = { 0 }, most = 0;

	for (u32 n = 1; n <= 300; n++) {
		u64 draw = rand_next(random) % (3 + bias), value = draw < 3 ? draw : 0;

		majority_add(&m, value);
		most = ++counts[value] > counts[most] ? value : most;
		EXPECT(2 * counts[most] <= n || m.value == most);
		EXPECT(!majority_proved(&m, n) || 2 * counts[m.value] > n);
		EXPECT(4 * counts[most] <= 3 * n || majority_proved(&m, n));
	}
}

TEST(hist, majority_is_that_of_counting, 0)
{
	u64 random = 1;

	for (unsigned i = 0; i < 200; i++)
		expect_majority(i % 20, &random);
}
