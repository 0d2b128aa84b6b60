// SPDX-License-Identifier: MIT
// User memory from the kernel: every way in which an access may end, and that it ends.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "kernel/thread.h"
#include "lab/test.h"
#include "mm/space.h"
#include "tests/mm/help.h"
#include <arch/uaccess.h>

static void attach_new(struct space **s)
{
	*s = space_create();
	if (*s)
		space_attach(*s);
}

static void drop(struct space *s)
{
	space_detach();
	space_put(s);
}

TEST(uaccess, outside_user_half, 0)
{
	static const vaddr_t bad[] = { USER_END - 7, USER_END - 1, USER_END, 1ull << 63, ~0ull - 7, ~0ull };
	struct space *s;
	u64 v;

	attach_new(&s);
	REQUIRE(s);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(arch_user_read64(bad[i], &v), -EFAULT);
		EXPECT_EQ(arch_user_write64(bad[i], 1), -EFAULT);
		EXPECT_EQ(arch_user_read64_nofault(bad[i], &v), -EFAULT);
		EXPECT_EQ(arch_user_write64_nofault(bad[i], 1), -EFAULT);
	}
	EXPECT_EQ(arch_user_read64((uintptr_t)&v, &v), -EFAULT);	// our own stack is not the user's
	drop(s);
}

TEST(uaccess, nothing_mapped, 0)
{
	struct space *s;
	u64 v;

	attach_new(&s);
	REQUIRE(s);
	EXPECT_EQ(arch_user_read64(BASE, &v), -EFAULT);
	EXPECT_EQ(arch_user_write64(0, 1), -EFAULT);
	EXPECT_EQ(arch_user_read64(USER_END - 8, &v), -EFAULT);
	drop(s);
}

TEST(uaccess, demand_paging, 0)
{
	struct space *s;
	u64 v = 1;

	attach_new(&s);
	REQUIRE(s);
	REQUIRE(!space_map(s, BASE, 4 * PAGE_SIZE, PROT_R | PROT_W, 1, 0));
	EXPECT_EQ(arch_user_read64_nofault(BASE, &v), -EFAULT);	// not present yet, and this form does not fault it in
	EXPECT_EQ(arch_user_write64_nofault(BASE, 5), -EFAULT);
	EXPECT_EQ(arch_user_write64(BASE, 5), 0);
	EXPECT(!arch_user_read64_nofault(BASE, &v) && v == 5);
	EXPECT(!arch_user_read64(BASE + PAGE_SIZE, &v) && v == 0);
	EXPECT(!arch_user_write64(BASE + 2 * PAGE_SIZE - 4, 0x1122334455667788));	// across two pages, one not present yet
	EXPECT(!arch_user_read64(BASE + 2 * PAGE_SIZE - 4, &v) && v == 0x1122334455667788);
	EXPECT_EQ(arch_user_write64(BASE + 4 * PAGE_SIZE - 4, 1), -EFAULT);		// the second page is not mapped
	drop(s);
}

TEST(uaccess, read_only, 0)
{
	struct space *s;
	u64 v = 1;

	attach_new(&s);
	REQUIRE(s);
	REQUIRE(!space_map(s, BASE, PAGE_SIZE, PROT_R, 1, MAP_POPULATE));
	EXPECT(!arch_user_read64(BASE, &v) && v == 0);
	EXPECT_EQ(arch_user_write64(BASE, 1), -EFAULT);
	EXPECT_EQ(arch_user_write64_nofault(BASE, 1), -EFAULT);
	EXPECT(!arch_user_read64_nofault(BASE, &v) && v == 0);
	drop(s);
}

// The forms that never fault in work anywhere.
TEST(uaccess, preemption_off, 0)
{
	struct space *s;
	int error;
	u64 v;

	attach_new(&s);
	REQUIRE(s);
	REQUIRE(!space_map(s, BASE, PAGE_SIZE, PROT_R | PROT_W, 1, 0));
	preempt_disable();
	error = arch_user_read64_nofault(BASE, &v);
	preempt_enable();
	EXPECT_EQ(error, -EFAULT);
	EXPECT(!arch_user_write64(BASE, 3));
	preempt_disable();
	error = arch_user_read64_nofault(BASE, &v);
	preempt_enable();
	EXPECT(!error && v == 3);
	drop(s);
}

static int touch(void *arg)
{
	struct space *s = arg;
	vaddr_t page = BASE + (vaddr_t)cpu_id() * PAGE_SIZE;
	int errors = 0;

	space_attach(s);
	for (u64 i = 0; i < 200; i++) {
		u64 v = 0;

		errors += arch_user_write64(page, i) != 0;
		if (i % 8 == 0)
			thread_yield();
		errors += arch_user_read64(page, &v) != 0 || v != i;
	}
	space_detach();
	return errors;
}

TEST(uaccess, all_cpus, 0)
{
	struct space *s = space_create();

	REQUIRE(s);
	EXPECT_EQ(space_map(s, BASE, NR_CPUS * PAGE_SIZE, PROT_R | PROT_W, 1, 0), 0);
	EXPECT_EQ(threads_run_on(&cpus_online, touch, s), 0);
	space_put(s);
}
