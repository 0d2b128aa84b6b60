// SPDX-License-Identifier: MIT
// A random storm of mmap(), munmap(), mprotect(), mremap(), madvise(), mincore() and brk() against a model of what must be
// mapped, with which protection and which contents. Each thread has an area of its own, so its model is exact while the
// threads disturb each other's page tables. Arguments: [seed] [rounds] [threads].
#include "user/common/area.h"
#include "user/common/check.h"
#include "user/common/fault.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { MOST_THREADS = 16 };

static void *storm(void *arg)
{
	struct area *a = arg;

	for (uint64_t i = 0; i < a->rounds; i++)
		area_step(a);
	area_check_all(a);
	return NULL;
}

// ---- brk() ----------------------------------------------------------------------------------------------------------

enum { BRK_PAGES = 64, BRK_ROUNDS = 200 };

// Nothing here may call malloc(), which may move the break itself.
static void check_break(void)
{
	struct random r = { .state = 7 };
	uintptr_t start = (raw(SYS_brk, 0) + PAGE - 1) & -PAGE, pages = 0, grown = 0;
	uint64_t stamps[BRK_PAGES] = { 0 };

	for (int i = 0; i < BRK_ROUNDS; i++) {
		uintptr_t want = random_below(&r, BRK_PAGES);
		CHECK_EQ(raw(SYS_brk, start + want * PAGE), start + want * PAGE);
		CHECK_EQ(raw(SYS_brk, 0), start + want * PAGE);
		for (uintptr_t p = want; p < pages; p++)
			stamps[p] = 0;	// has been given up
		grown += want > pages ? want - pages : 0;
		pages = want;
		for (uintptr_t p = 0; p < pages; p++)
			CHECK_EQ(*(uint64_t *)(start + p * PAGE), stamps[p]);
		if (pages) {
			uintptr_t p = random_below(&r, pages);
			*(uint64_t *)(start + p * PAGE) = stamps[p] = random_next(&r);
		}
		uint64_t value;
		struct fault f = fault_read((void *)(start + pages * PAGE), &value);
		CHECK(f.signal == SIGSEGV && f.code == SEGV_MAPERR && f.addr == start + pages * PAGE);
	}
	CHECK_EQ(raw(SYS_brk, 1), start + pages * PAGE);	// refused: it stays where it is
	CHECK_EQ(raw(SYS_brk, start), start);
	say("brk: %d moves, grown by %ld pages, all zero at first", BRK_ROUNDS, (long)grown);
}

static uint64_t argument(int argc, char **argv, int n, uint64_t otherwise)
{
	return argc > n ? strtoull(argv[n], NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
	static struct area areas[MOST_THREADS];
	pthread_t threads[MOST_THREADS];
	uint64_t seed = argument(argc, argv, 1, 1), rounds = argument(argc, argv, 2, 1500), n = argument(argc, argv, 3, 4);
	struct area_counts sum = { 0 };

	CHECK(n >= 1 && n <= MOST_THREADS);
	faults_catch();
	check_break();
	for (uint64_t i = 0; i < n; i++) {
		area_init(&areas[i], i, seed * 1000 + i, rounds);
		CHECK(!pthread_create(&threads[i], NULL, storm, &areas[i]));
	}
	for (uint64_t i = 0; i < n; i++) {
		CHECK(!pthread_join(threads[i], NULL));
		area_counts_add(&sum, &areas[i].counts);
	}
	area_counts_say(&sum);
	return 0;
}
