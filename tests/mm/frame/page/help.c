// SPDX-License-Identifier: MIT
// See page/help.h.
#include "tests/mm/frame/page/help.h"
#include "lab/test.h"
#include "mm/frame/page.h"
#include "mm/frame/slab.h"
#include "tests/mm/help.h"

u64 page_balance_start(void) { return mm_settled_frames(); }

bool page_balanced(u64 before)
{
	EXPECT(EVENTUALLY(!threads_ending()));
	slab_shrink();
	return page_free_count() == before;
}

paddr_t page_hole(void)
{
	paddr_t pa = 0;

	while (page_valid(pa))
		pa += SECTION_SIZE;
	return pa;
}

paddr_t page_hole_end(void)
{
	for (paddr_t pa = page_hole(); pa < page_map_frames << PAGE_SHIFT; pa += SECTION_SIZE)
		if (page_valid(pa))
			return pa;
	return 0;
}
