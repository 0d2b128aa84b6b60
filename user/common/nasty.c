// SPDX-License-Identifier: MIT
// Nasty arguments.
#include "user/common/nasty.h"
#include "user/common/check.h"
#include <sys/mman.h>

#define USER_END (1ul << 47)
#define KERNEL_START 0xffff800000000000ul
#define KERNEL_TEXT 0xffffffff80000000ul

static const char only_read[64] = "a program's constant";

void arena_map(void)
{
	CHECK(mmap((void *)ARENA_START, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (void *)ARENA_START);
}

bool in_arena(uintptr_t start, uintptr_t length)
{
	uintptr_t end = ARENA_START + ARENA_PAGES * PAGE;

	return start >= ARENA_START && start <= end && length <= end - start;
}

// Around 0 and around each power of two, or any number.
uint64_t nasty_number(struct random *r)
{
	uint64_t near = random_below(r, 5) - 2;

	switch (random_below(r, 6)) {
	case 0: return random_below(r, 16);
	case 1: return near;
	case 2: return (1ul << random_below(r, 64)) + near;
	case 3: return -(1ul << random_below(r, 64)) + near;
	case 4: return random_next(r) >> random_below(r, 64);
	default: return random_below(r, 0x10000);
	}
}

uintptr_t arena_page(struct random *r) { return ARENA_START + random_below(r, ARENA_PAGES) * PAGE; }

// From the first byte to just before the last of a page, or across its end.
static uintptr_t in_page(struct random *r, uintptr_t page)
{
	switch (random_below(r, 4)) {
	case 0: return page;
	case 1: return page + PAGE - 1 - random_below(r, 32);
	case 2: return page + random_below(r, PAGE) / 8 * 8;
	default: return page + random_below(r, PAGE);
	}
}

uintptr_t bad_address(struct random *r)
{
	switch (random_below(r, 8)) {
	case 0: return random_below(r, PAGE);
	case 1: return USER_END - PAGE + random_below(r, 2 * PAGE);
	case 2: return USER_END + (random_next(r) >> 17);
	case 3: return KERNEL_START - 1 - random_below(r, 2 * PAGE);
	case 4: return KERNEL_START + random_below(r, 1ul << 29);	// where its memory is mapped
	case 5: return KERNEL_TEXT + random_below(r, 4 << 20);
	case 6: return -random_below(r, PAGE);
	default: return KERNEL_START + (random_next(r) >> 17);
	}
}

uintptr_t nasty_address(struct random *r)
{
	uint64_t what = random_below(r, 16);

	if (what < 10)
		return in_page(r, arena_page(r));
	if (what == 10)
		return 0;
	if (what == 11)
		return (uintptr_t)only_read + random_below(r, sizeof(only_read));
	return bad_address(r);
}

uint64_t nasty_length(struct random *r)
{
	switch (random_below(r, 4)) {
	case 0: return random_below(r, 64);
	case 1: return random_below(r, 16) * PAGE;
	case 2: return random_below(r, 16 * PAGE);
	default: return nasty_number(r);
	}
}

uint64_t nasty(struct random *r)
{
	switch (random_below(r, 4)) {
	case 0: return nasty_number(r);
	case 1: return nasty_length(r);
	default: return nasty_address(r);
	}
}
