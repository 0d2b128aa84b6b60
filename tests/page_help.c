// SPDX-License-Identifier: MIT
// See page_help.h.
#include "tests/page_help.h"
#include "kernel/thread.h"
#include "mm/page.h"
#include "mm/slab.h"

// Frames come back late where a dead thread's stack is freed in the background.
bool page_balanced(u64 before)
{
	for (unsigned i = 0; i < 20; i++) {
		if (page_free_count() == before)
			return true;
		slab_shrink();
		thread_sleep_ns(i * NSEC_PER_MSEC);
	}
	return page_free_count() == before;
}

// Two looks that agree: nothing is on its way back any more.
u64 page_balance_start(void)
{
	u64 n, last = 0;

	for (unsigned i = 0; i < 20; i++) {
		slab_shrink();
		n = page_free_count();
		if (n == last)
			break;
		last = n;
		thread_sleep_ns(NSEC_PER_MSEC);
	}
	return last;
}
