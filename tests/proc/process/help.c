// SPDX-License-Identifier: MIT
// See proc/process/help.h.
#include "tests/proc/process/help.h"
#include "mm/space.h"
#include "tests/mm/help.h"
#include "sys/syscall.h"
#include <arch/pte.h>

bool scripted_begin(struct scripted *x, const struct instruction *script, unsigned n, const struct table_policy *policy,
		    const struct flush_backend *backend)
{
	syscalls_init();
	mm_warm_up();
	*x = (struct scripted){ .threads = thread_count() };
	x->p = process_create("script");
	x->s = space_create_with(policy, backend);
	if (EXPECT(x->p && x->s)) {
		space_put(x->p->space);
		space_get(x->p->space = x->s);
		if (bare_fill(x->s, script, n))
			return true;
	}
	if (x->p)
		process_put(x->p);
	if (x->s)
		space_put(x->s);
	return false;
}

bool scripted_task(struct scripted *x, unsigned first)
{
	vaddr_t sp = BARE_STACK_TOP - x->tasks++ * (BARE_STACK_LEN / SCRIPTED_TASKS);
	struct task *t = task_create(x->p, NULL);

	ASSERT(x->tasks <= SCRIPTED_TASKS);
	if (!EXPECT(t))
		return false;
	if (EXPECT(arch_user_init(&t->user, SCRIPT_AT(BARE_CODE, first), sp) && !task_start(t)))
		return true;
	task_discard(t);
	return false;
}

void scripted_handler(struct scripted *x, u32 signo, unsigned handler, unsigned restorer)
{
	struct signal_action a = {
		.handler = SCRIPT_AT(BARE_CODE, handler), .flags = SA_RESTORER,
		.restorer = SCRIPT_AT(BARE_CODE, restorer),
	};

	EXPECT_EQ(signal_set_action(x->p, signo, &a, NULL), 0);
}

u32 scripted_count(struct scripted *x, vaddr_t va)
{
	u32 v = ~0u;

	space_attach(x->s);
	EXPECT_EQ(arch_user_read32(va, &v), 0);
	space_detach();
	return v;
}

void scripted_tell(struct scripted *x, vaddr_t va, u64 v)
{
	space_attach(x->s);
	EXPECT_EQ(arch_user_write64(va, v), 0);
	space_detach();
}

int scripted_wait(struct scripted *x)
{
	int status;

	wait_for_completion(&x->p->ended);
	status = x->p->status;
	process_put(x->p);
	return status;
}

void scripted_free(struct scripted *x)
{
	EXPECT(EVENTUALLY(thread_count() <= x->threads));	// fewer: one that was just ending when they were counted
	space_put(x->s);
}
