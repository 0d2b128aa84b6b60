// SPDX-License-Identifier: MIT
// A histogram of 64-bit values whose buckets are exact for small values and at most 1/64 of their lower end wide (the
// idea of HdrHistogram), so that a whole distribution fits into 15 KiB, however many values it has:
//
//   values   0 | 1 | … | 127 | 128 129 | … | 254 255 | 256 … 259 | … | 508 … 511 | 512 … 519 | … | … 2^64-1
//   bucket   0 | 1 | … | 127 |     128 | … |     191 |       192 | … |       255 |       256 | … |     3775
//
// Below 128 the bucket is the value; otherwise it is (shift << 6) + (value >> shift), with the shift that leaves the
// value's 7 highest bits. tools/hist.py reads what is printed of it.
#pragma once
#include "kernel/types.h"

#define HIST_BITS 6
#define HIST_EXACT (2u << HIST_BITS)				// values below have a bucket each
#define HIST_BUCKETS ((64u - HIST_BITS + 1) << HIST_BITS)

struct hist {
	u64 min, max, sum;
	u32 n;					// the caller keeps it below 2^32
	u32 buckets[HIST_BUCKETS];
};

static inline unsigned hist_bucket(u64 value)
{
	unsigned shift;

	if (value < HIST_EXACT)
		return (unsigned)value;
	shift = 63u - HIST_BITS - (unsigned)__builtin_clzll(value);
	return (shift << HIST_BITS) + (unsigned)(value >> shift);
}
u64 hist_low(unsigned bucket);			// the least value in it
u64 hist_width(unsigned bucket);		// how many values it stands for

void hist_reset(struct hist *h);
void hist_add(struct hist *h, u64 value);
// The value of that rank (0: the least) in ascending order, within 1/64: a bucket's values count as spread evenly over
// it, so where many share one bucket it is closer. Nothing recorded: 0.
u64 hist_at(const struct hist *h, u64 rank);
// The value that num/den of all are below: of rank n * num / den.
static inline u64 hist_quantile(const struct hist *h, u64 num, u64 den) { return hist_at(h, h->n * num / den); }
// Print "[[bucket,count],…]" of the buckets that are not empty. Returns the whole text's length, as ksnprintf() does.
size_t hist_print_buckets(const struct hist *h, char *buf, size_t size);
