// SPDX-License-Identifier: MIT
// The program that was passed, and its arguments, whichever way they came (tools/programcases.py). Most boots pass
// none. Where the arguments are "pattern SIZE", the file consists of numbers; where they are "refused WHY", it cannot
// be taken.
#include "kernel/lib.h"
#include "lab/test.h"
#include "mm/frame/page.h"
#include "proc/args.h"
#include <arch/machine.h>

static struct args args;

static void expect_pattern(const u8 *program, u64 size)
{
	u64 n = 0, wrong = 0;
	u32 word;

	REQUIRE(args.n == 2 && parse_u64(args.v[1], &n));
	EXPECT_EQ(size, n);
	for (u64 i = 0; i + sizeof(word) <= size; i += sizeof(word)) {
		memcpy(&word, program + i, sizeof(word));
		wrong += word != (u32)(i / sizeof(word)) * 0x9e3779b1;
	}
	EXPECT_EQ(wrong, 0);
}

// Nobody else gets the memory in which it lies.
static void expect_kept(const u8 *program, u64 size)
{
	for (u64 i = 0; i < size; i += PAGE_SIZE)
		if (page_valid(virt_to_phys(program + i)))
			EXPECT(virt_to_page(program + i)->kind == PAGE_RESERVED);
}

TEST(program, as_it_was_passed, 0)
{
	u64 size = 1;
	const u8 *program = arch_program(&size);

	REQUIRE(!args_split(arch_program_args(), &args));
	if (args.n == 2 && !strcmp(args.v[0], "refused")) {
		EXPECT(!program && !size && !strcmp(arch_program_error() ?: "", args.v[1]));
		return;
	}
	EXPECT(!arch_program_error());
	if (!args.n) {
		EXPECT(!program && !size);
		return;
	}
	REQUIRE(!strcmp(args.v[0], "pattern") && program);
	log_info("program: %llu bytes at %#llx", (unsigned long long)size, (unsigned long long)virt_to_phys(program));
	expect_pattern(program, size);
	expect_kept(program, size);
}
