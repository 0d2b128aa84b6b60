// SPDX-License-Identifier: MIT
// The kernel stores to a program's memory, and there is none for the page: processes are ended for it, and the store is
// no fault of the program's.
#include "kernel/errno.h"
#include "kernel/lib.h"
#include "lab/inject.h"
#include "mm/space.h"
#include "proc/futex.h"
#include "tests/proc/process/help.h"
#include <arch/uaccess.h>

#define PAGE(i) (BARE_DATA + (i) * PAGE_SIZE)	// not present

static const struct instruction nothing[] = { TRAP() };

// The calling thread as a task of the process, that is, inside a system call.
static struct task *become_task(struct scripted *x)
{
	struct task *t = task_create(x->p, NULL);

	if (!EXPECT(t))
		return NULL;
	EXPECT(arch_user_init(&t->user, BARE_CODE, BARE_STACK_TOP));
	space_attach(x->s);
	current->user = &t->user;
	return t;
}

static void become_oneself(struct task *t)
{
	current->user = NULL;
	space_detach();
	task_discard(t);
}

static void gone(struct scripted *x)
{
	process_put(x->p);
	scripted_free(x);
}

// The other process is larger, so it goes first; then there is only the one that stores.
static void stores(struct scripted *self, struct scripted *other)
{
	u64 v = 0x1122334455667788, found = 0;

	inject_alloc_failure(1);
	EXPECT_EQ(copy_out(PAGE(0), &v, sizeof(v)), 0);
	EXPECT(inject_fired());
	EXPECT(other->p->ending && other->p->status == SIGKILL && !self->p->ending);
	EXPECT(!copy_in(&found, PAGE(0), sizeof(found)) && found == v);
	process_put(other->p);
	other->p = NULL;
	inject_alloc_failures_from(1);
	EXPECT_EQ(copy_out(PAGE(1), &v, sizeof(v)), -EFAULT);
	EXPECT(self->p->ending && self->p->status == SIGKILL);
	EXPECT_EQ(copy_in(&v, PAGE(2), sizeof(v)), -EFAULT);	// one that is ending waits for nobody's memory
	inject_alloc_failure(0);
}

// A futex's word is looked at with a lock held; its page is brought in without.
static void waits(struct scripted *self, struct scripted *other)
{
	inject_alloc_failure(1);
	EXPECT_EQ(futex_wait(PAGE(0), false, 1, FUTEX_ANY, 0), -EAGAIN);	// the word is 0
	EXPECT(inject_fired());
	EXPECT(other->p->ending && !self->p->ending);
	process_put(other->p);
	other->p = NULL;
	inject_alloc_failure(0);
}

static void beside_a_larger_one(void (*fn)(struct scripted *self, struct scripted *other))
{
	struct scripted self, other;
	struct mm_balance b;
	struct task *t;

	mm_balance_begin(&b);
	REQUIRE(scripted_begin(&self, nothing, ARRAY_SIZE(nothing), NULL, NULL));
	REQUIRE(scripted_begin(&other, nothing, ARRAY_SIZE(nothing), NULL, NULL));
	for (unsigned i = 0; i < 6; i++)
		scripted_tell(&other, PAGE(i), 1);
	t = become_task(&self);
	if (t) {
		fn(&self, &other);
		become_oneself(t);
	}
	if (other.p)
		process_put(other.p);
	scripted_free(&other);
	gone(&self);
	mm_balance_end(&b);
}

TEST(process, store_without_memory, NEEDS_CHECK) { beside_a_larger_one(stores); }
TEST(process, futex_without_memory, NEEDS_CHECK) { beside_a_larger_one(waits); }
