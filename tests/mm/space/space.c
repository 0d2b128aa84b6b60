// SPDX-License-Identifier: MIT
// Address spaces: what can be mapped, touched, protected and unmapped, with leaves of each size.
#include "mm/space.h"
#include "kernel/errno.h"
#include "lab/test.h"
#include "mm/walk.h"
#include "tests/mm/help.h"

// Map two pages, read zeroes, write, read back, forbid writing, unmap one and then the other.
static void use_pages(int level, unsigned flags)
{
	u64 size = level_size(level);
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create();
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 2 * size, RW, level, flags), 0);
	EXPECT_EQ(s->mapped, flags & MAP_POPULATE ? 2 * size >> PAGE_SHIFT : 0);
	space_attach(s);
	EXPECT(mm_reads(BASE, 0) && mm_reads(BASE + size - 8, 0) && mm_reads(BASE + size, 0));
	EXPECT_EQ(arch_user_write64(BASE + 8, 17), 0);
	EXPECT_EQ(arch_user_write64(BASE + size, 18), 0);
	EXPECT_EQ(arch_user_write64(BASE + 2 * size - 8, 19), 0);
	EXPECT(mm_reads(BASE + 8, 17) && mm_reads(BASE + size, 18) && mm_reads(BASE + 2 * size - 8, 19));
	EXPECT_EQ(s->mapped, 2 * size >> PAGE_SHIFT);
	EXPECT(mm_faults(BASE - 8) && mm_faults(BASE + 2 * size));

	EXPECT_EQ(space_protect(s, BASE, size, PROT_R), 0);
	EXPECT_EQ(arch_user_write64(BASE + 8, 1), -EFAULT);
	EXPECT_EQ(arch_user_write64_nofault(BASE + 8, 1), -EFAULT);
	EXPECT(mm_reads(BASE + 8, 17));
	EXPECT_EQ(arch_user_write64(BASE + size, 20), 0);
	EXPECT_EQ(space_protect(s, BASE, size, RW), 0);
	EXPECT_EQ(arch_user_write64(BASE + 8, 21), 0);

	EXPECT_EQ(space_unmap(s, BASE, size), 0);
	EXPECT(mm_faults(BASE) && mm_faults(BASE + size - 8));
	EXPECT(mm_reads(BASE + size, 20));
	EXPECT_EQ(s->mapped, size >> PAGE_SHIFT);
	EXPECT_EQ(space_unmap(s, BASE + size, size), 0);
	EXPECT(mm_faults(BASE + size));
	EXPECT_EQ(s->mapped, 0);
	EXPECT(s->freer->keeps || !page_of(s->root_pa)->private);
	space_detach();
	space_put(s);
	mm_balance_end(&b);
}

TEST(space, pages_4k, 0) { use_pages(1, 0); }
TEST(space, pages_4k_populated, 0) { use_pages(1, MAP_POPULATE); }
TEST(space, pages_2m, 0) { use_pages(2, 0); }
TEST(space, pages_2m_populated, 0) { use_pages(2, MAP_POPULATE); }

TEST(space, pages_1g, NEEDS_MEM_1G)
{
	struct space *s;
	struct mm_balance b;

	if (!arch_has_page_size(3))
		SKIP("the CPU has no 1 GiB pages");
	mm_balance_begin(&b);
	s = space_create();
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, level_size(3), RW, 3, 0), 0);
	space_attach(s);
	EXPECT_EQ(arch_user_write64(BASE + level_size(3) - 8, 5), 0);
	EXPECT(mm_reads(BASE + level_size(3) - 8, 5) && mm_reads(BASE, 0));
	EXPECT_EQ(s->mapped, level_size(3) >> PAGE_SHIFT);
	EXPECT_EQ(space_unmap(s, BASE, level_size(2)), -EINVAL);	// would cut it
	EXPECT_EQ(space_protect(s, BASE, level_size(3), PROT_R), 0);
	EXPECT_EQ(arch_user_write64(BASE, 1), -EFAULT);
	EXPECT_EQ(space_unmap(s, BASE, level_size(3)), 0);
	EXPECT(mm_faults(BASE));
	space_detach();
	space_put(s);
	mm_balance_end(&b);
}

TEST(space, protect_nothing, 0)
{
	struct space *s = space_create();
	struct page *page;
	u64 value;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	space_attach(s);
	EXPECT_EQ(arch_user_write64(BASE, 0x5eed), 0);
	EXPECT_EQ(space_protect(s, BASE, PAGE_SIZE, 0), 0);
	EXPECT_EQ(space_fault(s, BASE, false), -EFAULT);
	EXPECT_EQ(walk_pin(s, BASE, false, &page), -EFAULT);
	EXPECT_EQ(arch_user_read64(BASE, &value), -EFAULT);	// nor may the kernel on the user's behalf
	EXPECT_EQ(arch_user_write64_nofault(BASE, 1), -EFAULT);
	EXPECT_EQ(space_protect(s, BASE, PAGE_SIZE, PROT_R | PROT_X), 0);
	EXPECT(mm_reads(BASE, 0x5eed));				// the contents are still there
	space_detach();
	EXPECT_EQ(space_fault(s, BASE, false), 0);
	EXPECT_EQ(space_fault(s, BASE, true), -EFAULT);
	space_put(s);
}

// A page that is forbidden before its first access stays forbidden at that access.
TEST(space, protect_before_fault, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 4 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_protect(s, BASE + PAGE_SIZE, PAGE_SIZE, PROT_R), 0);
	space_attach(s);
	EXPECT_EQ(arch_user_write64(BASE + PAGE_SIZE, 1), -EFAULT);
	EXPECT(mm_reads(BASE + PAGE_SIZE, 0));
	EXPECT_EQ(arch_user_write64(BASE + PAGE_SIZE, 1), -EFAULT);
	EXPECT_EQ(arch_user_write64(BASE, 1), 0);
	EXPECT_EQ(arch_user_write64(BASE + 2 * PAGE_SIZE, 1), 0);
	space_detach();
	space_put(s);
}

TEST(space, several_spaces, 0)
{
	struct space *s[8];
	struct mm_balance b;

	mm_balance_begin(&b);
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++) {
		s[i] = space_create();
		REQUIRE(s[i]);
		EXPECT_EQ(space_map(s[i], BASE, PAGE_SIZE, RW, 1, 0), 0);
	}
	EXPECT_EQ(space_count(), b.spaces + ARRAY_SIZE(s));
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(s); i++) {
			space_attach(s[i]);
			EXPECT(mm_reads(BASE, round ? round << 8 | i : 0));
			EXPECT_EQ(arch_user_write64(BASE, (round + 1) << 8 | i), 0);
			space_detach();
		}
	}
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++)
		space_put(s[i]);
	mm_balance_end(&b);
}

struct contest {
	struct space *s;
	u32 served;
};

static int touch_all(void *arg)
{
	struct contest *c = arg;

	space_attach(c->s);
	for (unsigned i = 0; i < 64; i++) {
		EXPECT_EQ(arch_user_write64(BASE + i * PAGE_SIZE + cpu_id() * 8, cpu_id() + 1), 0);
		EXPECT(mm_reads(BASE + i * PAGE_SIZE + cpu_id() * 8, cpu_id() + 1));
	}
	space_detach();
	return 0;
}

// All CPUs fault in the same pages at once: each page is one frame.
TEST(space, faults_in_parallel, 0)
{
	struct contest c = { .s = space_create() };
	u64 v;

	REQUIRE(c.s);
	EXPECT_EQ(space_map(c.s, BASE, 64 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(threads_run_on(&cpus_online, touch_all, &c), 0);
	EXPECT_EQ(c.s->mapped, 64);
	space_attach(c.s);
	for (unsigned i = 0; i < 64; i++)
		for_each_cpu(cpu)
			EXPECT(!arch_user_read64(BASE + i * PAGE_SIZE + cpu * 8, &v) && v == cpu + 1);
	space_detach();
	space_put(c.s);
}
