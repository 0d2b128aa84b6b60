// SPDX-License-Identifier: MIT
// Address spaces: the end of tables, of long mappings, and of spaces that CPUs still hold lazily.
#include "kernel/errno.h"
#include "kernel/rcu/rcu.h"
#include "kernel/xcall.h"
#include "lab/stall.h"
#include "lab/test.h"
#include "mm/space.h"
#include "mm/table.h"
#include "mm/tlb.h"
#include "tests/mm/help.h"

// A get of a space cannot fail, and anybody who knows a space may get it any number of times: here 2^32 times.
TEST(space, more_users_than_32_bits_count, 0)
{
	struct space *s = space_create();
	u64 spaces = space_count();

	REQUIRE(s);
	fetch_add(&s->users, UINT32_MAX);
	REQUIRE(READ_ONCE(s->users) == 1ull << 32);
	space_get(s);
	space_put(s);
	EXPECT_EQ(space_map(s, BASE, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(space_count(), spaces);
	fetch_sub(&s->users, UINT32_MAX);
	space_put(s);
	EXPECT_EQ(space_count(), spaces - 1);
}

struct freed {
	u64 l1, l2, l3, l4;
};

static struct freed freed_so_far(void)
{
	struct counters c;

	FOR_EACH_POLICY(p)
		if ((*p)->drain)
			(*p)->drain();
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

// A table is freed when its last entry is cleared, and not before; each level by itself and all at once. Or all are freed
// when the space ends, if the policy keeps tables.
static void teardown_under(const struct table_policy *p)
{
	u64 one = !p->keeps, kept = p->keeps;
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
	expect_freed(&f, one, 0, 0, 0);
	EXPECT_EQ(space_unmap(s, BASE + level_size(2), PAGE_SIZE), 0);
	expect_freed(&f, one, one, 0, 0);
	EXPECT_EQ(space_unmap(s, BASE + level_size(3), level_size(2)), 0);
	expect_freed(&f, one, one, one, 0);
	EXPECT(mm_table(s, BASE + level_size(4), 1));
	space_put(s);
	expect_freed(&f, 1 + 3 * kept, 1 + 2 * kept, 1 + kept, 1);
	mm_balance_end(&b);
}

TEST(space, teardown, 0)
{
	FOR_EACH_POLICY(p)
		teardown_under(*p);
}

// One page in every root entry, and the whole half mapped on demand.
TEST(space, large_and_sparse, 0)
{
	struct mm_balance b;
	struct freed f;
	struct space *s;

	mm_balance_begin(&b);
	f = freed_so_far();
	s = space_create_with(mm_freeing_policy(), NULL);
	REQUIRE(s);
	for (u64 va = 0; va < USER_END; va += level_size(4))
		EXPECT_EQ(space_map(s, va + level_size(3) + level_size(2), PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(s->mapped, USER_ROOT_ENTRIES);
	EXPECT_EQ(space_unmap(s, 0, USER_END), 0);
	expect_freed(&f, USER_ROOT_ENTRIES, USER_ROOT_ENTRIES, USER_ROOT_ENTRIES, 0);
	EXPECT_EQ(space_map(s, 0, USER_END, RW, 1, 0), 0);
	EXPECT_EQ(mm_regions(s), 1);
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

// Kernel threads run on with the last space's root loaded. An unmap that frees tables, and the end of the space, must
// move their CPUs to the kernel's root.
TEST(space, lazy_cpus_leave, 0)
{
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create_with(mm_freeing_policy(), flush_find("ipi"));	// other back-ends let them stay for longer
	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, nr_cpus * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(space_map(s, 0, PAGE_SIZE, RW, 1, MAP_POPULATE), 0);
	EXPECT_EQ(threads_run_on(&cpus_online, mm_visit, s), 0);
	EXPECT_EQ(cpus_that_hold(s), nr_cpus);
	EXPECT_EQ(cpumask_weight(&s->cpus), nr_cpus);
	EXPECT_EQ(space_unmap(s, BASE, nr_cpus * PAGE_SIZE), 0);
	EXPECT_EQ(cpus_that_hold(s), 0);
	EXPECT_EQ(cpumask_weight(&s->cpus), 0);
	EXPECT_EQ(space_map(s, BASE, nr_cpus * PAGE_SIZE, RW, 1, 0), 0);
	EXPECT_EQ(threads_run_on(&cpus_online, mm_visit, s), 0);
	EXPECT_EQ(cpus_that_hold(s), nr_cpus);
	space_put(s);
	EXPECT_EQ(cpus_that_hold(s), 0);
	EXPECT_EQ(cpus_off_the_kernel_root(), 0);
	mm_balance_end(&b);
}

// Nothing is mapped and nothing freed, so no flush makes the CPUs leave: only the freeing of the root itself does.
TEST(space, lazy_cpus_leave_an_empty_space, 0)
{
	struct mm_balance b;
	struct space *s;

	mm_balance_begin(&b);
	s = space_create_with(policy_find("rcu"), &mm_flush_none);
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
	EXPECT(mm_reads(BASE, 0));
	EXPECT_EQ(space_count(), b.spaces + 1);
	space_detach();
	EXPECT_EQ(cpus_off_the_kernel_root(), 0);
	mm_balance_end(&b);
}

#if CHECK

// As a switch of all spaces does. A caller that got a count of this space would put it, and end the space a second
// time.
static void take_all(struct stall_point *p, void *ending)
{
	struct list taken;

	list_init(&taken);
	space_take_all(&taken, policy_default(), flush_default());
	while (!list_empty(&taken)) {
		struct space *s = list_entry(list_pop_front(&taken), struct space, switch_link);

		if (EXPECT(s != ending))
			space_put(s);
		else
			WRITE_ONCE(s->users, 0);
	}
}

// Between its last put and its removal from the list of all spaces, a space has no user, and can get none any more.
TEST(space, nobody_takes_one_that_ends, NEEDS_CHECK)
{
	struct space *s = space_create(), *lives = space_create();

	REQUIRE(s && lives);
	stall_point("space_ending")->action = take_all;
	stall_point("space_ending")->arg = s;
	stall_arm(stall_point("space_ending"), s, 0, 0, 0);
	space_put(s);
	EXPECT_EQ(stall_point("space_ending")->hits, 1);
	stall_release(stall_point("space_ending"));
	EXPECT_EQ(lives->users, 1);
	space_put(lives);
}
#endif
