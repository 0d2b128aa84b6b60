// SPDX-License-Identifier: MIT
// What a program must not find in fresh memory. It fills memory with words that name it, gives it back in each way, and
// looks through what it gets next, for its own words and for anything else: each byte must be 0. Threads do so at once.
// And a call that fails, or fills in only a part, must leave the rest as it was: no bytes of the kernel's stack get
// out. Arguments: [threads] [rounds] [seed] [MiB that are looked through before all else].
#include "user/common/check.h"
#include "user/common/kernel.h"
#include "user/common/random.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>

enum { MOST_PAGES = 1024, MOST_THREADS = 64 };
#define PLANTED 0x5ec7e75ec7e75ec7ul

static long rounds;

static uint64_t *fresh(size_t pages)
{
	uint64_t *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static void look(const uint64_t *p, size_t pages, const char *where)
{
	for (size_t i = 0; i < pages * PAGE / 8; i++)
		if (p[i]) {
			say("FAILED: %s: page %zu, word %zu is %#lx%s", where, i * 8 / PAGE, i % (PAGE / 8),
				(unsigned long)p[i],
			    p[i] == PLANTED ? ", which was planted" : "");
			_exit(1);
		}
}

static void plant(uint64_t *p, size_t pages)
{
	for (size_t i = 0; i < pages * PAGE / 8; i++)
		p[i] = PLANTED;
}

// ---- The ways to give memory back -----------------------------------------------------------------------------------

static void by_munmap(uint64_t *p, size_t pages) { CHECK_EQ(raw(SYS_munmap, p, pages * PAGE), 0); }

static void by_dontneed(uint64_t *p, size_t pages)
{
	CHECK_EQ(raw(SYS_madvise, p, pages * PAGE, MADV_DONTNEED), 0);
	look(p, pages, "after MADV_DONTNEED");
	by_munmap(p, pages);
}

static void by_mapping_over(uint64_t *p, size_t pages)
{
	CHECK(mmap(p, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	look(p, pages, "after mmap() over it");
	by_munmap(p, pages);
}

// Shrunk, and grown again in its place or elsewhere.
static void by_mremap(uint64_t *p, size_t pages)
{
	size_t kept = (pages + 1) / 2;
	uint64_t *q;

	CHECK_EQ(raw(SYS_mremap, p, pages * PAGE, kept * PAGE, 0), p);
	q = (uint64_t *)raw(SYS_mremap, p, kept * PAGE, pages * PAGE, REMAP_MAYMOVE);
	CHECK((long)q > 0);
	for (size_t i = 0; i < kept * PAGE / 8; i++)
		CHECK_EQ(q[i], PLANTED);
	look(q + kept * PAGE / 8, pages - kept, "grown by mremap()");
	by_munmap(q, pages);
}

static void (*const ways[])(uint64_t *p, size_t pages) = { by_munmap, by_dontneed, by_mapping_over, by_mremap };

static void *work(void *arg)
{
	struct random r = { *(uint64_t *)arg };

	for (long i = 0; i < rounds; i++) {
		size_t pages = 1 + (random_below(&r, 8) ? random_below(&r, 64) : random_below(&r, MOST_PAGES));
		uint64_t *p = fresh(pages);

		look(p, pages, "fresh");
		plant(p, pages);
		ways[random_below(&r, ARRAY_SIZE(ways))](p, pages);
	}
	return NULL;
}

static void memory(long threads, uint64_t seed)
{
	uint64_t seeds[MOST_THREADS];
	pthread_t thread[MOST_THREADS];

	for (long i = 0; i < threads; i++) {
		seeds[i] = seed * 1000 + i;
		CHECK(!pthread_create(&thread[i], NULL, work, &seeds[i]));
	}
	for (long i = 0; i < threads; i++)
		CHECK(!pthread_join(thread[i], NULL));
	say("plant: %ld threads, %ld rounds, seed %lu: fresh memory is zero", threads, rounds, (unsigned long)seed);
}

// Before anybody has planted anything: what was left by the boot, the kernel, the loader.
static void first_of_all(size_t pages)
{
	uint64_t *p = fresh(pages);

	look(p, pages, "the first memory");
	by_munmap(p, pages);
	say("the first memory: zero");
}

// ---- What calls fill in ---------------------------------------------------------------------------------------------

// A page of which each byte is `fill`: behind it there is none.
static unsigned char *area;
static void refill(int fill) { memset(area, fill, PAGE); }

// The result goes to the end of the page, so that it ends exactly there: nothing before it is touched, and called
// twice, with different bytes there before, the call fills in all of it: what it leaves out would differ.
static void fills(const char *name, size_t size, long (*call)(void *to))
{
	static unsigned char first[PAGE];
	unsigned char *to = area + PAGE - size;
	size_t left = 0;

	refill(0x00);
	CHECK(call(to) >= 0);
	memcpy(first, to, size);
	refill(0xff);
	CHECK(call(to) >= 0);
	for (unsigned char *p = area; p < to; p++)
		CHECK_EQ(*p, 0xff);
	for (size_t i = 0; i < size; i++)
		left += first[i] == 0x00 && to[i] == 0xff;
	say("%-20s %4zu bytes, %zu left out", name, size, left);
}

// The bytes at `at`, which are no member's, must be 0, and not what the kernel's stack held.
static void gap(const char *name, size_t size, long (*call)(void *to), size_t at, size_t n)
{
	unsigned char *to = area + PAGE - size;

	refill(0);
	CHECK(call(to) >= 0);
	for (size_t i = at; i < at + n; i++)
		if (to[i]) {
			say("FAILED: %s: byte %zu is %#x", name, i, to[i]);
			_exit(1);
		}
}

static long a_uname(void *to) { return raw(SYS_uname, to); }
static long a_sysinfo(void *to) { return raw(SYS_sysinfo, to); }
static long a_stat(void *to) { return raw(SYS_fstat, 1, to); }
static long a_rusage(void *to) { return raw(SYS_getrusage, RUSAGE_SELF, to); }
static long a_limit(void *to) { return raw(SYS_prlimit64, 0, RLIMIT_AS, NULL, to); }
static long a_time(void *to) { return raw(SYS_clock_gettime, CLOCK_MONOTONIC, to); }
static long a_name(void *to) { return raw(SYS_prctl, 16, to); }
static long a_stack(void *to) { return raw(SYS_sigaltstack, NULL, to); }
static long a_mask(void *to) { return raw(SYS_rt_sigprocmask, SIG_BLOCK, NULL, to, 8); }
static long an_action(void *to) { return raw(SYS_rt_sigaction, SIGUSR1, NULL, to, 8); }
static long the_pending(void *to) { return raw(SYS_rt_sigpending, to, 8); }

static void calls(void)
{
	area = (unsigned char *)fresh(2);
	CHECK_EQ(raw(SYS_munmap, area + PAGE, PAGE), 0);
	fills("uname", 6 * 65, a_uname);
	fills("sysinfo", 112, a_sysinfo);
	fills("fstat", 144, a_stat);
	fills("getrusage", 144, a_rusage);
	fills("prlimit64", 16, a_limit);
	fills("clock_gettime", 16, a_time);
	fills("prctl", 16, a_name);
	fills("rt_sigprocmask", 8, a_mask);
	fills("rt_sigaction", 32, an_action);
	fills("rt_sigpending", 8, the_pending);
	fills("sigaltstack", 24, a_stack);
	gap("sysinfo", 112, a_sysinfo, 84, 4);
	gap("sysinfo", 112, a_sysinfo, 108, 4);
	gap("fstat", 144, a_stat, 36, 4);
	gap("fstat", 144, a_stat, 120, 24);
	gap("sigaltstack", 24, a_stack, 12, 4);
	CHECK_EQ(raw(SYS_munmap, area, PAGE), 0);
	say("gaps between members: zero");
}

int main(int argc, char **argv)
{
	long threads = argc > 1 ? atol(argv[1]) : 4;

	rounds = argc > 2 ? atol(argv[2]) : 100;
	CHECK(threads > 0 && threads <= MOST_THREADS);
	first_of_all((argc > 4 ? strtoul(argv[4], NULL, 0) : 16) * (1ul << 20) / PAGE);
	calls();
	memory(threads, argc > 3 ? strtoull(argv[3], NULL, 0) : 1);
	return 0;
}
