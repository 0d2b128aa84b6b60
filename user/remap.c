// SPDX-License-Identifier: MIT
// Where memory may come to lie: a second mapping in the place of the first, a block that moves and leaves the stack its room,
// a stack that must not grow down to page 0.
#include "user/common/check.h"
#include "user/common/fault.h"
#include "user/common/kernel.h"
#include <string.h>
#include <sys/mman.h>

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)
#define MIB (1ul << 20)

static void onto_itself(void)
{
	char *p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t value;

	CHECK(p != MAP_FAILED);
	p[0] = 1;
	say("second mapping in the place of the first: %s",
	    error_of(raw(SYS_mremap, p, 0, 2 * PAGE, REMAP_MAYMOVE | REMAP_FIXED, p)));
	say("what is there now: %s", fault_name(fault_read(p, &value)));
}

static __attribute__((noinline)) long recurse(long depth)
{
	volatile char frame[64 * 1024];

	frame[0] = (char)depth;
	frame[sizeof(frame) - 1] = 1;
	return (depth ? recurse(depth - 1) : 0) + frame[sizeof(frame) - 1];
}

static void beside_the_stack(void)
{
	char *p = mmap(NULL, MIB, RW, ANON, -1, 0), here;

	CHECK(p != MAP_FAILED);
	memset(p, 7, MIB);
	mmap(p + MIB, PAGE, PROT_NONE, ANON | MAP_FIXED_NOREPLACE, -1, 0);	// no room to grow in place
	char *q = (char *)raw(SYS_mremap, p, MIB, 2 * MIB, REMAP_MAYMOVE, NULL);
	CHECK((long)q > 0);
	say("moved: %d, what came along: %d, far below the stack: %d", q != p, q[MIB - 1], (uintptr_t)&here - (uintptr_t)q > 64 * MIB);
	say("recursion: %ld frames of 64 KiB", recurse(100));
}

static void down_to_page_0(void)
{
	char *p = mmap((void *)0x10000, PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0);

	CHECK(p == (void *)0x10000);
	say("a write to the lowest page: %s", fault_name(fault_write(p, 1)));
	say("to the one below: %s", fault_name(fault_write(p - 8, 1)));
	say("to page 0: %s", fault_name(fault_write((void *)8, 1)));
}

int main(void)
{
	faults_catch();
	onto_itself();
	beside_the_stack();
	down_to_page_0();
	return 0;
}
