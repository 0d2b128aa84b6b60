// SPDX-License-Identifier: MIT
// See proc/bare.h.
#include "tests/proc/bare.h"
#include "kernel/thread.h"
#include "lab/test.h"
#include "mm/space.h"
#include <arch/pte.h>

#define CODE_LEN(n) ALIGN_UP((u64)(n) * SCRIPT_SIZE, PAGE_SIZE)

bool bare_fill(struct space *s, const struct instruction *script, unsigned n)
{
	bool ok = !space_map(s, BARE_CODE, CODE_LEN(n), PROT_R | PROT_W | PROT_X, 1, 0) &&
		  !space_map(s, BARE_DATA, BARE_DATA_LEN, PROT_R | PROT_W, 1, 0) &&
		  !space_map(s, BARE_STACK_TOP - BARE_STACK_LEN, BARE_STACK_LEN, PROT_R | PROT_W, 1, 0);

	space_attach(s);
	ok = ok && !script_load(BARE_CODE, script, n);
	space_detach();
	return EXPECT(ok);
}

struct space *bare_space(const struct instruction *script, unsigned n)
{
	struct space *s = space_create();

	if (!EXPECT(s) || bare_fill(s, script, n))
		return s;
	space_put(s);
	return NULL;
}

bool bare_enter(struct bare *b, struct space *s, unsigned first)
{
	if (!EXPECT(arch_user_init(&b->c, SCRIPT_AT(BARE_CODE, first), BARE_STACK_TOP)))
		return false;
	b->s = s;
	space_attach(s);
	current->user = &b->c;
	return true;
}

void bare_leave(struct bare *b)
{
	current->user = NULL;
	arch_user_free(&b->c);
	space_detach();
}

enum user_exit bare_run(struct bare *b)
{
	for (;;) {
		enum user_exit why = arch_user_run(&b->c);
		struct user_fault *f = &b->c.fault;

		if (why == USER_INTERRUPT && !READ_ONCE(b->c.work))
			continue;
		if (why != USER_FAULT || f->signal || space_fault_current(f->addr, f->write))
			return why;
	}
}

unsigned bare_at(const struct bare *b) { return (unsigned)((arch_user_pc(&b->c) - BARE_CODE) / SCRIPT_SIZE); }
