// SPDX-License-Identifier: MIT
// How fast four threads allocate and free: 64 blocks each, of sizes that mostly come from a library's own lists, and now and
// then from mmap().
#include "user/common/bench.h"
#include "user/common/check.h"
#include "user/common/random.h"
#include <stdlib.h>

enum { BLOCKS = 64, LARGE_ONE_IN = 64 };

static uint64_t work(unsigned int thread, long rounds)
{
	struct random r = { .state = thread + 1 };
	uint64_t *blocks[BLOCKS] = { 0 }, sum = 0;

	for (long i = 0; i < rounds; i++) {
		uint64_t n = random_next(&r), **b = &blocks[n % BLOCKS];
		if (*b) {
			sum += **b;
			free(*b);
		}
		*b = malloc(n >> 8 & (LARGE_ONE_IN - 1) ? 16 + (n >> 16) % 2048 : 200000 + (n >> 16) % 200000);
		CHECK(*b);
		**b = n;
	}
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	return sum;
}

int main(int argc, char **argv) { return bench_main(argc, argv, "malloc_bench", work, 4000, 4); }
