// SPDX-License-Identifier: MIT
// What the loader has left in RAM is never handed out. (tools/pvhcases.py boots with modules in the middle of it.)
#include "arch/x86_64/bootinfo.h"
#include "lab/test.h"
#include "mm/frame/page.h"

TEST(memmap, taken_is_never_free, 0)
{
	for (unsigned i = 0; i < boot_info.nr_taken; i++)
		for (paddr_t pa = ALIGN_DOWN(boot_info.taken[i].start, PAGE_SIZE); pa < boot_info.taken[i].end; pa += PAGE_SIZE)
			REQUIRE(!page_valid(pa) || page_of(pa)->kind == PAGE_RESERVED);
}
