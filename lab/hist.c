// SPDX-License-Identifier: MIT
// Histograms. No lock: one thread at a time.
#include "lab/hist.h"
#include "kernel/lib.h"

static unsigned shift_of(unsigned bucket) { return bucket < HIST_EXACT ? 0 : (bucket >> HIST_BITS) - 1; }

u64 hist_width(unsigned bucket) { return 1ull << shift_of(bucket); }

u64 hist_low(unsigned bucket)
{
	unsigned shift = shift_of(bucket);

	return (u64)(bucket - (shift << HIST_BITS)) << shift;
}

void hist_reset(struct hist *h)
{
	memset(h, 0, sizeof(*h));
	h->min = ~0ull;
}

void hist_add(struct hist *h, u64 value)
{
	h->min = MIN(h->min, value);
	h->max = MAX(h->max, value);
	h->sum += value;
	h->n++;
	h->buckets[hist_bucket(value)]++;
}

// The `k`-th of the `count` values of a bucket, spread evenly: the middle of its share. In a bucket of 2^30 values or
// more the product might not fit into 64 bits, so the share's size is rounded first, which does not matter there.
static u64 inside(unsigned bucket, u64 k, u64 count)
{
	u64 width = hist_width(bucket), steps = 2 * k + 1;

	return hist_low(bucket) + (width >> 30 ? width / (2 * count) * steps : width * steps / (2 * count));
}

u64 hist_at(const struct hist *h, u64 rank)
{
	u64 below = 0;

	if (!h->n)
		return 0;
	rank = MIN(rank, (u64)h->n - 1);
	for (unsigned i = hist_bucket(h->min); i < HIST_BUCKETS; i++) {
		if (rank < below + h->buckets[i])
			return MIN(MAX(inside(i, rank - below, h->buckets[i]), h->min), h->max);
		below += h->buckets[i];
	}
	return h->max;
}

size_t hist_print_buckets(const struct hist *h, char *buf, size_t size)
{
	const char *before = "[";
	size_t len = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		if (!h->buckets[i])
			continue;
		len += (size_t)ksnprintf(buf + MIN(len, size), size - MIN(len, size), "%s[%u,%u]", before, i, h->buckets[i]);
		before = ",";
	}
	len += (size_t)ksnprintf(buf + MIN(len, size), size - MIN(len, size), "%s]", h->n ? "" : "[");
	return len;
}
