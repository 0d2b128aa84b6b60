// SPDX-License-Identifier: MIT
// An unmap that promises, finds nothing (another has cleared the entry and not flushed), and must flush all the same.
#include "lab/test.h"
#include "tests/mm/flush/flush_lazy/reader.h"

#if CHECK
static void unmap_again(const struct reader *r) { EXPECT_EQ(space_unmap_sync(r->s, r->va, PAGE_SIZE), 0); }

TEST(history, cleared_by_another_and_not_flushed, NEEDS_CPUS2) { reader_needs_settling(unmap_again, NULL); }
#endif
