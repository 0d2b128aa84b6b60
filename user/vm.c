// SPDX-License-Identifier: MIT
// process_vm_readv() and process_vm_writev() on itself, against threads that unmap, map, protect and move what is read. A
// byte that was read is one that has been there: the call ends early or fails with EFAULT where nothing is mapped, but
// never gives anything else. Arguments: [rounds] [readers].
#include "user/common/check.h"
#include "user/common/kernel.h"
#include "user/common/random.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

enum { PAGES = 16, MOST_READERS = 16, WRITTEN = 0xee };

static char *area;		// what the readers read and the main thread changes
static char *other_place;	// where pages of it go for a while
static atomic_bool stop;
static _Atomic uint64_t whole, partial, faults;

// A page's bytes are all zero (fresh), its number + 1 (old), or WRITTEN (by a writer).
static void check_bytes(const unsigned char *bytes, size_t n, size_t page_offset, int first_page)
{
	for (size_t i = 0; i < n; i++) {
		int page = first_page + (page_offset + i) / PAGE;
		CHECK(bytes[i] == 0 || bytes[i] == page + 1 || bytes[i] == WRITTEN);
	}
}

static void count(long result, size_t wanted)
{
	CHECK(result == -EFAULT || (result > 0 && (size_t)result <= wanted));
	*(result == -EFAULT ? &faults : (size_t)result == wanted ? &whole : &partial) += 1;
}

static void read_once(struct random *r)
{
	unsigned char buffer[3 * PAGE];
	int page = random_below(r, PAGES - 3);
	size_t offset = random_below(r, PAGE), n = 1 + random_below(r, 2 * PAGE);
	struct iovec to = { buffer, n }, from = { area + page * PAGE + offset, n };
	long result = raw(SYS_process_vm_readv, getpid(), &to, 1ul, &from, 1ul, 0ul);

	count(result, n);
	if (result > 0)
		check_bytes(buffer, result, offset, page);
}

static void write_once(struct random *r)
{
	unsigned char buffer[PAGE];
	size_t n = 1 + random_below(r, PAGE);
	struct iovec from = { buffer, n }, to = { area + random_below(r, PAGES - 1) * PAGE + random_below(r, PAGE), n };

	memset(buffer, WRITTEN, n);
	count(raw(SYS_process_vm_writev, getpid(), &from, 1ul, &to, 1ul, 0ul), n);
}

static void *reader(void *arg)
{
	struct random r = { .state = (uintptr_t)arg };

	while (!stop) {
		if (random_below(&r, 8))
			read_once(&r);
		else
			write_once(&r);
	}
	return NULL;
}

static void map(int page, int n, bool fill)
{
	CHECK(mmap(area + page * PAGE, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	      area + page * PAGE);
	for (int i = page; fill && i < page + n; i++)
		memset(area + i * PAGE, i + 1, PAGE);
}

// Frames that have just been freed are likely to be here, with a byte that no reader may see. (Not just anywhere: a hole of
// the area might be taken.)
static void use_freed_frames(int n)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	CHECK(mmap(other_place, n * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) == other_place);
	memset(other_place, 0xbb, n * PAGE);
	CHECK(mmap(other_place, n * PAGE, PROT_NONE, flags, -1, 0) == other_place);
}

// Where nothing else is for 4 GiB, so that the page tables go when all of the pages have gone.
static char *alone(uintptr_t nth)
{
	char *at = (char *)(nth << 32);

	CHECK(mmap(at, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at);
	return at;
}

// Part of it, or all, which empties its page tables.
static void change(struct random *r)
{
	int n = random_below(r, 3) ? 1 + random_below(r, 4) : PAGES, page = random_below(r, PAGES - n + 1);
	char *at = area + page * PAGE;

	switch (random_below(r, 5)) {
	case 0:
		CHECK(!munmap(at, n * PAGE));
		break;
	case 1:
		CHECK(!munmap(at, n * PAGE));
		map(page, n, false);
		break;
	case 2:
		map(page, n, true);
		CHECK(!madvise(at, n * PAGE, MADV_DONTNEED));
		break;
	case 3:
		map(page, n, true);
		CHECK(!mprotect(at, n * PAGE, random_below(r, 2) ? PROT_NONE : PROT_READ));
		break;
	case 4:
		map(page, n, true);
		CHECK(mremap(at, n * PAGE, n * PAGE, REMAP_MAYMOVE | REMAP_FIXED, other_place) == other_place);
		CHECK(!munmap(other_place, n * PAGE));
		break;
	}
	use_freed_frames(n);
	if (random_below(r, 2))
		map(page, n, true);
}

static void lists(void)
{
	struct iovec to[3], from[4];
	char text[] = "abcdefghij", buffer[32] = { 0 };
	long r;

	from[0] = (struct iovec){ text, 3 };
	from[1] = (struct iovec){ text + 5, 0 };
	from[2] = (struct iovec){ text + 6, 4 };
	from[3] = (struct iovec){ (void *)PAGE, 4 };	// nothing there
	to[0] = (struct iovec){ buffer, 1 };
	to[1] = (struct iovec){ buffer + 10, 5 };
	to[2] = (struct iovec){ buffer + 20, 10 };
	r = raw(SYS_process_vm_readv, getpid(), to, 3ul, from, 4ul, 0ul);
	say("lists: %s bytes: \"%s\" \"%s\" \"%s\"", outcome_of(r), buffer, buffer + 10, buffer + 20);
	say("another list: %s", outcome_of(raw(SYS_process_vm_readv, getpid(), to, 3ul, from + 3, 1ul, 0ul)));
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 300, n = argc > 2 ? atol(argv[2]) : 3;
	struct random r = { .state = 99 };
	pthread_t readers[MOST_READERS];

	CHECK(n >= 1 && n <= MOST_READERS);
	lists();
	area = alone(1);
	other_place = alone(2);
	map(0, PAGES, true);
	for (long i = 0; i < n; i++)
		CHECK(!pthread_create(&readers[i], NULL, reader, (void *)(i + 1)));
	for (long i = 0; i < rounds || !whole || !partial || !faults; i++)
		change(&r);
	stop = true;
	for (long i = 0; i < n; i++)
		CHECK(!pthread_join(readers[i], NULL));
	say("%ld rounds, %ld readers: each byte was one that had been there; whole, partial and failed reads: %d", rounds, n,
	    whole && partial && faults);
	return 0;
}
