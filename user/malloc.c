// SPDX-License-Identifier: MIT
// Storms of malloc(), calloc(), realloc(), aligned_alloc() and free() in several threads, which also free each other's
// blocks. Each block carries a pattern that is checked before it goes. Arguments: [threads] [rounds] [seed].
#include "user/common/check.h"
#include "user/common/random.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 64, MOST_THREADS = 64 };

struct block {
	unsigned char *at;
	size_t size;
	unsigned char pattern;
};

struct worker {
	struct random random;
	struct block slots[SLOTS];
	uint64_t blocks, bytes;	// allocated in all
};

// One place through which the threads exchange blocks.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block exchanged;
static long rounds;

static void verify(const struct block *b)
{
	for (size_t i = 0; i < b->size; i++)
		CHECK_EQ(b->at[i], b->pattern);
}

static size_t a_size(struct random *r)
{
	switch (random_below(r, 16)) {
	case 0: return 128 * 1024 + random_below(r, 256 * 1024);	// large enough for mmap()
	case 1: case 2: case 3: return 1 + random_below(r, 32 * 1024);
	default: return 1 + random_below(r, 512);
	}
}

static void take_zeroed(struct block *b)
{
	b->at = calloc(1, b->size);
	CHECK(b->at);
	for (size_t i = 0; i < b->size; i++)
		CHECK_EQ(b->at[i], 0);
}

static void take_aligned(struct block *b, size_t alignment)
{
	b->size = (b->size + alignment - 1) & ~(alignment - 1);
	b->at = aligned_alloc(alignment, b->size);
	CHECK(b->at && !((uintptr_t)b->at % alignment));
}

static void take(struct worker *w, struct block *b)
{
	uint64_t how = random_below(&w->random, 8);

	b->size = a_size(&w->random);
	b->pattern = random_next(&w->random);
	if (how == 0)
		take_zeroed(b);
	else if (how == 1)
		take_aligned(b, 1ul << (4 + random_below(&w->random, 9)));
	else
		CHECK(b->at = malloc(b->size));
	memset(b->at, b->pattern, b->size);
	w->blocks++;
	w->bytes += b->size;
}

static void resize(struct worker *w, struct block *b)
{
	size_t size = a_size(&w->random);
	unsigned char *at = realloc(b->at, size);

	CHECK(at);
	*b = (struct block){ .at = at, .size = size < b->size ? size : b->size, .pattern = b->pattern };
	verify(b);
	b->size = size;
	memset(at, b->pattern, size);
	w->bytes += size;
}

static void exchange(struct block *b)
{
	struct block other;

	pthread_mutex_lock(&lock);
	other = exchanged;
	exchanged = *b;
	pthread_mutex_unlock(&lock);
	*b = other;
}

static void drop(struct block *b)
{
	verify(b);
	free(b->at);
	*b = (struct block){ 0 };
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (long i = 0; i < rounds; i++) {
		struct block *b = &w->slots[random_below(&w->random, SLOTS)];
		bool full = b->at;
		uint64_t what = random_below(&w->random, 8);
		// What is done does not depend on what the exchange has brought, so that the sums repeat.
		if (what == 0)
			exchange(b);
		else if (what == 1) {
			struct block one = { 0 };
			take(w, &one);
			resize(w, &one);
			drop(&one);
		} else {
			if (full)
				drop(b);
			take(w, b);
		}
	}
	for (int i = 0; i < SLOTS; i++)
		if (w->slots[i].at)
			drop(&w->slots[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct worker workers[MOST_THREADS];
	pthread_t threads[MOST_THREADS];
	long n = argc > 1 ? atol(argv[1]) : 4;
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1, blocks = 0, bytes = 0;

	rounds = argc > 2 ? atol(argv[2]) : 1500;
	CHECK(n >= 1 && n <= MOST_THREADS);
	for (long i = 0; i < n; i++) {
		workers[i].random.state = seed * 1000 + i;
		CHECK(!pthread_create(&threads[i], NULL, work, &workers[i]));
	}
	for (long i = 0; i < n; i++) {
		CHECK(!pthread_join(threads[i], NULL));
		blocks += workers[i].blocks;
		bytes += workers[i].bytes;
	}
	if (exchanged.at)
		drop(&exchanged);
	say("malloc: %ld threads, %ld rounds, seed %llu: %llu blocks, %llu bytes", n, rounds, (unsigned long long)seed,
	    (unsigned long long)blocks, (unsigned long long)bytes);
	return 0;
}
