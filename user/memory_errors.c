// SPDX-License-Identifier: MIT
// How each call on memory answers each kind of bad argument, and what its success looks like: one line each.
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
#define NON_CANONICAL 0x8000000000000000ul
#define KERNEL_HALF 0xffff888000000000ul
#define TOP 0x7ffffffff000ul	// behind the last page of a program
#define HUGE (~0ul & -PAGE)

// Eight pages, of which the fourth (number 3) is not mapped, and the last two are read-only.
static char *area(void)
{
	char *p = mmap(NULL, 8 * PAGE, RW, ANON, -1, 0);

	CHECK(p != MAP_FAILED);
	CHECK(!munmap(p + 3 * PAGE, PAGE));
	CHECK(!mprotect(p + 6 * PAGE, 2 * PAGE, PROT_READ));
	return p;
}

static void row(const char *call, const char *what, long result) { say("%-18s %-36s %s", call, what, error_of(result)); }

static void mmap_row(const char *what, uintptr_t at, size_t len, int prot, int flags, int fd, long offset)
{
	long r = raw(SYS_mmap, at, len, prot, flags, fd, offset);

	row("mmap", what, r);
	if (r >= 0)
		CHECK_EQ(raw(SYS_munmap, r, len), 0);
}

static void mmap_rows(void)
{
	char *p = area();
	uintptr_t hole = (uintptr_t)p + 3 * PAGE;

	mmap_row("one page", 0, PAGE, RW, ANON, -1, 0);
	mmap_row("one byte", 0, 1, RW, ANON, -1, 0);
	mmap_row("no bytes", 0, 0, RW, ANON, -1, 0);
	mmap_row("huge", 0, HUGE, RW, ANON, -1, 0);
	mmap_row("huge, no page multiple", 0, ~0ul, RW, ANON, -1, 0);
	mmap_row("128 TiB", 0, 1ul << 47, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	mmap_row("neither private nor shared", 0, PAGE, RW, MAP_ANONYMOUS, -1, 0);
	mmap_row("no file", 0, PAGE, RW, MAP_PRIVATE, -1, 0);
	mmap_row("unknown descriptor", 0, PAGE, RW, MAP_PRIVATE, 99, 0);
	mmap_row("odd offset", 0, PAGE, RW, ANON, -1, 5);
	mmap_row("descriptor beside MAP_ANONYMOUS", 0, PAGE, RW, ANON, 99, 0);
	mmap_row("odd hint", 12345, PAGE, RW, ANON, -1, 0);
	mmap_row("odd fixed address", hole + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	mmap_row("fixed in a hole", hole, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	mmap_row("fixed behind the end", TOP, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	mmap_row("fixed across the end", TOP - PAGE, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	mmap_row("fixed, not canonical", NON_CANONICAL, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	mmap_row("fixed in the kernel's half", KERNEL_HALF, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	mmap_row("hint in the kernel's half", KERNEL_HALF, PAGE, RW, ANON, -1, 0);
	mmap_row("noreplace in a hole", hole, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	mmap_row("noreplace across a mapping", hole, 2 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK_EQ(raw(SYS_munmap, p, 8 * PAGE), 0);
}

static void munmap_rows(void)
{
	char *p = area();

	row("munmap", "odd address", raw(SYS_munmap, p + 1, PAGE));
	row("munmap", "no bytes", raw(SYS_munmap, p, 0));
	row("munmap", "huge", raw(SYS_munmap, p, HUGE));
	row("munmap", "across the end", raw(SYS_munmap, TOP - PAGE, 2 * PAGE));
	row("munmap", "in the kernel's half", raw(SYS_munmap, KERNEL_HALF, PAGE));
	row("munmap", "a hole", raw(SYS_munmap, p + 3 * PAGE, PAGE));
	row("munmap", "one byte is one page", raw(SYS_munmap, p, 1));
	row("munmap", "across holes", raw(SYS_munmap, p, 8 * PAGE));
}

static void mprotect_rows(void)
{
	char *p = area();

	row("mprotect", "one page", raw(SYS_mprotect, p, PAGE, PROT_READ));
	row("mprotect", "odd address", raw(SYS_mprotect, p + 1, PAGE, PROT_READ));
	row("mprotect", "no bytes", raw(SYS_mprotect, p, 0, PROT_READ));
	row("mprotect", "no bytes in a hole", raw(SYS_mprotect, p + 3 * PAGE, 0, PROT_READ));
	row("mprotect", "a hole", raw(SYS_mprotect, p + 3 * PAGE, PAGE, PROT_READ));
	row("mprotect", "before a hole, then the hole", raw(SYS_mprotect, p + 1 * PAGE, 4 * PAGE, PROT_NONE));
	row("mprotect", "unknown bits", raw(SYS_mprotect, p, PAGE, 0x40000000));
	row("mprotect", "huge", raw(SYS_mprotect, p, HUGE, PROT_READ));
	row("mprotect", "in the kernel's half", raw(SYS_mprotect, KERNEL_HALF, PAGE, PROT_READ));
	uint64_t value;
	say("mprotect: the page before the hole is now: %s; behind it: %s", fault_name(fault_read(p + 2 * PAGE, &value)),
	    fault_name(fault_read(p + 4 * PAGE, &value)));
	CHECK_EQ(raw(SYS_munmap, p, 8 * PAGE), 0);
}

static long mremap_(const void *old, size_t old_len, size_t len, int flags, const void *to)
{
	return raw(SYS_mremap, old, old_len, len, flags, to);
}

static void mremap_rows(void)
{
	char *p = area(), *place = mmap(NULL, 16 * PAGE, PROT_NONE, ANON, -1, 0);

	CHECK(place != MAP_FAILED);
	row("mremap", "same size", mremap_(p, PAGE, PAGE, 0, NULL));
	row("mremap", "odd address", mremap_(p + 1, PAGE, PAGE, 0, NULL));
	row("mremap", "to no bytes", mremap_(p, PAGE, 0, 0, NULL));
	row("mremap", "from no bytes, private", mremap_(p, 0, PAGE, REMAP_MAYMOVE, NULL));
	row("mremap", "unknown flags", mremap_(p, PAGE, PAGE, 0x100, NULL));
	row("mremap", "fixed without MAYMOVE", mremap_(p, PAGE, PAGE, REMAP_FIXED, place));
	row("mremap", "a hole", mremap_(p + 3 * PAGE, PAGE, 2 * PAGE, REMAP_MAYMOVE, NULL));
	row("mremap", "grow where there is no room", mremap_(p + 4 * PAGE, 2 * PAGE, 3 * PAGE, 0, NULL));
	row("mremap", "grow across mappings", mremap_(p + 5 * PAGE, 2 * PAGE, 3 * PAGE, REMAP_MAYMOVE, NULL));
	row("mremap", "grow across a hole", mremap_(p + 2 * PAGE, 2 * PAGE, 3 * PAGE, REMAP_MAYMOVE, NULL));
	row("mremap", "fixed to an odd address", mremap_(p, PAGE, PAGE, REMAP_MAYMOVE | REMAP_FIXED, place + 1));
	row("mremap", "fixed onto itself", mremap_(p, 2 * PAGE, 2 * PAGE, REMAP_MAYMOVE | REMAP_FIXED, p + PAGE));
	row("mremap", "fixed to the kernel's half",
	    mremap_(p, PAGE, PAGE, REMAP_MAYMOVE | REMAP_FIXED, (void *)KERNEL_HALF));
	p[0] = 'x';
	row("mremap", "fixed, and grown", mremap_(p, PAGE, 3 * PAGE, REMAP_MAYMOVE | REMAP_FIXED, place));
	say("mremap: what came along: %c, behind it %d", place[0], place[2 * PAGE]);
	row("mremap", "shrink", mremap_(place, 3 * PAGE, PAGE, 0, NULL));
	CHECK_EQ(raw(SYS_munmap, place, 16 * PAGE), 0);
	CHECK_EQ(raw(SYS_munmap, p, 8 * PAGE), 0);
}

// A second mapping of the same shared memory: from no bytes.
static void shared_rows(void)
{
	char *p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *again = (char *)mremap_(p, 0, 2 * PAGE, REMAP_MAYMOVE, NULL);
	uint64_t value = 0;

	row("mremap", "from no bytes, shared", (long)again);
	CHECK((long)again > 0);
	p[PAGE] = 'y';
	say("shared: the second mapping sees %c", again[PAGE]);
	row("madvise", "DONTNEED on shared memory", raw(SYS_madvise, p, 2 * PAGE, MADV_DONTNEED));
	say("shared: after MADV_DONTNEED both see %c %c", p[PAGE], again[PAGE]);
	row("madvise", "FREE on shared memory", raw(SYS_madvise, p, 2 * PAGE, ADVICE_FREE));
	CHECK_EQ(raw(SYS_munmap, p, 2 * PAGE), 0);
	say("shared: after munmap of the first the second sees %c", again[PAGE]);
	again = (char *)mremap_(again, 2 * PAGE, 4 * PAGE, REMAP_MAYMOVE, NULL);
	CHECK((long)again > 0);
	say("shared: grown behind its end: %s, then %s", fault_name(fault_read(again + PAGE, &value)),
	    fault_name(fault_read(again + 2 * PAGE, &value)));
	CHECK_EQ(raw(SYS_munmap, again, 4 * PAGE), 0);
}

static void madvise_rows(void)
{
	char *p = area();

	row("madvise", "DONTNEED", raw(SYS_madvise, p, PAGE, MADV_DONTNEED));
	row("madvise", "DONTNEED, odd address", raw(SYS_madvise, p + 1, PAGE, MADV_DONTNEED));
	row("madvise", "DONTNEED, no bytes", raw(SYS_madvise, p, 0, MADV_DONTNEED));
	row("madvise", "DONTNEED across a hole", raw(SYS_madvise, p, 5 * PAGE, MADV_DONTNEED));
	row("madvise", "DONTNEED, huge", raw(SYS_madvise, p, HUGE, MADV_DONTNEED));
	row("madvise", "FREE", raw(SYS_madvise, p, PAGE, ADVICE_FREE));
	row("madvise", "FREE across a hole", raw(SYS_madvise, p, 5 * PAGE, ADVICE_FREE));
	row("madvise", "unknown advice", raw(SYS_madvise, p, PAGE, 9999));
	row("madvise", "unknown advice, no bytes", raw(SYS_madvise, p, 0, 9999));
	row("madvise", "POPULATE_READ", raw(SYS_madvise, p, PAGE, ADVICE_POPULATE_READ));
	row("madvise", "POPULATE_WRITE", raw(SYS_madvise, p, PAGE, ADVICE_POPULATE_WRITE));
	row("madvise", "POPULATE_WRITE, read-only", raw(SYS_madvise, p + 6 * PAGE, PAGE, ADVICE_POPULATE_WRITE));
	row("madvise", "POPULATE_READ across a hole", raw(SYS_madvise, p, 5 * PAGE, ADVICE_POPULATE_READ));
	row("madvise", "in the kernel's half", raw(SYS_madvise, KERNEL_HALF, PAGE, MADV_DONTNEED));
	CHECK_EQ(raw(SYS_munmap, p, 8 * PAGE), 0);
}

static void mincore_rows(void)
{
	unsigned char in[8] = { 0 };
	char *p = area();

	p[0] = 1;
	row("mincore", "three pages", raw(SYS_mincore, p, 3 * PAGE, in));
	say("mincore: the touched one %d, others %d %d", in[0] & 1, in[1] & 1, in[2] & 1);
	row("mincore", "odd address", raw(SYS_mincore, p + 1, PAGE, in));
	row("mincore", "no bytes", raw(SYS_mincore, p, 0, in));
	row("mincore", "across a hole", raw(SYS_mincore, p, 5 * PAGE, in));
	row("mincore", "no vector", raw(SYS_mincore, p, PAGE, 8));
	row("mincore", "huge", raw(SYS_mincore, p, HUGE, in));
	row("mincore", "in the kernel's half", raw(SYS_mincore, KERNEL_HALF, PAGE, in));
	CHECK_EQ(raw(SYS_munmap, p, 8 * PAGE), 0);
}

static void mlock_rows(void)
{
	unsigned char in[8] = { 0 };
	char *p = area();

	row("mlock", "three pages", raw(SYS_mlock, p, 3 * PAGE));
	CHECK_EQ(raw(SYS_mincore, p, 3 * PAGE, in), 0);
	say("mlock: resident %d %d %d", in[0] & 1, in[1] & 1, in[2] & 1);
	row("madvise", "DONTNEED on locked memory", raw(SYS_madvise, p, PAGE, MADV_DONTNEED));
	row("mlock", "across a hole", raw(SYS_mlock, p, 5 * PAGE));
	row("mlock", "no bytes", raw(SYS_mlock, p, 0));
	row("mlock2", "unknown flags", raw(SYS_mlock2, p, PAGE, 2));
	row("mlockall", "unknown flags", raw(SYS_mlockall, 8));
	row("mlockall", "no flags", raw(SYS_mlockall, 0));
	row("munlock", "three pages", raw(SYS_munlock, p, 3 * PAGE));
	row("munlock", "a hole", raw(SYS_munlock, p + 3 * PAGE, PAGE));
	row("madvise", "DONTNEED after munlock", raw(SYS_madvise, p, PAGE, MADV_DONTNEED));
	row("munlockall", "", raw(SYS_munlockall));
	CHECK_EQ(raw(SYS_munmap, p, 8 * PAGE), 0);
}

static void vm_row(const char *what, char *local, size_t local_len, uintptr_t remote, size_t remote_len)
{
	struct iovec to = { local, local_len }, from = { (void *)remote, remote_len };
	long r = raw(SYS_process_vm_readv, getpid(), &to, 1ul, &from, 1ul, 0ul);

	say("%-18s %-36s %s", "process_vm_readv", what, outcome_of(r));
}

static void vm_rows(void)
{
	struct iovec one[2] = { 0 };
	char *p = area(), buffer[2 * PAGE];

	memset(p, 'a', 3 * PAGE);
	vm_row("a page", buffer, PAGE, (uintptr_t)p, PAGE);
	vm_row("up to a hole", buffer, 2 * PAGE, (uintptr_t)p + 2 * PAGE + 96, 2 * PAGE);
	vm_row("a hole", buffer, 8, (uintptr_t)p + 3 * PAGE, 8);
	vm_row("more room than asked for", buffer, PAGE, (uintptr_t)p, 10);
	vm_row("less room than asked for", buffer, 10, (uintptr_t)p, PAGE);
	vm_row("into read-only memory", p + 6 * PAGE, 8, (uintptr_t)p, 8);
	vm_row("from the kernel's half", buffer, 8, KERNEL_HALF, 8);
	vm_row("nothing", buffer, 0, (uintptr_t)p, 0);
	one[0] = (struct iovec){ buffer, 8 };
	row("process_vm_readv", "unknown flags", raw(SYS_process_vm_readv, getpid(), one, 1ul, one, 1ul, 1ul));
	row("process_vm_readv", "no list", raw(SYS_process_vm_readv, getpid(), 8ul, 1ul, one, 1ul, 0ul));
	row("process_vm_readv", "too many", raw(SYS_process_vm_readv, getpid(), one, 1ul, one, 5000ul, 0ul));
	one[1] = (struct iovec){ buffer, ~0ul };
	row("process_vm_readv", "a negative length", raw(SYS_process_vm_readv, getpid(), one, 1ul, &one[1], 1ul, 0ul));
	row("process_vm_writev", "to read-only memory", raw(SYS_process_vm_writev, getpid(), one, 1ul,
		&(struct iovec){ p + 6 * PAGE, 8 }, 1ul, 0ul));
	row("process_vm_readv", "no such process", raw(SYS_process_vm_readv, 0x3ffffff, one, 1ul, one, 1ul, 0ul));
	CHECK_EQ(raw(SYS_munmap, p, 8 * PAGE), 0);
}

// What QUERY names must be there; what it names is not Linux's and our same choice.
static void membarrier_rows(void)
{
	long query = raw(SYS_membarrier, MEMBARRIER_QUERY, 0, 0);

	CHECK(query >= 0 && !(query & ~0xfffl));
	if (query & MEMBARRIER_PRIVATE) {
		CHECK_EQ(raw(SYS_membarrier, MEMBARRIER_PRIVATE, 0, 0), -EPERM);	// before it is registered
		CHECK_EQ(raw(SYS_membarrier, MEMBARRIER_REGISTER_PRIVATE, 0, 0), 0);
		CHECK_EQ(raw(SYS_membarrier, MEMBARRIER_PRIVATE, 0, 0), 0);
	}
	row("membarrier", "query", query);
	row("membarrier", "unknown command", raw(SYS_membarrier, 1 << 30, 0, 0));
	row("membarrier", "unknown flags", raw(SYS_membarrier, MEMBARRIER_QUERY, 2, 0));
}

#define LARGE (2ul << 20)

// Whether there is a large page to be had is luck; the contents stay in any case.
static void collapse(void)
{
	char *p = mmap(NULL, 2 * LARGE, RW, ANON, -1, 0), *at = (char *)(((uintptr_t)p + LARGE - 1) & -LARGE);
	long r;

	CHECK(p != MAP_FAILED);
	for (size_t i = 0; i < LARGE; i += PAGE)
		*(uint64_t *)(at + i) = i;
	r = raw(SYS_madvise, at, LARGE, ADVICE_COLLAPSE);
	CHECK(r == 0 || r == -EAGAIN || r == -ENOMEM);
	for (size_t i = 0; i < LARGE; i += PAGE)
		CHECK_EQ(*(uint64_t *)(at + i), i);
	CHECK_EQ(raw(SYS_mprotect, at + PAGE, PAGE, PROT_NONE), 0);
	CHECK_EQ(raw(SYS_munmap, at + 2 * PAGE, PAGE), 0);
	uint64_t value = 0;
	say("madvise            COLLAPSE: contents stay; then pages of it: %s, %s, %s", fault_name(fault_read(at, &value)),
	    fault_name(fault_read(at + PAGE, &value)), fault_name(fault_read(at + 2 * PAGE, &value)));
	CHECK_EQ(raw(SYS_munmap, p, 2 * LARGE), 0);
}

// RLIMIT_AS stands for the lack of memory, which would take long to bring about.
static void limit_rows(void)
{
	struct rlimit64 old, low;

	CHECK_EQ(raw(SYS_prlimit64, 0, RLIMIT_AS, NULL, &old), 0);
	low = (struct rlimit64){ .rlim_cur = 1ul << 30, .rlim_max = old.rlim_max };
	CHECK_EQ(raw(SYS_prlimit64, 0, RLIMIT_AS, &low, NULL), 0);
	mmap_row("beyond RLIMIT_AS", 0, 2ul << 30, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	mmap_row("below RLIMIT_AS", 0, 1ul << 20, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	CHECK_EQ(raw(SYS_prlimit64, 0, RLIMIT_AS, &old, NULL), 0);
}

int main(void)
{
	faults_catch();
	mmap_rows();
	munmap_rows();
	mprotect_rows();
	mremap_rows();
	shared_rows();
	madvise_rows();
	mincore_rows();
	mlock_rows();
	vm_rows();
	membarrier_rows();
	collapse();
	limit_rows();
	return 0;
}
