// SPDX-License-Identifier: MIT
// Benchmarks: all threads start at once, and the time ends with the last one.
#include "user/common/bench.h"
#include "user/common/check.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_THREADS = 64 };

static bench_fn *function;
static long each;
static pthread_barrier_t start;

static void *run(void *arg)
{
	pthread_barrier_wait(&start);
	return (void *)function((uintptr_t)arg, each);
}

static double seconds(void)
{
	struct timespec t;

	CHECK(!clock_gettime(CLOCK_MONOTONIC, &t));
	return t.tv_sec + t.tv_nsec * 1e-9;
}

int bench_main(int argc, char **argv, const char *what, bench_fn *work, long rounds, long threads)
{
	bool timed = argc > 1 && !strcmp(argv[1], "-t");
	pthread_t ids[MOST_THREADS];
	uint64_t sum = 0;

	argc -= timed;
	argv += timed;
	each = argc > 1 ? atol(argv[1]) : rounds;
	threads = argc > 2 ? atol(argv[2]) : threads;
	function = work;
	CHECK(threads >= 1 && threads <= MOST_THREADS);
	CHECK(!pthread_barrier_init(&start, NULL, threads + 1));
	for (long i = 0; i < threads; i++)
		CHECK(!pthread_create(&ids[i], NULL, run, (void *)i));
	double began = seconds();
	pthread_barrier_wait(&start);
	for (long i = 0; i < threads; i++) {
		void *result;
		CHECK(!pthread_join(ids[i], &result));
		sum += (uintptr_t)result;
	}
	double took = seconds() - began;
	say("%s: %ld threads, %ld rounds each: sum %016llx", what, threads, each, (unsigned long long)sum);
	if (timed)
		say("%s: %.3f s, %.0f rounds/s", what, took, threads * each / took);
	return 0;
}
