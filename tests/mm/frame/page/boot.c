// SPDX-License-Identifier: MIT
// Which frames have descriptors: all of a section with enough RAM, and no others.
#include "lab/test.h"
#include "mm/frame/page.h"
#include <arch/machine.h>

static u64 section, ram;

static void add_part(paddr_t start, paddr_t end)
{
	start = MAX(start, section * SECTION_SIZE);
	end = MIN(end, (section + 1) * SECTION_SIZE);
	ram += start < end ? end - start : 0;
}

static bool worth_it(u64 which)
{
	section = which;
	ram = 0;
	arch_for_each_ram(add_part);
	return ram > sizeof(struct page) << SECTION_ORDER;
}

TEST(page, described_where_there_is_ram, 0)
{
	u64 end = page_map_frames >> SECTION_ORDER;

	EXPECT(end && page_valid((page_map_frames << PAGE_SHIFT) - 1) && worth_it(end - 1));
	for (u64 i = 0; i <= end && !test_failed(); i++) {
		paddr_t first = i * SECTION_SIZE, last = first + SECTION_SIZE - 1;
		bool described = worth_it(i);

		EXPECT(page_valid(first) == described && page_valid(last) == described);
	}
	EXPECT(!page_valid(~0ull));
}
