// SPDX-License-Identifier: MIT
// See page_help.h.
#include "tests/page_help.h"
#include "kernel/test.h"
#include "mm/page.h"
#include "mm/slab.h"
#include "tests/mm_help.h"

u64 page_balance_start(void) { return mm_settled_frames(); }

bool page_balanced(u64 before)
{
	EXPECT(EVENTUALLY(!threads_ending()));
	slab_shrink();
	return page_free_count() == before;
}
