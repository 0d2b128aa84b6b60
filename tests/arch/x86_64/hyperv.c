// SPDX-License-Identifier: MIT
// The input of Hyper-V's flush hypercalls, read back by an independent decoder: it names exactly the processors and the
// pages that were asked for. No hypervisor is needed.
#include "arch/x86_64/hyperv_call.h"
#include "kernel/lib.h"
#include "lab/test.h"
#include <arch/pte.h>

#define ROOT 0x1234000ull
#define START 0x10000000000ull

static u64 input[HV_INPUT_WORDS];

static struct hv_vps set_of(const unsigned *vps, unsigned n)
{
	struct hv_vps s = { 0 };

	for (unsigned i = 0; i < n; i++)
		hv_vps_add(&s, vps[i]);
	return s;
}

// Is the VP named? *ranges: the first word after the set.
static bool names(u64 control, unsigned vp, unsigned *ranges)
{
	u16 code = (u16)control;
	unsigned banks = (unsigned)(control >> HV_VARHEAD_SHIFT & 0x1ff), at = 4;

	if (code == HV_FLUSH_SPACE || code == HV_FLUSH_LIST) {
		EXPECT_EQ(banks, 0);
		*ranges = 3;
		return vp < 64 && input[2] >> vp & 1;
	}
	EXPECT_EQ(input[2], 0);
	EXPECT_EQ(__builtin_popcountll(input[3]), banks);
	*ranges = 4 + banks;
	for (unsigned b = 0; b < vp / 64; b++)
		at += input[3] >> b & 1;
	return input[3] >> (vp / 64) & 1 && input[at] >> vp % 64 & 1;
}

static void check_targets(const unsigned *vps, unsigned n, u64 pages, bool ex)
{
	struct hv_vps s = set_of(vps, n);
	u64 control = hv_flush_build(input, ROOT, START, pages, 1, &s, ex);
	unsigned named = 0, ranges = 0;

	for (unsigned vp = 0; vp < 64 * HV_BANKS; vp++)
		named += names(control, vp, &ranges);
	EXPECT_EQ(named, n);
	for (unsigned i = 0; i < n; i++)
		EXPECT(names(control, vps[i], &ranges));
	EXPECT_EQ((u16)control, (pages ? HV_FLUSH_LIST : HV_FLUSH_SPACE) + (ex ? 0x11 : 0));
	EXPECT_EQ(input[0], ROOT);
	EXPECT_EQ(input[1], pages ? 0 : HV_NON_GLOBAL_ONLY);
	EXPECT_EQ(control >> HV_REPS_SHIFT, pages ? 1 : 0);
	if (pages)
		EXPECT_EQ(input[ranges], START | (pages - 1));
}

TEST(hyperv, targets, 0)
{
	static const unsigned low[] = { 0, 3, 63 }, high[] = { 1, 63, 64, 200, 255, 4095 };

	for (u64 pages = 0; pages <= 32; pages += 32) {
		check_targets(low, ARRAY_SIZE(low), pages, false);
		check_targets(low, ARRAY_SIZE(low), pages, true);
		check_targets(high, ARRAY_SIZE(high), pages, true);
	}
}

// Each element is a base and the number of further pages; large pages are named one by one.
TEST(hyperv, ranges, 0)
{
	static const unsigned one[] = { 1 };
	struct hv_vps s = set_of(one, 1);
	u64 control, at = START;

	control = hv_flush_build(input, ROOT, START, 9000, 1, &s, false);
	EXPECT_EQ(control >> HV_REPS_SHIFT, 3);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(input[3 + i] & ~(PAGE_SIZE - 1), at);
		at += ((input[3 + i] & (PAGE_SIZE - 1)) + 1) * PAGE_SIZE;
	}
	EXPECT_EQ(at, START + 9000 * PAGE_SIZE);
	control = hv_flush_build(input, ROOT, START, 5, 2, &s, false);
	EXPECT_EQ(control >> HV_REPS_SHIFT, 5);
	for (unsigned i = 0; i < 5; i++)
		EXPECT_EQ(input[3 + i], START + i * level_size(2));
	EXPECT_EQ(hv_flush_build(input, ROOT, START, HV_MOST_RANGES + 1, 2, &s, false), 0);
}
