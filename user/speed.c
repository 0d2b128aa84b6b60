// SPDX-License-Identifier: MIT
// What a system call or a page fault costs, from user mode and back. With an argument, the name of the policy under
// which the kernel frees tables: a PATH {json} line for each row, as the kernel itself prints them (docs/budgets.md).
// Without one it prints that all was done, and no figure.
//
// Under ACCEL=icount the time-stamp counter counts instructions, and a figure is exact. Each row runs in rounds. A
// round begins after a sleep, so right after a tick, and all that the last round has deferred is done; its first runs
// are not counted. The figure is the most frequent count, less that of a function that does nothing.
#include "user/common/check.h"
#include "user/common/kernel.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { ROUNDS = 15, WARM = 2, COUNTED = 4, MANY = 512 };

// Far from everything else: what is mapped there has page tables of three levels of its own.
#define FAR ((char *)0x100000000000)

struct row {
	const char *name;
	bool per_policy, alone;		// depends on the policy; is so long that a round is one run
	void (*before)(void), (*run)(void), (*after)(void);
};

// In assembly, so that no compiler and no library has a part in the figure: it differs from kernel to kernel only.
static inline __attribute__((always_inline)) long call3(long nr, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

static inline __attribute__((always_inline)) void *map_far(long pages)
{
	register long flags __asm__("r10") = MAP_PRIVATE | MAP_ANONYMOUS;
	register long fd __asm__("r8") = -1;
	register long offset __asm__("r9") = 0;
	long result;

	__asm__ volatile("syscall" : "=a"(result)
			 : "0"((long)SYS_mmap), "D"(FAR), "S"(pages * PAGE), "d"((long)(PROT_READ | PROT_WRITE)),
			   "r"(flags), "r"(fd), "r"(offset)
			 : "rcx", "r11", "memory");
	return (void *)result;
}

static inline __attribute__((always_inline)) void touch(char *p) { *(volatile char *)p = 1; }

static inline uint64_t counter(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) :: "memory");
	return (uint64_t)high << 32 | low;
}

// ---- Rows -----------------------------------------------------------------------------------------------------------

static void nothing(void) {}

static void null_call(void) { call3(SYS_getppid, 0, 0, 0); }

static uint32_t word;
static void wake_private(void) { call3(SYS_futex, (long)&word, FUTEX_WAKE | FUTEX_PRIVATE, 1); }
static void wake_shared(void) { call3(SYS_futex, (long)&word, FUTEX_WAKE, 1); }

static void map_pages(long pages)
{
	CHECK(map_far(pages) == FAR);
	for (long i = 0; i < pages; i++)
		touch(FAR + i * PAGE);
}
static void map_one(void) { map_pages(1); }
static void map_three(void) { map_pages(3); }
static void map_many(void) { map_pages(MANY); }
static void unmap_one(void) { call3(SYS_munmap, (long)FAR, PAGE, 0); }
static void unmap_three(void) { call3(SYS_munmap, (long)FAR, 3 * PAGE, 0); }
static void unmap_many(void) { call3(SYS_munmap, (long)FAR, MANY * PAGE, 0); }

static void map_touch_unmap(void)
{
	map_far(1);
	touch(FAR);
	unmap_one();
}

static void protect_one(void) { call3(SYS_mprotect, (long)FAR, PAGE, PROT_READ); }
static void protect_middle(void) { call3(SYS_mprotect, (long)(FAR + PAGE), PAGE, PROT_READ); }

// Its neighbours keep the table. The frame that it gives up is the one that it gets again, so it must be zeroed.
static void map_without_middle(void)
{
	map_three();
	CHECK(!call3(SYS_madvise, (long)(FAR + PAGE), PAGE, MADV_DONTNEED));
}
static void touch_middle(void) { touch(FAR + PAGE); }

static const struct row empty = { .name = "nothing", .run = nothing };
static const struct row rows[] = {
	{ .name = "user_null", .run = null_call },
	{ .name = "user_futex_private", .run = wake_private },
	{ .name = "user_futex_shared", .run = wake_shared },
	{ .name = "user_munmap", .per_policy = true, .before = map_one, .run = unmap_one },
	{ .name = "user_munmap_512", .per_policy = true, .alone = true, .before = map_many, .run = unmap_many },
	{ .name = "user_mmap_touch_munmap", .per_policy = true, .run = map_touch_unmap },
	{ .name = "user_mprotect", .before = map_one, .run = protect_one, .after = unmap_one },
	{ .name = "user_mprotect_middle", .before = map_three, .run = protect_middle, .after = unmap_three },
	{ .name = "user_fault", .before = map_without_middle, .run = touch_middle, .after = unmap_three },
};

// ---- Counting -------------------------------------------------------------------------------------------------------

static void step(void (*fn)(void))
{
	if (fn)
		fn();
}

static __attribute__((noinline)) uint64_t count_run(const struct row *row)
{
	void (*run)(void) = *(void (*const volatile *)(void))&row->run;	// unknown to the compiler: all are called alike
	uint64_t start = counter();

	run();
	return counter() - start;
}

// Some ticks: for what has been deferred.
static void settle(void)
{
	struct timespec t = { .tv_nsec = 50 * 1000 * 1000 };

	CHECK(!nanosleep(&t, NULL));
}

static int in_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

struct figure {
	uint64_t count;		// the most frequent one, the smallest if there are several
	unsigned int equal, n;
	uint64_t least, median;
};

static struct figure figure_of(uint64_t *counts, unsigned int n)
{
	struct figure best = { .n = n };

	qsort(counts, n, sizeof(*counts), in_order);
	for (unsigned int i = 0, j; i < n; i = j) {
		for (j = i; j < n && counts[j] == counts[i]; j++)
			;
		if (j - i > best.equal)
			best = (struct figure){ .count = counts[i], .equal = j - i, .n = n };
	}
	best.least = counts[0];
	best.median = counts[n / 2];
	return best;
}

static struct figure count_row(const struct row *row)
{
	static uint64_t counts[ROUNDS * COUNTED];
	unsigned int n = 0, warm = row->alone ? 0 : WARM, runs = row->alone ? 1 : WARM + COUNTED;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		settle();
		for (unsigned int i = 0; i < runs; i++) {
			step(row->before);
			uint64_t count = count_run(row);
			step(row->after);
			if (i >= warm)
				counts[n++] = count;
		}
	}
	return figure_of(counts, n);
}

// Cycles that a block takes, with the readings around it.
#define CYCLES_OF(block) ({ \
	uint32_t start_, end_; \
	__asm__ volatile("rdtsc; movl %%eax, %0; " block " rdtsc; movl %%eax, %1" \
			 : "=&r"(start_), "=&r"(end_) :: "eax", "ecx", "edx", "cc"); \
	end_ - start_; })

// 41 instructions that take no processor 41 cycles: only a counter of instructions says so.
static bool counts_instructions(void)
{
	for (int i = 0; i < 3; i++) {
		uint32_t nothing_else = CYCLES_OF("");

		if (CYCLES_OF("movl $1, %%ecx; .rept 20; movl $0, %%edx; divl %%ecx; .endr;") - nothing_else != 41)
			return false;
	}
	return true;
}

static void print_row(const struct row *row, const char *policy, const char *unit, uint64_t of_call)
{
	struct figure f = count_row(row);

	if (!policy)
		return;
	say("PATH {\"v\":1,\"name\":\"%s\",\"table_free\":\"%s\",\"unit\":\"%s\",\"count\":%lu,\"n\":%u,\"equal\":%u,"
	    "\"min\":%lu,\"median\":%lu}", row->name, row->per_policy ? policy : "-", unit, f.count - of_call, f.n, f.equal,
	    f.least - of_call, f.median - of_call);
}

int main(int argc, char **argv)
{
	const char *unit = counts_instructions() ? "instructions" : "cycles";
	uint64_t of_call = count_row(&empty).count;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		print_row(&rows[i], argc > 1 ? argv[1] : NULL, unit, of_call);
	say("speed: %zu rows", ARRAY_SIZE(rows));
	return 0;
}
