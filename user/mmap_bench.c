// SPDX-License-Identifier: MIT
// How fast four threads map, touch and unmap: 1 to 16 pages at a time, each page touched.
#include "user/common/bench.h"
#include "user/common/check.h"
#include "user/common/random.h"
#include <sys/mman.h>

enum { MOST_PAGES = 16 };

static uint64_t work(unsigned int thread, long rounds)
{
	struct random r = { .state = thread + 1 };
	uint64_t sum = 0;

	for (long i = 0; i < rounds; i++) {
		size_t pages = 1 + random_below(&r, MOST_PAGES);
		char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(p != MAP_FAILED);
		for (size_t at = 0; at < pages * PAGE; at += PAGE) {
			sum += *(uint64_t *)(p + at);	// zero
			*(uint64_t *)(p + at) = ~0ul;
		}
		sum += pages;
		CHECK(!munmap(p, pages * PAGE));
	}
	return sum;
}

int main(int argc, char **argv) { return bench_main(argc, argv, "mmap_bench", work, 1000, 4); }
