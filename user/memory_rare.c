// SPDX-License-Identifier: MIT
// The rarer forms of the calls on memory: what locks do later, mremap() that leaves its old place mapped, mappings that grow
// down, fixed mappings over locked and shared ones, large pages on demand, barriers.
#include "user/common/check.h"
#include "user/common/fault.h"
#include "user/common/kernel.h"
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)
#define HUGE_PAGE (2ul << 20)
enum { REMAP_DONTUNMAP = 4, ADVICE_DONTNEED_LOCKED = 24, GROWS_DOWN = 0x01000000, GROWS_UP = 0x02000000 };

static void row(const char *what, long result) { say("%-52s %s", what, error_of(result)); }

static int resident(const void *p)
{
	unsigned char in = 0;

	CHECK_EQ(raw(SYS_mincore, p, PAGE, &in), 0);
	return in & 1;
}

static const char *read_of(const void *p)
{
	uint64_t value;

	return fault_name(fault_read(p, &value));
}

static char *map(size_t pages, int prot, int flags)
{
	char *p = mmap(NULL, pages * PAGE, prot, flags, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

// ---- Locks ----------------------------------------------------------------------------------------------------------

static void future_locks(void)
{
	row("mlockall: what comes", raw(SYS_mlockall, 2));
	char *p = map(4, RW, ANON), *none = map(1, PROT_NONE, ANON);
	say("mapped while all that comes is locked: resident %d %d, nothing to touch %d", resident(p), resident(p + 3 * PAGE),
	    resident(none));
	row("MADV_DONTNEED on it", raw(SYS_madvise, p, PAGE, MADV_DONTNEED));
	row("MADV_DONTNEED_LOCKED on it", raw(SYS_madvise, p, PAGE, ADVICE_DONTNEED_LOCKED));
	say("resident after that: %d", resident(p));
	p = mremap(p, 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE);
	CHECK(p != MAP_FAILED);
	say("grown: resident %d %d", resident(p + 4 * PAGE), resident(p + 5 * PAGE));
	row("mlockall: what comes, once it is touched", raw(SYS_mlockall, 2 | 4));
	char *q = map(1, RW, ANON);
	say("mapped then: resident %d", resident(q));
	row("munlockall", raw(SYS_munlockall));
	row("MADV_DONTNEED after that", raw(SYS_madvise, p, 6 * PAGE, MADV_DONTNEED));
	q = map(1, RW, ANON);
	say("mapped after that: resident %d", resident(q));
	row("mlock2 on fault", raw(SYS_mlock2, p, 6 * PAGE, 1));
	say("resident %d", resident(p));
	row("mlock of what nothing may touch", raw(SYS_mlock, none, PAGE));
	row("munlock of all", raw(SYS_munlock, p, 6 * PAGE));
	row("mlock, an odd address", raw(SYS_mlock, p + 100, 100));
	say("resident %d %d", resident(p), resident(p + PAGE));
	row("mlock, huge", raw(SYS_mlock, p, ~0ul));
}

// ---- mremap() -------------------------------------------------------------------------------------------------------

static void leaving(void)
{
	char *p = map(4, RW, ANON), *q;

	strcpy(p + PAGE, "moved");
	q = (char *)raw(SYS_mremap, p, 4 * PAGE, 4 * PAGE, REMAP_MAYMOVE | REMAP_DONTUNMAP, 0);
	row("mremap that leaves the old place mapped", (long)q);
	say("there: %s; here: %d", q + PAGE, p[PAGE]);
	row("… with another length", raw(SYS_mremap, p, 4 * PAGE, 5 * PAGE, REMAP_MAYMOVE | REMAP_DONTUNMAP, 0));
	row("… without leave to move", raw(SYS_mremap, p, 4 * PAGE, 4 * PAGE, REMAP_DONTUNMAP, 0));
	row("… to a fixed place", raw(SYS_mremap, q, 4 * PAGE, 4 * PAGE, REMAP_MAYMOVE | REMAP_FIXED | REMAP_DONTUNMAP, p) > 0);
	say("there: %s; here: %d", p + PAGE, q[PAGE]);
	// Shrinking takes more than one mapping, growing only one.
	CHECK(!mprotect(p + 2 * PAGE, PAGE, PROT_READ));
	row("shrink over three mappings", raw(SYS_mremap, p, 4 * PAGE, PAGE, 0, 0));
	say("first: %s, second: %s, last: %s", read_of(p), read_of(p + PAGE), read_of(p + 3 * PAGE));
	row("a page to the page below", raw(SYS_mremap, q + PAGE, PAGE, PAGE, REMAP_MAYMOVE | REMAP_FIXED, q) > 0);
	say("first: %s, second: %s", read_of(q), read_of(q + PAGE));
}

// Moved by a page, 2 MiB and more keep their contents; and back.
static void shifted(void)
{
	size_t pages = 3 * HUGE_PAGE / PAGE;
	char *p = map(pages + 8, RW, ANON), *to = map(pages + 8, PROT_NONE, ANON);
	unsigned long wrong = 0;

	for (size_t i = 0; i < pages; i++)
		*(unsigned long *)(p + i * PAGE) = i * 7 + 1;
	for (int i = 1; i <= 3; i++) {
		CHECK_EQ(raw(SYS_mremap, p, pages * PAGE, pages * PAGE, REMAP_MAYMOVE | REMAP_FIXED, to + i * PAGE), to + i * PAGE);
		CHECK_EQ(raw(SYS_mremap, to + i * PAGE, pages * PAGE, pages * PAGE, REMAP_MAYMOVE | REMAP_FIXED, p), p);
	}
	for (size_t i = 0; i < pages; i++)
		wrong += *(unsigned long *)(p + i * PAGE) != i * 7 + 1;
	say("%lu pages there and back, three times: %lu are wrong", pages, wrong);
}

// ---- What grows down ------------------------------------------------------------------------------------------------

static void growing(void)
{
	char *room = map(2048, PROT_NONE, ANON), *p = room + 1600 * PAGE;

	CHECK(!munmap(room + PAGE, 2046 * PAGE));
	row("a mapping that grows down", raw(SYS_mmap, p, 2 * PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0l) > 0);
	p[0] = 1;
	say("a page below: %s, a hundred below: %s", read_of(p - PAGE), read_of(p - 100 * PAGE));
	row("mprotect down to its start", raw(SYS_mprotect, p, PAGE, PROT_READ | GROWS_DOWN));
	say("it may be written: %s", fault_name(fault_write(p - 100 * PAGE, 1)));
	row("mprotect down to the start of what does not", raw(SYS_mprotect, room, PAGE, PROT_READ | GROWS_DOWN));
	row("mprotect up", raw(SYS_mprotect, p, PAGE, PROT_READ | GROWS_UP));
	row("mprotect both ways", raw(SYS_mprotect, p, PAGE, PROT_READ | GROWS_DOWN | GROWS_UP));
	row("shared, growing down", raw(SYS_mmap, 0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0l));
	CHECK_EQ(raw(SYS_mmap, p - 500 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0l), p - 500 * PAGE);
	say("close to a mapping: %s; close to its guard: %s", read_of(p - 499 * PAGE), read_of(p - 240 * PAGE));
}

// ---- Shared memory --------------------------------------------------------------------------------------------------

static void shared(void)
{
	char *p = map(8, RW, MAP_SHARED | MAP_ANONYMOUS);

	memset(p, 's', 8 * PAGE);
	CHECK(!munmap(p + 4 * PAGE, 4 * PAGE));
	p = mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
	CHECK(p != MAP_FAILED);
	say("shared: unmapped and grown again: %c", p[7 * PAGE]);
	CHECK_EQ(raw(SYS_mmap, p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0l), p + PAGE);
	say("private memory in its middle: %d; then %c", p[PAGE], p[2 * PAGE]);
	char *q = (char *)raw(SYS_mremap, p + 2 * PAGE, 0, 2 * PAGE, REMAP_MAYMOVE);
	CHECK((long)q > 0);
	q[0] = 't';
	say("the third page again: %c %c", p[2 * PAGE], p[3 * PAGE]);
	row("MADV_DONTNEED over both kinds", raw(SYS_madvise, p, 8 * PAGE, MADV_DONTNEED));
	say("%c %d %c; resident %d %d %d", p[0], p[PAGE], p[2 * PAGE], resident(p + 3 * PAGE), resident(p + PAGE), resident(q));
	row("MADV_POPULATE_WRITE over both", raw(SYS_madvise, p, 8 * PAGE, ADVICE_POPULATE_WRITE));
}

// ---- The rest -------------------------------------------------------------------------------------------------------

static void large(void)
{
	char *room = map(3 * HUGE_PAGE / PAGE, RW, ANON), *p = (char *)(((uintptr_t)room + HUGE_PAGE - 1) & -HUGE_PAGE);
	unsigned long wrong = 0;

	for (size_t i = 0; i < HUGE_PAGE; i += 3 * PAGE)
		p[i] = (char)(i / PAGE);
	row("MADV_COLLAPSE of an odd length", raw(SYS_madvise, p, PAGE, ADVICE_COLLAPSE));
	row("MADV_COLLAPSE of a hole", raw(SYS_madvise, (char *)0x10000, HUGE_PAGE, ADVICE_COLLAPSE));
	raw(SYS_madvise, p, HUGE_PAGE, ADVICE_COLLAPSE);	// a machine may have no large page
	for (size_t i = 0; i < HUGE_PAGE; i += PAGE)
		wrong += p[i] != (i / PAGE % 3 ? 0 : (char)(i / PAGE));
	CHECK(!munmap(p + 5 * PAGE, PAGE));
	CHECK(!mprotect(p + 9 * PAGE, PAGE, PROT_READ));
	say("collapsed, and cut twice: %lu pages are wrong; %s, %s, %s", wrong, read_of(p + 4 * PAGE), read_of(p + 5 * PAGE),
	    fault_name(fault_write(p + 9 * PAGE, 1)));
}

static void protections(void)
{
	char *w = map(1, PROT_WRITE, ANON), *x = map(1, PROT_READ | PROT_EXEC, ANON), *r = map(1, PROT_READ, ANON);

	CHECK(!mprotect(x, PAGE, RW));
	x[0] = (char)0xc3;
	CHECK(!mprotect(x, PAGE, PROT_READ | PROT_EXEC));
	say("only to be written: %s %s", fault_name(fault_write(w, 1)), read_of(w));
	say("to be executed: %s %s", fault_name(fault_call(x)), fault_name(fault_write(x, 1)));
	say("only to be read: %s %s", fault_name(fault_call(r)), fault_name(fault_write(r, 1)));
	row("mprotect, an atomic-semaphore page", raw(SYS_mprotect, r, PAGE, PROT_READ | 8));
}

static void barriers(void)
{
	long can = raw(SYS_membarrier, MEMBARRIER_QUERY, 0, 0);

	CHECK(can > 0 && (can & (MEMBARRIER_PRIVATE | MEMBARRIER_REGISTER_PRIVATE)));
	row("membarrier before it is registered", raw(SYS_membarrier, MEMBARRIER_PRIVATE, 0, 0));
	row("membarrier, register", raw(SYS_membarrier, MEMBARRIER_REGISTER_PRIVATE, 0, 0));
	row("membarrier", raw(SYS_membarrier, MEMBARRIER_PRIVATE, 0, 0));
	row("membarrier of all", raw(SYS_membarrier, 1, 0, 0));
	row("membarrier, unknown", raw(SYS_membarrier, 1 << 20, 0, 0));
	row("membarrier, flags", raw(SYS_membarrier, MEMBARRIER_QUERY, 1, 0));
}

static void limits(void)
{
	struct rlimit old, low;

	CHECK(!getrlimit(RLIMIT_AS, &old));
	low = (struct rlimit){ 1ul << 20, old.rlim_max };
	CHECK(!setrlimit(RLIMIT_AS, &low));
	long map_result = raw(SYS_mmap, 0, 64ul << 20, RW, ANON, -1, 0l);
	CHECK(!setrlimit(RLIMIT_AS, &old));
	row("beyond RLIMIT_AS", map_result);
	row("more than there can be", raw(SYS_mmap, 0, 1ul << 46, RW, ANON, -1, 0l));
	row("as much, never to be written", raw(SYS_mmap, 0, 1ul << 45, PROT_NONE, ANON | MAP_NORESERVE, -1, 0l) > 0);
	row("below 2 GiB", raw(SYS_mmap, 0, PAGE, RW, ANON | 0x40, -1, 0l) < 1l << 31);
	row("large pages of a reserve", raw(SYS_mmap, 0, HUGE_PAGE, RW, ANON | MAP_HUGETLB, -1, 0l));
}

int main(void)
{
	faults_catch();
	future_locks();
	leaving();
	shifted();
	growing();
	shared();
	large();
	protections();
	barriers();
	limits();
	return 0;
}
