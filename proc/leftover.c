// SPDX-License-Identifier: MIT
// Counting what is in use. Each descriptor is looked at, so that a frame is found whoever has forgotten it.
#include "proc/leftover.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "lab/quarantine.h"
#include "mm/frame/page.h"
#include "mm/policy/policy.h"

static bool is_programs(const struct page *p)
{
	u32 kind = READ_ONCE(p->kind);

	return (kind == PAGE_ANON || kind == PAGE_TABLE) && READ_ONCE(p->refs);
}

u64 leftover_frames(void)
{
	u64 n = 0;

	while (threads_ending())
		thread_sleep_ns(tick_ns());	// no yield: the one that is ending may have a lower priority
	policies_drain();
	quarantine_drain();
	for (u64 frame = 0; frame < page_map_frames; frame++) {
		paddr_t pa = frame << PAGE_SHIFT;

		if (page_valid(pa) && is_programs(page_of(pa)))
			n += 1ull << page_of(pa)->order;
	}
	return n;
}
