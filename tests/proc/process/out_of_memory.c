// SPDX-License-Identifier: MIT
// Which process goes when memory is short: the one whose end gives back the most.
#include "mm/map.h"
#include "mm/object.h"
#include "mm/range.h"
#include "tests/proc/process/help.h"
#include <arch/pte.h>

// With `pages` of shared memory, which its page tables do not lead to.
static struct process *with_shared(u64 pages)
{
	struct region_kind k = { .prot = RW, .level = 1, .flags = REGION_SHARED, .object = object_create(pages * PAGE_SIZE) };
	struct process *p = process_create("shared");

	if (!EXPECT(p && k.object))
		return NULL;
	EXPECT_EQ(space_map_kind(p->space, BASE, pages * PAGE_SIZE, &k), 0);
	space_object_put(p->space, k.object);
	EXPECT_EQ(space_populate(p->space, BASE, pages * PAGE_SIZE, PROT_W), 0);
	EXPECT_EQ(space_discard(p->space, BASE, pages * PAGE_SIZE), 0);
	return p;
}

static struct process *with_private(u64 pages)
{
	struct process *p = process_create("private");

	if (EXPECT(p))
		EXPECT_EQ(space_map(p->space, BASE, pages * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	return p;
}

TEST(process, out_of_memory_counts_what_is_held, 0)
{
	struct process *few = with_shared(20), *some = with_private(40), *most = with_shared(60);

	REQUIRE(few && some && most);
	process_out_of_memory();
	EXPECT(most->ending && most->status == SIGKILL && !some->ending && !few->ending);
	process_out_of_memory();		// its memory will come
	EXPECT(!some->ending && !few->ending);
	process_put(most);
	process_out_of_memory();
	EXPECT(some->ending && !few->ending);
	process_put(some);
	process_put(few);
}
