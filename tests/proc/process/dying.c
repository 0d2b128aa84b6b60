// SPDX-License-Identifier: MIT
// Calls on memory that take long or wait for others: they end when their task is to end, hold nobody up who is of a lower
// priority, and stop when there is no memory. The test itself is the task that calls.
#include "kernel/lib.h"
#include "lab/inject.h"
#include "mm/flush/flush.h"
#include "mm/policy/switch.h"
#include "mm/range.h"
#include "mm/walk.h"
#include "sys/syscall.h"
#include "tests/proc/process/help.h"
#include <arch/pte.h>

enum {
	SYS_MUNMAP = 11, SYS_BRK = 12, SYS_MINCORE = 27, SYS_MADVISE = 28, SYS_MLOCK = 149, SYS_MLOCKALL = 151,
	SYS_PROCESS_VM_READV = 310,
	POPULATE_WRITE = 23, COLLAPSE = 25,	// of madvise()
	MCL_CURRENT = 1, MCL_FUTURE = 2,
};
#define HUGE_LEN level_size(2)
#define LEN (3 * HUGE_LEN)

// Runs in the space of t, whose memory is [BASE, BASE + LEN), without pages. NULL: the test has failed.
static struct task *begin(void)
{
	struct process *p = process_create("caller");
	struct task *t = p ? task_create(p, NULL) : NULL;

	if (p)
		process_put(p);			// the task has a reference
	if (!EXPECT(t && arch_user_init(&t->user, BARE_CODE, BARE_STACK_TOP)))
		return NULL;
	EXPECT_EQ(space_map(p->space, BASE, LEN, RW, 1, 0), 0);
	p->brk = p->brk_start = BASE + LEN;
	space_attach(p->space);
	current->user = &t->user;
	return t;
}

static void end(struct task *t)
{
	current->user = NULL;
	space_detach();
	task_discard(t);
}

static s64 call(struct task *t, u32 nr, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4)
{
	const u64 args[6] = { a0, a1, a2, a3, a4 };

	FOR_EACH_REGISTERED(syscalls, const struct syscall, s)
		if ((*s)->nr == nr)
			return (*s)->fn(t, args);
	return -ENOSYS;
}

static void set_dying(struct task *t, bool dying) { WRITE_ONCE(t->user.work, dying ? WORK_EXIT : 0); }

// Nothing is brought in any more.
TEST(process, dying_brings_nothing_in, 0)
{
	struct task *t = begin();
	struct space *s;

	REQUIRE(t);
	s = t->process->space;
	set_dying(t, true);
	EXPECT(call(t, SYS_MADVISE, BASE, LEN, POPULATE_WRITE, 0, 0) < 0 && !s->mapped);
	EXPECT(call(t, SYS_MADVISE, BASE, LEN, COLLAPSE, 0, 0) < 0 && !s->mapped);
	EXPECT(call(t, SYS_MLOCK, BASE, LEN, 0, 0, 0) < 0 && !s->mapped);
	call(t, SYS_MLOCKALL, MCL_CURRENT | MCL_FUTURE, 0, 0, 0, 0);
	EXPECT_EQ(s->mapped, 0);
	EXPECT_EQ(call(t, SYS_BRK, BASE + LEN + 2 * PAGE_SIZE, 0, 0, 0, 0), (s64)(BASE + LEN + 2 * PAGE_SIZE));
	EXPECT_EQ(s->mapped, 0);
	set_dying(t, false);
	EXPECT_EQ(call(t, SYS_BRK, BASE + LEN + 3 * PAGE_SIZE + 1, 0, 0, 0, 0), (s64)(BASE + LEN + 3 * PAGE_SIZE + 1));
	EXPECT_EQ(s->mapped, 2);			// what is new, and by mlockall() locked
	EXPECT_EQ(call(t, SYS_MADVISE, BASE, 5 * PAGE_SIZE, POPULATE_WRITE, 0, 0), 0);
	EXPECT_EQ(s->mapped, 7);
	end(t);
}

// What is done piece by piece ends after one.
TEST(process, dying_copies_no_more, 0)
{
	struct { u64 base, len; } v = { BASE, 64 * PAGE_SIZE };
	vaddr_t iov = BASE + HUGE_LEN;
	struct task *t = begin();
	s64 n;

	REQUIRE(t);
	EXPECT_EQ(space_populate(t->process->space, BASE, HUGE_LEN + PAGE_SIZE, PROT_W), 0);
	EXPECT(!arch_user_write64(iov, v.base) && !arch_user_write64(iov + 8, v.len));
	EXPECT_EQ(call(t, SYS_PROCESS_VM_READV, t->tid, iov, 1, iov, 1), (s64)v.len);
	EXPECT_EQ(call(t, SYS_MINCORE, BASE, LEN, BASE, 0, 0), 0);
	set_dying(t, true);
	n = call(t, SYS_PROCESS_VM_READV, t->tid, iov, 1, iov, 1);
	EXPECT(n < (s64)v.len);
	EXPECT_EQ(call(t, SYS_MINCORE, BASE, LEN, BASE, 0, 0), -EINTR);
	set_dying(t, false);
	end(t);
}

// A collapsed page that is pinned; unmapping a part of it must wait.
static struct page *pinned_page(struct task *t)
{
	struct space *s = t->process->space;
	struct page *pin = NULL;

	EXPECT_EQ(space_populate(s, BASE, LEN, PROT_W), 0);
	EXPECT_EQ(space_collapse(s, BASE + 2 * HUGE_LEN), 0);
	EXPECT_EQ(walk_pin(s, BASE + 2 * HUGE_LEN, false, &pin), 0);
	return pin;
}

TEST(process, dying_waits_for_no_pin, 0)
{
	struct task *t = begin();
	struct page *pin;

	REQUIRE(t);
	pin = pinned_page(t);
	set_dying(t, true);
	EXPECT_EQ(call(t, SYS_MUNMAP, BASE + 2 * HUGE_LEN, PAGE_SIZE, 0, 0, 0), -EINTR);
	t->process->brk_start = BASE;
	call(t, SYS_BRK, BASE + LEN - PAGE_SIZE, 0, 0, 0, 0);
	EXPECT_EQ(t->process->brk, BASE + LEN);
	set_dying(t, false);
	EXPECT(pin);
	if (pin)
		page_unpin(pin, false);
	EXPECT_EQ(call(t, SYS_BRK, BASE + LEN - PAGE_SIZE, 0, 0, 0, 0), (s64)(BASE + LEN - PAGE_SIZE));
	end(t);
}

static int unpin(void *page)
{
	page_unpin(page, false);
	return 0;
}

// Whoever has the pin is of a lower priority, on the same CPU. Under a policy whose waits do not sleep, so that nothing but
// the call itself lets it run.
TEST(process, lower_priority_gives_back_its_pin, 0)
{
	struct task *t = begin();
	struct thread *holder;
	struct page *pin;

	REQUIRE(t);
	EXPECT_EQ(space_switch_pair(t->process->space, policy_find("ipi"), flush_find("ipi")), 0);
	pin = pinned_page(t);
	thread_pin_here();
	holder = thread_create("holder", unpin, pin, cpu_id(), PRIO_LOW);
	REQUIRE(pin && holder);
	EXPECT_EQ(call(t, SYS_MUNMAP, BASE + 2 * HUGE_LEN, PAGE_SIZE, 0, 0, 0), 0);
	end(t);
	thread_join(holder);
}

TEST(process, collapse_ends_without_memory, NEEDS_CHECK)
{
	struct task *t = begin();

	REQUIRE(t);
	inject_alloc_failure(1);
	EXPECT_EQ(call(t, SYS_MADVISE, BASE, LEN, COLLAPSE, 0, 0), -ENOMEM);
	inject_alloc_failure(0);
	EXPECT_EQ(t->process->space->mapped, 0);
	EXPECT_EQ(call(t, SYS_MADVISE, BASE, LEN, COLLAPSE, 0, 0), 0);
	EXPECT_EQ(t->process->space->mapped, LEN >> PAGE_SHIFT);
	end(t);
}
