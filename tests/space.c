// SPDX-License-Identifier: MIT
// Address spaces: what can be mapped, unmapped, protected and touched; errors; and that every frame comes back.
#include "mm/space.h"
#include "kernel/errno.h"
#include "kernel/test.h"
#include "kernel/xcall.h"
#include "mm/region.h"
#include "mm/table.h"
#include "mm/tlb.h"
#include "mm/walk.h"
#include "tests/mm_help.h"

#define BASE 0x10000000000ull	// 1 TiB: the start of an L3 table
#define RW (PROT_R | PROT_W)

static unsigned regions(struct space *s)
{
	unsigned n = 0;

	mutex_lock(&s->lock);
	list_for_each(it, &s->regions)
		n++;
	mutex_unlock(&s->lock);
	return n;
}

static bool reads(vaddr_t va, u64 expected)
{
	u64 v = ~expected;

	return !arch_user_read64(va, &v) && v == expected;
}

static bool faults(vaddr_t va)
{
	u64 v;

	return arch_user_read64(va, &v) == -EFAULT && arch_user_write64(va, 1) == -EFAULT;
}

// Map two pages, read zeroes, write, read back, forbid writing, unmap one and then the other.
static void use_pages(int level, unsigned flags)
{
	struct space *s = space_create();
	u64 size = level_size(level), half = s ? size : 0;
	struct mm_balance b;

	REQUIRE(s);
	space_put(s);
	mm_balance_begin(&b);
	s = space_create();
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 2 * size, RW, level, flags), 0);
	EXPECT_EQ(s->mapped, flags & MAP_POPULATE ? 2 * size >> PAGE_SHIFT : 0);
	space_attach(s);
	EXPECT(reads(BASE, 0) && reads(BASE + size - 8, 0) && reads(BASE + half, 0));
	EXPECT_EQ(arch_user_write64(BASE + 8, 17), 0);
	EXPECT_EQ(arch_user_write64(BASE + size, 18), 0);
	EXPECT_EQ(arch_user_write64(BASE + 2 * size - 8, 19), 0);
	EXPECT(reads(BASE + 8, 17) && reads(BASE + size, 18) && reads(BASE + 2 * size - 8, 19));
	EXPECT_EQ(s->mapped, 2 * size >> PAGE_SHIFT);
	EXPECT(faults(BASE - 8) && faults(BASE + 2 * size));

	EXPECT_EQ(space_protect(s, BASE, size, PROT_R), 0);
	EXPECT_EQ(arch_user_write64(BASE + 8, 1), -EFAULT);
	EXPECT_EQ(arch_user_write64_nofault(BASE + 8, 1), -EFAULT);
	EXPECT(reads(BASE + 8, 17));
	EXPECT_EQ(arch_user_write64(BASE + size, 20), 0);
	EXPECT_EQ(space_protect(s, BASE, size, RW), 0);
	EXPECT_EQ(arch_user_write64(BASE + 8, 21), 0);

	EXPECT_EQ(space_unmap(s, BASE, size), 0);
	EXPECT(faults(BASE) && faults(BASE + size - 8));
	EXPECT(reads(BASE + size, 20));
	EXPECT_EQ(s->mapped, size >> PAGE_SHIFT);
	EXPECT_EQ(space_unmap(s, BASE + size, size), 0);
	EXPECT(faults(BASE + size));
	EXPECT_EQ(s->mapped, 0);
	EXPECT_EQ(page_of(s->root_pa)->private, 0);
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
		SKIP("this CPU has no 1 GiB pages");
	mm_balance_begin(&b);
	s = space_create();
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, level_size(3), RW, 3, 0), 0);
	space_attach(s);
	EXPECT_EQ(arch_user_write64(BASE + level_size(3) - 8, 5), 0);
	EXPECT(reads(BASE + level_size(3) - 8, 5) && reads(BASE, 0));
	EXPECT_EQ(s->mapped, level_size(3) >> PAGE_SHIFT);
	EXPECT_EQ(space_unmap(s, BASE, level_size(2)), -EINVAL);	// would cut it
	EXPECT_EQ(space_protect(s, BASE, level_size(3), PROT_R), 0);
	EXPECT_EQ(arch_user_write64(BASE, 1), -EFAULT);
	EXPECT_EQ(space_unmap(s, BASE, level_size(3)), 0);
	EXPECT(faults(BASE));
	space_detach();
	space_put(s);
	mm_balance_end(&b);
}

// Take blocks, the largest first, until fewer than `left` frames are free.
static void take_memory(struct list *taken, u64 left)
{
	for (unsigned order = MAX_ORDER; order >= PT_BITS; order--) {
		struct page *p;

		while (page_free_count() > left + (1ull << order) && (p = page_alloc(order, PAGE_KERNEL, 0)))
			list_push_back(taken, &p->link);
	}
}

// Asked for, but not to be had: -ENOMEM, and the space is as before.
static void no_memory(int level)
{
	enum { LEFT = 8 * PT_ENTRIES };
	u64 len = 4 * LEFT * PAGE_SIZE;
	struct list taken;
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create();
	REQUIRE(s);
	list_init(&taken);
	take_memory(&taken, LEFT);
	EXPECT_EQ(space_map(s, BASE, len, RW, level, MAP_POPULATE), -ENOMEM);
	EXPECT_EQ(regions(s), 0);
	EXPECT_EQ(s->mapped, 0);
	EXPECT_EQ(page_of(s->root_pa)->private, 0);
	EXPECT_EQ(space_map(s, BASE, len, RW, level, 0), 0);	// on demand there is room enough
	EXPECT_EQ(space_fault(s, BASE + len - 1, true), 0);
	while (!list_empty(&taken))
		page_put(list_entry(list_pop_front(&taken), struct page, link));
	EXPECT_EQ(space_unmap(s, BASE, len), 0);
	EXPECT_EQ(space_map(s, BASE, level_size(level), RW, level, MAP_POPULATE), 0);
	space_put(s);
	mm_balance_end(&b);
}

TEST(space, no_memory_4k, 0) { no_memory(1); }
TEST(space, no_memory_2m, 0) { no_memory(2); }

TEST(space, protect_nothing, 0)
{
	struct space *s = space_create();
	struct page *page;

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_protect(s, BASE, PAGE_SIZE, 0), 0);
	EXPECT_EQ(space_fault(s, BASE, false), -EFAULT);
	EXPECT_EQ(walk_pin(s, BASE, false, &page), -EFAULT);
	EXPECT_EQ(space_protect(s, BASE, PAGE_SIZE, PROT_R | PROT_X), 0);
	EXPECT_EQ(space_fault(s, BASE, false), 0);
	EXPECT_EQ(space_fault(s, BASE, true), -EFAULT);
	space_put(s);
}

// What is forbidden before it is touched stays forbidden when it is.
TEST(space, protect_before_fault, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 4 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_protect(s, BASE + PAGE_SIZE, PAGE_SIZE, PROT_R), 0);
	space_attach(s);
	EXPECT_EQ(arch_user_write64(BASE + PAGE_SIZE, 1), -EFAULT);
	EXPECT(reads(BASE + PAGE_SIZE, 0));
	EXPECT_EQ(arch_user_write64(BASE + PAGE_SIZE, 1), -EFAULT);
	EXPECT_EQ(arch_user_write64(BASE, 1), 0);
	EXPECT_EQ(arch_user_write64(BASE + 2 * PAGE_SIZE, 1), 0);
	space_detach();
	space_put(s);
}

// Regions split and merge; what a test can see is their number.
TEST(space, regions_split_and_merge, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 4 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_map(s, BASE + 4 * PAGE_SIZE, 4 * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(regions(s), 1);
	EXPECT_EQ(space_map(s, BASE - PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(regions(s), 1);
	EXPECT_EQ(space_protect(s, BASE + PAGE_SIZE, PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(regions(s), 3);
	EXPECT_EQ(space_protect(s, BASE, 3 * PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(regions(s), 3);
	EXPECT_EQ(space_protect(s, BASE, 3 * PAGE_SIZE, RW), 0);
	EXPECT_EQ(regions(s), 1);
	EXPECT_EQ(space_unmap(s, BASE + 2 * PAGE_SIZE, 2 * PAGE_SIZE), 0);
	EXPECT_EQ(regions(s), 2);
	EXPECT_EQ(space_map(s, BASE + 2 * PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(regions(s), 2);
	EXPECT_EQ(space_map(s, BASE + 3 * PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(regions(s), 1);
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	EXPECT_EQ(regions(s), 0);
	// Neighbours of another level or permission stay apart.
	EXPECT_EQ(space_map(s, BASE, level_size(2), RW, 2, 0), 0);
	EXPECT_EQ(space_map(s, BASE + level_size(2), level_size(2), RW, 1, 0), 0);
	EXPECT_EQ(space_map(s, BASE + 2 * level_size(2), level_size(2), PROT_R, 1, 0), 0);
	EXPECT_EQ(regions(s), 3);
	space_put(s);
}

TEST(space, errors, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE + 1, PAGE_SIZE, RW, 1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE + 1, RW, 1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, 0, RW, 1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE + PAGE_SIZE, level_size(2), RW, 2, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 2, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, level_size(2), RW, 3, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 0, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, -1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, 0, level_size(4), RW, 4, 0), -EINVAL);
	EXPECT_EQ(space_map(s, USER_END, PAGE_SIZE, RW, 1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, USER_END - PAGE_SIZE, 2 * PAGE_SIZE, RW, 1, 0), -EINVAL);
	EXPECT_EQ(space_map(s, BASE, ~0ull & ~(PAGE_SIZE - 1), RW, 1, 0), -EINVAL);	// the sum overflows
	EXPECT_EQ(space_map(s, 0xffff800000000000ull, PAGE_SIZE, RW, 1, 0), -EINVAL);	// the kernel's half
	EXPECT_EQ(space_map(s, 0x800000000000ull, PAGE_SIZE, RW, 1, 0), -EINVAL);	// not canonical
	EXPECT_EQ(space_unmap(s, BASE + 1, PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_unmap(s, BASE, 0), -EINVAL);
	EXPECT_EQ(space_unmap(s, 0, USER_END + PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_unmap(s, ~0ull & ~(PAGE_SIZE - 1), 2 * PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_protect(s, BASE, 0, PROT_R), -EINVAL);
	EXPECT_EQ(space_protect(s, USER_END, PAGE_SIZE, PROT_R), -EINVAL);
	EXPECT_EQ(space_protect(s, BASE, PAGE_SIZE, PROT_R), -ENOENT);
	EXPECT_EQ(space_fault(s, BASE, false), -EFAULT);
	EXPECT_EQ(space_fault(s, USER_END, false), -EFAULT);
	EXPECT_EQ(space_fault(s, ~0ull, true), -EFAULT);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);		// a hole is fine
	EXPECT_EQ(regions(s), 0);
	EXPECT_EQ(space_fault_current(BASE, false), -EFAULT);	// this thread runs in no space
	space_put(s);
}

TEST(space, overlaps, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 4 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, 0), -EEXIST);
	EXPECT_EQ(space_map(s, BASE + 3 * PAGE_SIZE, 2 * PAGE_SIZE, RW, 1, 0), -EEXIST);
	EXPECT_EQ(space_map(s, BASE - PAGE_SIZE, 2 * PAGE_SIZE, RW, 1, 0), -EEXIST);
	EXPECT_EQ(space_map(s, BASE - PAGE_SIZE, 8 * PAGE_SIZE, RW, 1, 0), -EEXIST);
	EXPECT_EQ(space_map(s, BASE, level_size(2), RW, 2, 0), -EEXIST);
	EXPECT_EQ(regions(s), 1);
	EXPECT_EQ(s->mapped, 4);
	EXPECT_EQ(space_protect(s, BASE + 3 * PAGE_SIZE, 2 * PAGE_SIZE, PROT_R), -ENOENT);	// half a hole: nothing changes
	EXPECT_EQ(space_fault(s, BASE + 3 * PAGE_SIZE, true), 0);
	space_put(s);
}

TEST(space, cutting_large_pages, 0)
{
	struct space *s = space_create();
	u64 size = level_size(2);

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 2 * size, RW, 2, MAP_POPULATE), 0);
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_unmap(s, BASE + PAGE_SIZE, size - PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_unmap(s, BASE - PAGE_SIZE, 2 * PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_unmap(s, BASE + 2 * size - PAGE_SIZE, 2 * PAGE_SIZE), -EINVAL);
	EXPECT_EQ(space_protect(s, BASE + size, PAGE_SIZE, PROT_R), -EINVAL);
	EXPECT_EQ(s->mapped, 2 * size >> PAGE_SHIFT);
	EXPECT_EQ(regions(s), 1);
	EXPECT_EQ(space_unmap(s, BASE - PAGE_SIZE, size + PAGE_SIZE), 0);	// from a hole to a page's edge
	EXPECT_EQ(s->mapped, size >> PAGE_SHIFT);
	space_put(s);
}

// The last page of the user half, and the first.
TEST(space, edges_of_the_user_half, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, USER_END - PAGE_SIZE, PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_map(s, 0, PAGE_SIZE, RW, 1, 0), 0);
	space_attach(s);
	EXPECT_EQ(arch_user_write64(USER_END - 8, 3), 0);
	EXPECT(reads(USER_END - 8, 3) && reads(0, 0));
	EXPECT(faults(USER_END) && faults(0xffff800000000000ull) && faults(0x800000000000ull) && faults(-8ull));
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	EXPECT(faults(USER_END - 8) && faults(0));
	space_detach();
	space_put(s);
}

struct freed {
	u64 l1, l2, l3, l4;
};

static struct freed freed_so_far(void)
{
	struct counters c;

	rcu_barrier();		// under a policy that defers
	counters_snapshot(&c);
	return (struct freed){ c.frees_l1, c.frees_l2, c.frees_l3, c.frees_l4 };
}

static void expect_freed(struct freed *before, u64 l1, u64 l2, u64 l3, u64 l4)
{
	struct freed now = freed_so_far();

	EXPECT_EQ(now.l1 - before->l1, l1);
	EXPECT_EQ(now.l2 - before->l2, l2);
	EXPECT_EQ(now.l3 - before->l3, l3);
	EXPECT_EQ(now.l4 - before->l4, l4);
	*before = now;
}

// A table goes when its last entry goes, and not before; each level by itself and all at once.
static void teardown_under(const struct table_policy *p)
{
	struct mm_balance b;
	struct freed f;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create_with(p, flush_find("ipi"));
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, 2 * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE + level_size(3), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_map(s, BASE + level_size(4), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	f = freed_so_far();
	EXPECT_EQ(space_unmap(s, BASE, PAGE_SIZE), 0);
	expect_freed(&f, 0, 0, 0, 0);
	EXPECT_EQ(space_unmap(s, BASE + PAGE_SIZE, PAGE_SIZE), 0);
	expect_freed(&f, 1, 0, 0, 0);
	EXPECT_EQ(space_unmap(s, BASE + level_size(2), PAGE_SIZE), 0);
	expect_freed(&f, 1, 1, 0, 0);
	EXPECT_EQ(space_unmap(s, BASE + level_size(3), level_size(2)), 0);
	expect_freed(&f, 1, 1, 1, 0);
	EXPECT(mm_table(s, BASE + level_size(4), 1));
	space_put(s);
	expect_freed(&f, 1, 1, 1, 1);
	mm_balance_end(&b);
}

TEST(space, teardown, 0)
{
	FOR_EACH_POLICY(p)
		teardown_under(*p);
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
			EXPECT(reads(BASE, round ? round << 8 | i : 0));
			EXPECT_EQ(arch_user_write64(BASE, (round + 1) << 8 | i), 0);
			space_detach();
		}
	}
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++)
		space_put(s[i]);
	mm_balance_end(&b);
}

// One page in every root entry, and the whole half mapped on demand.
TEST(space, large_and_sparse, 0)
{
	struct mm_balance b;
	struct freed f;
	struct space *s;

	mm_balance_begin(&b);
	f = freed_so_far();
	s = space_create();
	REQUIRE(s);
	for (u64 va = 0; va < USER_END; va += level_size(4))
		EXPECT_EQ(space_map(s, va + level_size(3) + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(s->mapped, USER_ROOT_ENTRIES);
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	expect_freed(&f, USER_ROOT_ENTRIES, USER_ROOT_ENTRIES, USER_ROOT_ENTRIES, 0);
	EXPECT_EQ(space_map(s, 0, USER_END, RW, 1, 0), 0);
	EXPECT_EQ(regions(s), 1);
	for (u64 va = PAGE_SIZE; va < USER_END; va = va * 3 & ~(PAGE_SIZE - 1))
		EXPECT_EQ(space_fault(s, va, true), 0);
	EXPECT_EQ(space_protect(s, 0, USER_END, PROT_R), 0);
	EXPECT_EQ(space_fault(s, PAGE_SIZE, true), -EFAULT);
	space_put(s);
	mm_balance_end(&b);
}

// More leaves than the gather holds inline, and more than one batch page of them.
TEST(space, long_unmaps, 0)
{
	static const unsigned pages[] = { 15, 16, 17, 512, 1100 };
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create();
	REQUIRE(s);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		EXPECT_EQ(space_map(s, BASE, pages[i] * PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
		EXPECT_EQ(s->mapped, pages[i]);
		EXPECT_EQ(space_unmap(s, BASE, pages[i] * PAGE_SIZE), 0);
		EXPECT_EQ(s->mapped, 0);
	}
	space_put(s);
	mm_balance_end(&b);
}

static int visit(void *arg)
{
	struct space *s = arg;

	space_attach(s);
	EXPECT_EQ(arch_user_write64(BASE + cpu_id() * PAGE_SIZE, 7), 0);
	space_detach();		// the CPU keeps the root until somebody needs it gone
	return 0;
}

static void loaded_here(void *arg)
{
	if (this_cpu_read(cpu_tlb.loaded) == *(struct space **)arg)
		fetch_add((u32 *)((struct space **)arg + 1), 1);
}

static u32 cpus_that_hold(struct space *s)
{
	struct {
		struct space *s;
		u32 n;
	} q = { s, 0 };

	xcall_mask(&cpus_online, loaded_here, &q);
	return q.n;
}

static void root_here(void *arg)
{
	if (arch_current_root() != arch_kernel_root())
		fetch_add((u32 *)arg, 1);
}

static u32 cpus_off_the_kernel_root(void)
{
	u32 n = 0;

	xcall_mask(&cpus_online, root_here, &n);
	return n;
}

// Kernel threads run on in the last space's root. An unmap that frees tables, and the end of the space, must move them to the
// kernel's.
TEST(space, lazy_cpus_leave, 0)
{
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create();
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, nr_cpus * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_map(s, 0, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(threads_run_on(&cpus_online, visit, s), 0);
	EXPECT_EQ(cpus_that_hold(s), nr_cpus);
	EXPECT_EQ(cpumask_weight(&s->cpus), nr_cpus);
	EXPECT_EQ(space_unmap(s, BASE, nr_cpus * PAGE_SIZE), 0);
	EXPECT_EQ(cpus_that_hold(s), 0);
	EXPECT_EQ(cpumask_weight(&s->cpus), 0);
	EXPECT_EQ(space_map(s, BASE, nr_cpus * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(threads_run_on(&cpus_online, visit, s), 0);
	EXPECT_EQ(cpus_that_hold(s), nr_cpus);
	space_put(s);
	EXPECT_EQ(cpus_that_hold(s), 0);
	EXPECT_EQ(cpus_off_the_kernel_root(), 0);
	mm_balance_end(&b);
}

// Nothing mapped, nothing freed: only the root itself forces them off.
TEST(space, lazy_cpus_leave_an_empty_space, 0)
{
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create();
	REQUIRE(s);
	space_attach(s);
	space_detach();
	EXPECT_EQ(cpus_that_hold(s), 1);
	space_put(s);
	EXPECT_EQ(cpus_off_the_kernel_root(), 0);
	mm_balance_end(&b);
}

// The thread that drops the last count may be one that ran in the space.
TEST(space, last_user_detaches, 0)
{
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create();
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, 0), 0);
	space_attach(s);
	space_put(s);
	EXPECT(reads(BASE, 0));
	EXPECT_EQ(space_count(), b.spaces + 1);
	space_detach();
	EXPECT_EQ(cpus_off_the_kernel_root(), 0);
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
		EXPECT(reads(BASE + i * PAGE_SIZE + cpu_id() * 8, cpu_id() + 1));
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
